//! The lock on a copy: one process at a time.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

/// A lock, held until it is dropped, or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Option<File>,
}

/// Why a copy was not locked.
#[derive(Debug)]
pub(super) enum NotLocked {
    /// Another one holds a lock.
    Held,
    /// The file system refused.
    Io(io::Error),
}

const NAME: &str = "lock";

impl Lock {
    /// Takes the lock for itself.
    pub(super) fn take(directory: &Path) -> Result<Self, NotLocked> {
        let options = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(NAME));
        let file = options.map_err(NotLocked::Io)?;
        file.try_lock()?;
        Ok(Self { _file: Some(file) })
    }

    /// Takes the lock together with others that only read, and creates no file for it.
    pub(super) fn share(directory: &Path) -> Result<Self, NotLocked> {
        match File::open(directory.join(NAME)) {
            Ok(file) => {
                file.try_lock_shared()?;
                Ok(Self { _file: Some(file) })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { _file: None }),
            Err(error) => Err(NotLocked::Io(error)),
        }
    }
}

impl From<TryLockError> for NotLocked {
    fn from(error: TryLockError) -> Self {
        match error {
            TryLockError::WouldBlock => Self::Held,
            TryLockError::Error(error) => Self::Io(error),
        }
    }
}
