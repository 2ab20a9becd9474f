//! A backup becomes a database in a directory.

use std::{fs, io, path::Path};

use super::{
    BackupError, Manifest,
    check::{check, compare},
    shelf::sync,
};

/// Puts a backup into a directory that is empty or does not exist, as a database that can be opened. Until everything is there and has been
/// compared, it cannot.
///
/// # Errors
/// [`BackupError::NotEmpty`], and [`BackupError::Damaged`] before anything is written.
pub(crate) fn restore(
    backup: &Path,
    manifest: &Manifest,
    target: &Path,
) -> Result<(), BackupError> {
    check(backup, manifest)?;
    refuse_filled(target)?;
    fs::create_dir_all(target).map_err(BackupError::io("make the directory", target))?;
    // The registry is the last of them: without it a directory is no database.
    for file in &manifest.files {
        let (from, to) = (backup.join(&file.name), target.join(&file.name));
        fs::copy(&from, &to).map_err(BackupError::io("write", &to))?;
        sync(&to).map_err(BackupError::io("sync", &to))?;
        compare(&to, file)?;
    }
    sync(target).map_err(BackupError::io("sync", target))
}

fn refuse_filled(target: &Path) -> Result<(), BackupError> {
    let mut entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::io("read the directory", target)(error)),
    };
    let path = target.to_owned();
    match entries.next() {
        Some(_) => Err(BackupError::NotEmpty { path }),
        None => Ok(()),
    }
}
