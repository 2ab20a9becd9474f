//! Taking an adoption back: the files are what they were, and the directory is empty.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    super::target::Target,
    marker::{AdoptedFile, Adoption, adopted, failed, interrupted, remove_empty},
};
use crate::{
    database::{DirectoryLock, Layout, Options, ShardedDatabase},
    error::Error,
    schema::{fold, quote_identifier},
};

/// Takes an adoption back, whether it has ended or was interrupted: the files lose everything that it and the database
/// have added to them, and the directory is removed. Rows stay in the file in which they are now. Homes of keys and lookup
/// keys are forgotten.
///
/// # Errors
/// [`Error::NotADatabase`] if there is no adoption, [`Error::Locked`] if another process has the database open, and
/// [`Error::Unsupported`] if rows would be lost: in tables that a file has only because of the adoption, in shards that began
/// empty, and in tables that were created since. Nothing has changed then. After any other error it can be called again.
#[doc(alias = "rollback")]
pub fn detach(directory: &Path) -> Result<(), Error> {
    let layout = Layout::of(directory);
    if let Some(adoption) = adopted(directory)? {
        // What was begun and not finished is finished first.
        ShardedDatabase::open(directory, &Options::default())?.close()?;
        let _lock = DirectoryLock::take(&layout)?;
        check(&layout, &adoption)?;
        adoption.reopen(directory)?;
        take_back(&layout, &adoption)?;
    } else if let Some(adoption) = interrupted(directory)? {
        let _lock = DirectoryLock::take(&layout)?;
        take_back(&layout, &adoption)?;
    } else {
        return Err(Error::NotADatabase {
            path: directory.display().to_string(),
        });
    }
    remove_empty(&layout);
    Ok(())
}

/// Refuses if rows are where they would be lost.
fn check(layout: &Layout, adoption: &Adoption) -> Result<(), Error> {
    for path in database_files(layout)? {
        let Some(place) = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
        else {
            continue;
        };
        let file = adoption.files.iter().find(|file| file.shard == place);
        let target = Target::open(&place, path)?;
        for (kind, name) in added(&target, file)? {
            if kind == "table" && !name.starts_with('_') && target.count(&name)? > 0 {
                return Err(Error::Unsupported {
                    what: format!(
                        "taking back an adoption while {place} has rows of {name} that came since"
                    ),
                    hint: "move the keys of these rows to the shards that had the table before, or export the database",
                });
            }
        }
    }
    Ok(())
}

/// Makes of each file what it was, and removes what is in the directory. May be repeated after a failure.
pub(super) fn take_back(layout: &Layout, adoption: &Adoption) -> Result<(), Error> {
    for file in &adoption.files {
        give_back(file, &adoption.database)?;
    }
    let directory = layout.directory();
    for path in files_in(directory)? {
        let is_marker = path.ends_with(crate::database::IMPORT_MARKER);
        if !is_marker && path != layout.lock() {
            fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
        }
    }
    let marker = directory.join(crate::database::IMPORT_MARKER);
    match fs::remove_file(&marker) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", &marker, error))
        }
        _ => Ok(()),
    }
}

/// Takes everything out of a file that was not in it, if the adoption came so far.
fn give_back(file: &AdoptedFile, database: &str) -> Result<(), Error> {
    if !file.path.exists() {
        return Ok(());
    }
    let target = Target::open(&file.shard, file.path.clone())?;
    if is_of(target.connection(), database) {
        target.transaction(|target| {
            for (kind, name) in added(target, Some(file))? {
                let name = quote_identifier(&name);
                target.run(&format!("DROP {kind} IF EXISTS main.{name}"))?;
            }
            Ok(())
        })?;
    }
    if !file.uses_log {
        target.run("PRAGMA journal_mode = DELETE")?;
    }
    target.close()
}

/// Whether a file says that it belongs to a database.
fn is_of(sqlite: &Connection, database: &str) -> bool {
    let found = "SELECT value FROM main._meta WHERE key = 'database'";
    sqlite
        .query_row(found, (), |row| row.get::<_, String>(0))
        .is_ok_and(|found| found == database)
}

/// The objects of a place that were not there before, those that need others first.
fn added(target: &Target, file: Option<&AdoptedFile>) -> Result<Vec<(String, String)>, Error> {
    let sql = "SELECT type, name FROM main.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
        ORDER BY type = 'table', rowid";
    let read = || {
        let mut statement = target.connection().prepare(sql)?;
        let objects = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
        objects.collect::<rusqlite::Result<Vec<(String, String)>>>()
    };
    let mut objects = read().map_err(|error| target.error(error))?;
    objects.retain(|(_, name)| {
        let was_there = |known: &String| fold(known) == fold(name);
        !file.is_some_and(|file| file.objects.iter().any(was_there))
    });
    Ok(objects)
}

/// The files of the shards and the catalog.
fn database_files(layout: &Layout) -> Result<Vec<PathBuf>, Error> {
    let mut files = files_in(layout.directory())?;
    let is_place = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "db") && *path != layout.registry()
    };
    files.retain(is_place);
    Ok(files)
}

fn files_in(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || {
        let entries = fs::read_dir(directory)?;
        entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    };
    read().map_err(|source| failed("read directory", directory, source))
}
