//! The lock of the process that writes to a directory.

use std::{
    fs::{File, TryLockError},
    io,
};

use super::Layout;
use crate::error::Error;

/// The right to write to a directory, for one holder at a time. It ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`Error::Locked`] if another holds it, [`Error::ReadOnly`] if the directory cannot be written.
    pub(crate) fn take(layout: &Layout) -> Result<Self, Error> {
        let path = layout.lock();
        let directory = || layout.directory().display().to_string();
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Error::ReadOnly {
                    reason: format!("{} cannot be written", directory()),
                }
            }
            _ => Error::Io {
                action: "lock",
                path: path.display().to_string(),
                source,
            },
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: directory() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // A process that is just being started shares the descriptor until it runs its own program, and with it the
        // lock: closing alone would not end it. An error leaves it to the closing.
        let _ = self.file.unlock();
    }
}
