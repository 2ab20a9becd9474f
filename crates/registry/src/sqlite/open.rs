//! How a file is opened: recognised before anything is changed, created if it is empty.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    checkpoints::Checkpoints,
    database::Database,
    open_error::OpenError,
    schema::{self, FORMAT, Recognised},
};
use crate::clock::wait_for_a_moment;

/// How long a change waits for the changes of other processes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may wait that the log begins anew, when changes wait for that.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(100);

/// Opens the file for writing, and creates it if it does not exist.
pub(super) fn open(path: &Path, log_max: u64) -> Result<Database, OpenError> {
    let failed = |error| open_error(path, error);
    if path
        .parent()
        .is_some_and(|parent| parent != Path::new("") && !parent.exists())
    {
        return Err(OpenError::Missing {
            path: path.to_owned(),
        });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(path, flags).map_err(failed)?;
    let mut recognised = schema::recognise(&connection).map_err(failed)?;
    if connection.is_readonly("main").map_err(failed)? {
        let source = "SQLite opened it for reading only".into();
        return Err(OpenError::ReadOnly {
            path: path.to_owned(),
            source,
        });
    }
    if let Recognised::Empty = recognised {
        recognised = schema::create(&mut connection).map_err(failed)?;
    }
    accept(path, recognised)?;
    // Only now: a file of another program keeps its journal mode.
    enter_wal(&connection).map_err(failed)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    // It would be the change that comes last which waits for it.
    connection
        .pragma_update(None, "wal_autocheckpoint", 0)
        .map_err(failed)?;
    let beside = connect(path, flags).map_err(failed)?;
    beside.busy_timeout(CHECKPOINT_TIMEOUT).map_err(failed)?;
    let checkpoints = Checkpoints::start(beside).map_err(|source| OpenError::Failed {
        path: path.to_owned(),
        source: source.into(),
    })?;
    Ok(Database::new(connection, log_max, checkpoints))
}

/// Opens the file for reading, where SQLite can make no shared memory beside it too.
pub(super) fn open_read_only(path: &Path) -> Result<Database, OpenError> {
    let failed = |error| match open_error(path, error) {
        // Nothing was to be written.
        OpenError::ReadOnly { path, source } => OpenError::Failed { path, source },
        other => other,
    };
    if !path.exists() {
        return Err(OpenError::Missing {
            path: path.to_owned(),
        });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let (connection, recognised) = match recognised(path, flags) {
        // At rest, with no log beside it, the file alone is the whole store.
        Err(error) if is_denied(&error) && !beside(path, "-wal").exists() => {
            let uri = immutable(path);
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            recognised(Path::new(&uri), flags).map_err(failed)?
        }
        opened => opened.map_err(failed)?,
    };
    accept(path, recognised)?;
    Ok(Database::for_reading(connection))
}

fn recognised(path: &Path, flags: OpenFlags) -> rusqlite::Result<(Connection, Recognised)> {
    let connection = connect(path, flags)?;
    let recognised = schema::recognise(&connection)?;
    Ok((connection, recognised))
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(waits_on))?;
    Ok(connection)
}

/// Waits for another process for a moment, and returns whether that has not gone on for too long. SQLite's own handler waits longer and
/// longer, so that whoever changes the file again and again keeps others out.
fn waits_on(times: i32) -> bool {
    wait_for_a_moment();
    u128::try_from(times).is_ok_and(|times| times < BUSY_TIMEOUT.as_millis())
}

/// Two processes that open a new file at once both want to change its journal mode, which waits for nobody.
fn enter_wal(connection: &Connection) -> rusqlite::Result<()> {
    let enter = || connection.pragma_update(None, "journal_mode", "WAL");
    match enter() {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            // An ordinary write transaction waits for the others as the busy timeout says.
            connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
            enter()
        }
        outcome => outcome,
    }
}

fn accept(path: &Path, recognised: Recognised) -> Result<(), OpenError> {
    let path = path.to_owned();
    match recognised {
        Recognised::Registry => Ok(()),
        Recognised::Version(found) => Err(OpenError::UnknownVersion {
            path,
            found,
            known: FORMAT,
        }),
        Recognised::Empty | Recognised::Other => Err(OpenError::NotARegistry { path }),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The file as a URI that tells SQLite that nobody changes it.
fn immutable(path: &Path) -> String {
    let path = path.to_string_lossy();
    let escaped = path
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    format!("file:{escaped}?immutable=1")
}

/// SQLite cannot make a file, or the files beside it.
fn is_denied(error: &rusqlite::Error) -> bool {
    let denied = [
        ErrorCode::CannotOpen,
        ErrorCode::ReadOnly,
        ErrorCode::PermissionDenied,
    ];
    error
        .sqlite_error_code()
        .is_some_and(|code| denied.contains(&code))
}

fn open_error(path: &Path, error: rusqlite::Error) -> OpenError {
    let denied = is_denied(&error) && !path.is_dir();
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotARegistry { path },
        _ if denied => OpenError::ReadOnly {
            path,
            source: error.into(),
        },
        _ => OpenError::Failed {
            path,
            source: error.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_signs_of_a_uri_names_the_same_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("50%25 #1?mode=memory.db");
        drop(open(&path, 10).expect("a new file"));
        let uri = immutable(&path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let (connection, recognised) = recognised(Path::new(&uri), flags).expect("the same file");
        assert!(matches!(recognised, Recognised::Registry));
        assert!(connection.is_readonly("main").expect("open"));
    }
}
