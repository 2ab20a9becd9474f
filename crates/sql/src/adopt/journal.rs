//! The journal of an import: the file that marks a directory as unfinished and says how far it came.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{AdoptOptions, source::Fingerprint};
use crate::{
    database::{DirectoryLock, IMPORT_MARKER, Layout},
    error::Error,
};

/// The name under which the marker is written before it replaces the old one.
const NEXT_MARKER: &str = "IMPORT.json.new";

/// What the marker says first, so that no other file is taken for one.
const FORMAT: &str = "shardwright import 1";

/// What is imported, and how. An import continues only what agrees in all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    format: String,
    /// Another release may decide differently.
    release: String,
    source: Fingerprint,
    shards: usize,
    options: AdoptOptions,
}

/// How far an import came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    #[serde(flatten)]
    task: Task,
    /// Whether all files are there, with their empty tables.
    created: bool,
    /// The tables whose rows are all on disk, by folded name, each with its rows by place.
    done: BTreeMap<String, Vec<u64>>,
}

/// The journal of an import that this process runs. No other process runs one in the same directory meanwhile.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    state: State,
    _lock: DirectoryLock,
}

impl Task {
    pub(super) fn new(source: &Fingerprint, shards: usize, options: &AdoptOptions) -> Self {
        Self {
            format: FORMAT.to_owned(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            source: source.clone(),
            shards,
            options: options.clone(),
        }
    }
}

/// Checks that an import into the directory may begin or go on, without changing anything.
///
/// # Errors
/// [`Error::Exists`] if it holds a database, [`Error::NotEmpty`] if it holds something else.
pub(super) fn check_directory(directory: &Path) -> Result<(), Error> {
    let path = || directory.display().to_string();
    let layout = Layout::of(directory);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("read directory", directory, source)),
    };
    if stored(directory)?.is_some() {
        return Ok(());
    }
    if layout.registry().exists() {
        return Err(Error::Exists { path: path() });
    }
    for entry in entries {
        let name = entry
            .map_err(|source| failed("read directory", directory, source))?
            .file_name();
        // An import that was killed at its very beginning leaves these.
        if !layout.lock().ends_with(&name) && name != NEXT_MARKER {
            return Err(Error::NotEmpty { path: path() });
        }
    }
    Ok(())
}

impl Journal {
    /// Continues the same task, or starts clean.
    ///
    /// # Errors
    /// As [`check_directory`]; [`Error::Locked`] if another process imports into the directory.
    pub(super) fn begin(directory: &Path, task: Task) -> Result<Self, Error> {
        check_directory(directory)?;
        fs::create_dir_all(directory)
            .map_err(|source| failed("create directory", directory, source))?;
        let lock = DirectoryLock::take(&Layout::of(directory))?;
        // Another process may have come first, and ended.
        check_directory(directory)?;
        let old = stored(directory)?.and_then(|value| serde_json::from_value::<State>(value).ok());
        let (state, is_new) = match old {
            Some(state) if state.task == task && state.created => (state, false),
            Some(_) | None => (
                State {
                    task,
                    created: false,
                    done: BTreeMap::new(),
                },
                true,
            ),
        };
        let journal = Self {
            directory: directory.to_path_buf(),
            state,
            _lock: lock,
        };
        if is_new {
            journal.write()?;
            journal.clear()?;
        }
        Ok(journal)
    }

    pub(super) fn is_created(&self) -> bool {
        self.state.created
    }

    /// Notes that all files are there, with their empty tables.
    pub(super) fn set_created(&mut self) -> Result<(), Error> {
        self.state.created = true;
        self.write()
    }

    /// The rows of a table by place, if they are all on disk.
    pub(super) fn done(&self, table: &str) -> Option<&[u64]> {
        self.state.done.get(table).map(Vec::as_slice)
    }

    /// Notes tables whose rows are all on disk.
    pub(super) fn add_done(
        &mut self,
        tables: &mut BTreeMap<String, Vec<u64>>,
    ) -> Result<(), Error> {
        self.state.done.append(tables);
        self.write()
    }

    /// Ends the import: from now on the directory is a database.
    pub(super) fn finish(self) -> Result<(), Error> {
        let marker = self.directory.join(IMPORT_MARKER);
        fs::remove_file(&marker).map_err(|source| failed("remove", &marker, source))?;
        sync_directory(&self.directory)
    }

    fn write(&self) -> Result<(), Error> {
        let next = self.directory.join(NEXT_MARKER);
        let text = serde_json::to_vec_pretty(&self.state)
            .map_err(|source| failed("write", &next, source.into()))?;
        File::create(&next)
            .and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&next, self.directory.join(IMPORT_MARKER)))
            .map_err(|source| failed("write", &next, source))?;
        sync_directory(&self.directory)
    }

    /// Removes the files of an import that does not go on.
    fn clear(&self) -> Result<(), Error> {
        let directory = &self.directory;
        let entries = fs::read_dir(directory)
            .map_err(|source| failed("read directory", directory, source))?;
        for entry in entries {
            let path = entry
                .map_err(|source| failed("read directory", directory, source))?
                .path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_ours = ["registry.db", "catalog.db", "shard-"]
                .iter()
                .any(|ours| name.starts_with(ours));
            if is_ours {
                fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
            }
        }
        Ok(())
    }
}

/// What the directory's marker says, if it is one of ours.
fn stored(directory: &Path) -> Result<Option<serde_json::Value>, Error> {
    let marker = directory.join(IMPORT_MARKER);
    let text = match fs::read(&marker) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", &marker, source)),
    };
    let value: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
    Ok(value.filter(|value| {
        value["format"]
            .as_str()
            .is_some_and(|format| format.starts_with("shardwright import "))
    }))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        action,
        path: path.display().to_string(),
        source,
    }
}

#[cfg(unix)]
pub(crate) fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|source| failed("sync", directory, source))
}

#[cfg(not(unix))]
pub(crate) fn sync_directory(_: &Path) -> Result<(), Error> {
    Ok(())
}
