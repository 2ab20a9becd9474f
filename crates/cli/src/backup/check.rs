//! Whether a backup is what its manifest says.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};

use super::{
    BackupError, Manifest,
    manifest::{FileEntry, MANIFEST, hexadecimal},
};

/// How much of a file is in memory at once.
const PIECE: usize = 1 << 20;

/// Compares every file with its digest, and has SQLite look at what it holds.
///
/// # Errors
/// [`BackupError::Damaged`] with the name of what is damaged.
pub(crate) fn check(backup: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    for file in &manifest.files {
        let path = backup.join(&file.name);
        compare(&path, file)?;
        quick_check(&path)?;
    }
    let failed = || BackupError::io("read the directory", backup);
    for entry in fs::read_dir(backup).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        let is_known = name == MANIFEST || manifest.files.iter().any(|file| *file.name == *name);
        if !is_known {
            let path = backup.join(name);
            return Err(BackupError::damaged(path, "it does not belong there"));
        }
    }
    Ok(())
}

/// Compares a file with its entry.
pub(super) fn compare(path: &Path, entry: &FileEntry) -> Result<(), BackupError> {
    if !path.is_file() {
        return Err(BackupError::damaged(path, "it is not there"));
    }
    let found = digest(path)?;
    if found.0 != entry.bytes {
        let why = format!("it has {} bytes of {}", found.0, entry.bytes);
        return Err(BackupError::damaged(path, why));
    }
    if found.1 != entry.sha256 {
        let why = "its SHA-256 is not the one that the manifest has";
        return Err(BackupError::damaged(path, why));
    }
    Ok(())
}

/// The size and the SHA-256 of a file.
pub(super) fn digest(path: &Path) -> Result<(u64, String), BackupError> {
    let failed = || BackupError::io("read", path);
    let mut file = File::open(path).map_err(failed())?;
    let (mut digest, mut size) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let count = file.read(&mut piece).map_err(failed())?;
        if count == 0 {
            return Ok((size, hexadecimal(&digest.finalize())));
        }
        digest.update(&piece[..count]);
        size += count as u64;
    }
}

/// Has SQLite look at a file, which nobody writes to, without leaving anything beside it.
pub(super) fn quick_check(path: &Path) -> Result<(), BackupError> {
    let damaged = |why: String| BackupError::damaged(path, why);
    let of_sqlite = |error: rusqlite::Error| damaged(error.to_string());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let text = path.to_str();
    let text = text.ok_or_else(|| damaged("its name is not UTF-8".to_owned()))?;
    let escaped = text
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    let uri = format!("file:{escaped}?immutable=1");
    let connection = Connection::open_with_flags(uri, flags).map_err(of_sqlite)?;
    let said: String = connection
        .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
        .map_err(of_sqlite)?;
    if said == "ok" {
        Ok(())
    } else {
        Err(damaged(said))
    }
}
