//! What is known of an adoption: the marker of one that has not ended, and the record of one that has.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    adopt::journal::sync_directory,
    database::{IMPORT_MARKER, Layout},
    error::Error,
};

/// The record of an adoption that has ended: by it the files are given back.
const RECORD: &str = "ADOPTION.json";

/// What the marker says first, so that no other file is taken for one.
const FORMAT: &str = "shardwright adoption 1";

/// An adoption: the files, and what was in them before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Adoption {
    format: String,
    /// The identity of the database.
    pub(super) database: String,
    pub(super) files: Vec<AdoptedFile>,
}

/// A file before it was adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AdoptedFile {
    pub(super) shard: String,
    /// Where it is; no link.
    pub(super) path: PathBuf,
    /// Whether it had a write-ahead log.
    pub(super) uses_log: bool,
    /// The names of its tables, indexes, views and triggers.
    pub(super) objects: Vec<String>,
}

impl Adoption {
    pub(super) fn new(database: &str, files: Vec<AdoptedFile>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            database: database.to_owned(),
            files,
        }
    }

    /// Writes the marker. While it is there, the directory is no database.
    pub(super) fn write(&self, directory: &Path) -> Result<(), Error> {
        let record = directory.join(RECORD);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| failed("write", &record, source.into()))?;
        File::create(&record)
            .and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&record, directory.join(IMPORT_MARKER)))
            .map_err(|source| failed("write", &record, source))?;
        sync_directory(directory)
    }

    /// Ends the adoption: from now on the directory is a database.
    pub(super) fn finish(&self, directory: &Path) -> Result<(), Error> {
        let marker = directory.join(IMPORT_MARKER);
        fs::rename(&marker, directory.join(RECORD))
            .map_err(|source| failed("rename", &marker, source))?;
        sync_directory(directory)
    }

    /// Begins to take back an adoption that has ended: from now on the directory is no database.
    pub(super) fn reopen(&self, directory: &Path) -> Result<(), Error> {
        let record = directory.join(RECORD);
        fs::rename(&record, directory.join(IMPORT_MARKER))
            .map_err(|source| failed("rename", &record, source))?;
        sync_directory(directory)
    }
}

/// The adoption that has not ended, if there is one.
pub(super) fn interrupted(directory: &Path) -> Result<Option<Adoption>, Error> {
    stored(&directory.join(IMPORT_MARKER))
}

/// The adoption that has ended, if the directory holds a database of adopted files.
pub(super) fn adopted(directory: &Path) -> Result<Option<Adoption>, Error> {
    stored(&directory.join(RECORD))
}

fn stored<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("read", path, source)),
    }
}

/// Checks that an adoption into the directory may begin, without changing anything.
///
/// # Errors
/// [`Error::Exists`] if it holds a database, [`Error::NotEmpty`] if it holds something else.
pub(super) fn check_directory(directory: &Path) -> Result<(), Error> {
    if interrupted(directory)?.is_some() {
        return Ok(());
    }
    let path = || directory.display().to_string();
    let layout = Layout::of(directory);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("read directory", directory, source)),
    };
    if layout.registry().exists() {
        return Err(Error::Exists { path: path() });
    }
    for entry in entries {
        let name = entry
            .map_err(|source| failed("read directory", directory, source))?
            .file_name();
        // One that was killed before it wrote its marker leaves these.
        if !layout.lock().ends_with(&name) && name != RECORD {
            return Err(Error::NotEmpty { path: path() });
        }
    }
    Ok(())
}

/// Removes a directory in which nothing has been made. One that holds anything else stays.
pub(super) fn remove_empty(layout: &Layout) {
    // That something could not be removed is no reason for a failure: a later run does not mind.
    let _removed = fs::remove_file(layout.lock());
    let _removed = fs::remove_dir(layout.directory());
}

/// Makes a link to a file. SQLite follows it, so that what it keeps beside a file is beside that file.
pub(super) fn link(file: &Path, link: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(file, link);
    #[cfg(windows)]
    let linked = std::os::windows::fs::symlink_file(file, link);
    linked.map_err(|source| failed("link", link, source))
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        action,
        path: path.display().to_string(),
        source,
    }
}
