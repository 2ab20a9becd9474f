//! A file that is being written, under a name that shows it.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;
use shardwright_store::Error as StoreError;

use crate::{
    adopt::{source::beside, sync_directory},
    error::Error,
};

/// The new file until it is complete. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    wanted: PathBuf,
    /// Locked, so that what a killed process left can be told from what another is writing.
    file: File,
}

impl Unfinished {
    /// Creates the file beside the wanted one.
    ///
    /// # Errors
    /// [`Error::Exists`] if that exists, [`Error::Locked`] if another process is writing it.
    pub(super) fn create(wanted: &Path) -> Result<Self, Error> {
        // A journal without its file would be taken for that of the new one.
        for taken in ["", "-journal", "-wal"].map(|suffix| beside(wanted, suffix)) {
            if taken.symlink_metadata().is_ok() {
                return Err(exists(&taken));
            }
        }
        let path = beside(wanted, ".exporting");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| failed("create", &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    path: path.display().to_string(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", &path, source)),
        }
        let unfinished = Self {
            path,
            wanted: wanted.to_path_buf(),
            file,
        };
        unfinished
            .file
            .set_len(0)
            .map_err(|source| failed("write", &unfinished.path, source))?;
        Ok(unfinished)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Brings the file to disk and gives it its name, unless something took the name meanwhile.
    pub(super) fn publish(self) -> Result<(), Error> {
        self.file
            .sync_all()
            .map_err(|source| failed("sync", &self.path, source))?;
        match fs::hard_link(&self.path, &self.wanted) {
            Ok(()) => {}
            Err(_) if self.wanted.symlink_metadata().is_ok() => return Err(exists(&self.wanted)),
            // Not every file system has links.
            Err(_) => fs::rename(&self.path, &self.wanted)
                .map_err(|source| failed("rename", &self.path, source))?,
        }
        let directory = match self.wanted.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            Some(_) | None => PathBuf::from("."),
        };
        drop(self);
        sync_directory(&directory)
    }

    /// Says what a failure of SQLite means here.
    pub(super) fn error(&self, error: rusqlite::Error) -> Error {
        let path = || self.path.as_path().into();
        let source = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { path: path() },
            Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => StoreError::CannotOpen {
                path: path(),
                message: error.to_string(),
            },
            _ => return Error::from_sqlite(error),
        };
        Error::Store {
            place: "export".to_owned(),
            source,
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename there is nothing of that name, and a failed export has its error already.
        let _removed = fs::remove_file(&self.path);
    }
}

fn exists(path: &Path) -> Error {
    Error::Exists {
        path: path.display().to_string(),
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        action,
        path: path.display().to_string(),
        source,
    }
}
