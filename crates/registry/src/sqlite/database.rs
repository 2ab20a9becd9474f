//! The file: one connection, and the transactions of a store on it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::{
    open_error::OpenError,
    schema::{self, FORMAT, Recognised},
};
use crate::{BoxError, Entry, Event, Key, Listing, Prefix, Revision, StoreError};

/// How long a change waits for the changes of other processes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many changes a watcher reads at once.
const READ_MAX: usize = 512;

/// How many changes are removed from the log at once, so that not every change has to.
const TRIM_EVERY: u64 = 64;

/// One change of one key: `expected` is the revision that it must have, `None` that it must not exist; a value of `None` deletes it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) key: Key,
    pub(super) expected: Option<Revision>,
    pub(super) value: Option<Vec<u8>>,
}

/// A stretch of the log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) events: Vec<Event>,
    /// Every wanted change up to this revision is in `events`.
    pub(super) reached: Revision,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    writable: bool,
    log_max: u64,
}

impl Database {
    pub(super) fn open(path: &Path, log_max: u64) -> Result<Self, OpenError> {
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
        Ok(Self {
            connection,
            writable: true,
            log_max,
        })
    }

    pub(super) fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| open_error(path, error);
        if !path.exists() {
            return Err(OpenError::Missing {
                path: path.to_owned(),
            });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = connect(path, flags).and_then(|connection| {
            let recognised = schema::recognise(&connection)?;
            Ok((connection, recognised))
        });
        let (connection, recognised) = match opened {
            // SQLite can make no shared memory beside the file. At rest, the file alone is the whole store.
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
                    && !beside(path, "-wal").exists() =>
            {
                let flags = flags | OpenFlags::SQLITE_OPEN_URI;
                let connection = connect(Path::new(&immutable(path)), flags).map_err(failed)?;
                let recognised = schema::recognise(&connection).map_err(failed)?;
                (connection, recognised)
            }
            opened => opened.map_err(failed)?,
        };
        accept(path, recognised)?;
        Ok(Self {
            connection,
            writable: false,
            log_max: 0,
        })
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        read_entry(&self.connection, key).map_err(read_error)
    }

    pub(super) fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        self.snapshot(|transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT key, value, revision FROM entry WHERE substr(key, 1, length(?1)) = ?1 AND key >= ?1 ORDER BY key",
            )?;
            let entries = statement
                .query_map([prefix.as_str()], |row| {
                    Ok(Entry { key: key(row, 0)?, value: row.get(1)?, revision: revision(row, 2)? })
                })?
                .collect::<Result<_, _>>()?;
            Ok(Listing { entries, revision: meta(transaction, "revision")? })
        })
    }

    /// Reads the changes after a revision, at most `READ_MAX` of them.
    pub(super) fn changes(&self, prefix: &Prefix, after: Revision) -> Result<Log, StoreError> {
        let log = self.snapshot(|transaction| {
            if after < meta(transaction, "trimmed")? {
                return Ok(None);
            }
            let mut statement = transaction.prepare_cached(
                "SELECT key, value, revision FROM change
                 WHERE revision > ?1 AND substr(key, 1, length(?2)) = ?2 ORDER BY revision LIMIT ?3",
            )?;
            let events: Vec<Event> = statement
                .query_map(params![stored(after.0), prefix.as_str(), READ_MAX as i64], |row| {
                    Ok(Event { key: key(row, 0)?, value: row.get(1)?, revision: revision(row, 2)? })
                })?
                .collect::<Result<_, _>>()?;
            let reached = match events.last() {
                Some(last) if events.len() == READ_MAX => last.revision,
                _ => meta(transaction, "revision")?.max(after),
            };
            Ok(Some(Log { events, reached }))
        })?;
        log.ok_or(StoreError::FellBehind { after })
    }

    /// Makes one change in one transaction, and has it on the disk before it returns.
    pub(super) fn change(&mut self, change: &Change) -> Result<Revision, StoreError> {
        if !self.writable {
            return Err(StoreError::ReadOnly);
        }
        let log_max = self.log_max;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(write_error)?;
        let found = read_entry(&transaction, &change.key).map_err(write_error)?;
        if found.as_ref().map(|entry| entry.revision) != change.expected {
            return Err(StoreError::conflict(&change.key, found));
        }
        let revision = apply(&transaction, change, log_max).map_err(write_error)?;
        transaction
            .commit()
            .map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy) => write_error(error),
                // The commit may be on the disk although it did not end well.
                _ => StoreError::Unknown {
                    key: change.key.clone(),
                    source: error.into(),
                },
            })?;
        Ok(revision)
    }

    /// Returns the last revision.
    pub(super) fn revision(&self) -> Result<Revision, StoreError> {
        meta(&self.connection, "revision").map_err(read_error)
    }

    /// Returns a number that changes when another connection has changed the file.
    pub(super) fn data_version(&self) -> Result<i64, StoreError> {
        let version = self
            .connection
            .pragma_query_value(None, "data_version", |row| row.get(0));
        version.map_err(read_error)
    }

    fn snapshot<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let transaction = self
            .connection
            .unchecked_transaction()
            .map_err(read_error)?;
        let answer = read(&transaction).map_err(read_error)?;
        transaction.finish().map_err(read_error)?;
        Ok(answer)
    }
}

fn apply(
    transaction: &Transaction<'_>,
    change: &Change,
    log_max: u64,
) -> rusqlite::Result<Revision> {
    let Revision(last) = meta(transaction, "revision")?;
    let revision = last + 1;
    let key = change.key.as_str();
    match &change.value {
        Some(value) => transaction
            .prepare_cached("INSERT OR REPLACE INTO entry VALUES (?1, ?2, ?3)")?
            .execute(params![key, value, stored(revision)])?,
        None => transaction
            .prepare_cached("DELETE FROM entry WHERE key = ?1")?
            .execute([key])?,
    };
    transaction
        .prepare_cached("INSERT INTO change VALUES (?1, ?2, ?3)")?
        .execute(params![stored(revision), key, change.value])?;
    set_meta(transaction, "revision", revision)?;
    if revision.is_multiple_of(TRIM_EVERY) && revision > log_max {
        let trimmed = revision - log_max;
        transaction
            .prepare_cached("DELETE FROM change WHERE revision <= ?1")?
            .execute([stored(trimmed)])?;
        let before = meta(transaction, "trimmed")?.0;
        set_meta(transaction, "trimmed", trimmed.max(before))?;
    }
    Ok(Revision(revision))
}

fn read_entry(connection: &Connection, wanted: &Key) -> rusqlite::Result<Option<Entry>> {
    connection
        .prepare_cached("SELECT value, revision FROM entry WHERE key = ?1")?
        .query_row([wanted.as_str()], |row| {
            Ok(Entry {
                key: wanted.clone(),
                value: row.get(0)?,
                revision: revision(row, 1)?,
            })
        })
        .optional()
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Revision> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| revision(row, 0))
}

fn set_meta(connection: &Connection, name: &str, value: u64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?
        .execute(params![name, stored(value)])
}

/// SQLite's integers end at 2^63: no revision that was counted up from 0 comes near.
fn stored(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn revision(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    let number: i64 = row.get(column)?;
    u64::try_from(number)
        .map(Revision)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn key(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Key> {
    let text: String = row.get(column)?;
    Key::new(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
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
    let escaped = path
        .to_string_lossy()
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    format!("file:{escaped}?immutable=1")
}

fn open_error(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotARegistry { path },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => OpenError::ReadOnly {
            path,
            source: error.into(),
        },
        _ => OpenError::Failed {
            path,
            source: error.into(),
        },
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => true,
        Some(_) => false,
        // A value that cannot be converted, or a row that must be there.
        None => true,
    }
}

fn read_error(error: rusqlite::Error) -> StoreError {
    let damaged = is_damage(&error);
    let source: BoxError = error.into();
    if damaged {
        StoreError::Damaged(source)
    } else {
        StoreError::Unavailable(source)
    }
}

/// For errors before the commit, after which the transaction is rolled back.
fn write_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly,
        _ => read_error(error),
    }
}
