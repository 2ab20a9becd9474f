//! The file to adopt, opened so that nothing about it or beside it changes.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use serde::{Deserialize, Serialize};
use shardwright_hashing::Position;

use crate::error::Error;

/// What every SQLite file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// The largest page that SQLite has.
const PAGE_BYTES_MAX: usize = 65536;

/// A SQLite file in one read transaction, from which everything is read.
#[derive(Debug)]
pub(crate) struct Source {
    connection: Connection,
    path: PathBuf,
    fingerprint: Fingerprint,
    journal: Journal,
}

/// What tells one state of a file from another: a file that is written changes at least one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    bytes: u64,
    modified_ns: u64,
    log_bytes: u64,
    log_modified_ns: u64,
    /// `None` if a writer may have the file open.
    first_page: Option<FirstPage>,
}

/// What the first page says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FirstPage {
    is_sqlite: bool,
    /// Whether a writer uses a write-ahead log.
    uses_log: bool,
    /// The page holds SQLite's change counter.
    digest: String,
}

impl Source {
    /// Opens the file strictly for reading.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::NotSqlite`] and [`Error::Damaged`].
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let fingerprint = Fingerprint::of(path)?;
        let journal = match &fingerprint.first_page {
            Some(page) if !page.is_sqlite => {
                return Err(Error::NotSqlite {
                    path: path.display().to_string(),
                });
            }
            Some(page) if !page.uses_log => Journal::Rollback,
            Some(_) if fingerprint.log_bytes > 0 => Journal::Left,
            Some(_) => Journal::Nothing,
            None => Journal::Shared,
        };
        let failed = |error| failed(error, path);
        let connection = connect(path, journal).map_err(failed)?;
        connection
            .execute_batch("PRAGMA query_only = ON; BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")
            .map_err(failed)?;
        Ok(Self {
            connection,
            path: path.to_path_buf(),
            fingerprint,
            journal,
        })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Whether the file has a write-ahead log.
    pub(crate) fn uses_log(&self) -> bool {
        // Only of a file with a log the first page may be unknown.
        let page = self.fingerprint.first_page.as_ref();
        page.is_none_or(|page| page.uses_log)
    }

    /// Says what a failure of SQLite means here.
    pub(crate) fn error(&self, error: rusqlite::Error) -> Error {
        failed(error, &self.path)
    }

    /// Reads every page once.
    ///
    /// # Errors
    /// [`Error::Damaged`] with what SQLite found first.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let problems = self
            .connection
            .prepare("PRAGMA main.quick_check")
            .and_then(|mut statement| {
                statement
                    .query_map((), |row| row.get::<_, String>(0))?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(|error| self.error(error))?;
        // A row that a CHECK would refuse today is the owner's business; the file is sound.
        match problems
            .into_iter()
            .find(|problem| problem != "ok" && !problem.starts_with("CHECK constraint failed"))
        {
            Some(message) => Err(Error::Damaged {
                path: self.path.display().to_string(),
                message,
            }),
            None => Ok(()),
        }
    }

    /// Checks that nobody wrote to the file since it was opened, where the way of opening it keeps nobody from that.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] if somebody did.
    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        let is_locked = matches!(self.journal, Journal::Rollback | Journal::Shared);
        if is_locked || Fingerprint::of(&self.path)? == self.fingerprint {
            Ok(())
        } else {
            Err(Error::SourceChanged {
                path: self.path.display().to_string(),
            })
        }
    }
}

impl Fingerprint {
    fn of(path: &Path) -> Result<Self, Error> {
        let file = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        if file.is_dir() {
            return Err(unreadable(path, io::ErrorKind::IsADirectory.into()));
        }
        let log = fs::metadata(beside(path, "-wal")).ok();
        Ok(Self {
            bytes: file.len(),
            modified_ns: modified_ns(&file),
            log_bytes: log.as_ref().map_or(0, fs::Metadata::len),
            log_modified_ns: log.as_ref().map_or(0, modified_ns),
            first_page: FirstPage::of(path)?,
        })
    }
}

/// How the changes are found that are not in the file itself yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Journal {
    /// None, or a rollback journal: SQLite's locks do.
    Rollback,
    /// The file alone; its last writer has moved everything into it.
    Nothing,
    /// A write-ahead log whose index is in shared memory, so a writer may be alive.
    Shared,
    /// A write-ahead log that a writer left behind.
    Left,
}

impl FirstPage {
    /// Reads the page without SQLite, unless the file's log is in use: closing a file takes away the locks that this
    /// process has on it through SQLite.
    fn of(path: &Path) -> Result<Option<Self>, Error> {
        // Who has a log open has both files.
        if beside(path, "-shm").exists() && beside(path, "-wal").exists() {
            return Ok(None);
        }
        let page = first_page(path)?;
        Ok(Some(Self {
            is_sqlite: page.starts_with(MAGIC),
            uses_log: page.get(18) == Some(&2),
            digest: Position::of(page).to_string(),
        }))
    }
}

fn connect(path: &Path, journal: Journal) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let with_uri = flags | OpenFlags::SQLITE_OPEN_URI;
    let connection = match journal {
        Journal::Rollback => Connection::open_with_flags(path, flags)?,
        Journal::Nothing => Connection::open_with_flags(uri(path, "immutable=1"), with_uri)?,
        Journal::Shared => Connection::open_with_flags(uri(path, "readonly_shm=1"), with_uri)?,
        Journal::Left if cfg!(unix) => {
            // With a lock of its own that no other process sees, SQLite keeps the log's index in its own memory
            // instead of a file.
            let connection = Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection
        }
        Journal::Left => Connection::open_with_flags(path, flags)?,
    };
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn failed(error: rusqlite::Error, path: &Path) -> Error {
    let name = path.display().to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Error::NotSqlite { path: name },
        Some(ErrorCode::DatabaseCorrupt) => Error::Damaged {
            path: name,
            message: error.to_string(),
        },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) if beside(path, "-journal").exists() => {
            Error::Damaged {
                path: name,
                message:
                    "a transaction was interrupted; open the file once with SQLite, which undoes it"
                        .to_owned(),
            }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure) => {
            unreadable(path, io::Error::other(error))
        }
        _ => Error::from_sqlite(error),
    }
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Io {
        action: "read",
        path: path.display().to_string(),
        source,
    }
}

/// The first page, or as much of the file as there is.
fn first_page(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(PAGE_BYTES_MAX as u64).read_to_end(&mut bytes))
        .map_err(|source| unreadable(path, source))?;
    let size = match bytes.get(16..18) {
        Some([0, 1]) => PAGE_BYTES_MAX,
        Some([high, low]) => usize::from(*high) << 8 | usize::from(*low),
        _ => bytes.len(),
    };
    bytes.truncate(size);
    Ok(bytes)
}

fn modified_ns(file: &fs::Metadata) -> u64 {
    file.modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|age| u64::try_from(age.as_nanos()).ok())
        .unwrap_or(0)
}

/// The name of a file that SQLite keeps beside `path`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn uri(path: &Path, parameter: &str) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut uri = String::from("file:");
    for byte in absolute.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02x}"));
        }
    }
    uri.push('?');
    uri.push_str(parameter);
    uri
}
