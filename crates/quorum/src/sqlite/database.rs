//! The file: how it is recognised, and its transactions.

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::{
    Connection, Error, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior,
};

use super::{OpenError, StoreError, StoredEvent};

/// Marks the file as a store of events, in SQLite's header: the letters `SWev`.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"SWev");

/// The format of the table.
const FORMAT: u32 = 1;

/// A key is in the index alone, so that large events do not make it deep.
const TABLE: &str = "CREATE TABLE event (key TEXT NOT NULL UNIQUE, event BLOB NOT NULL) STRICT";

/// How long a change waits for other processes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// An open file.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    /// Why nothing more is done.
    stopped: Option<StoreError>,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |error: Error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenError::NotAnEventStore {
                path: path.to_owned(),
            },
            _ => OpenError::Failed {
                path: path.to_owned(),
                source: error.into(),
            },
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        let (id, found) = create_or_recognise(&mut connection).map_err(failed)?;
        if id != APPLICATION_ID {
            let path = path.to_owned();
            return Err(OpenError::NotAnEventStore { path });
        }
        if found != FORMAT {
            return Err(OpenError::UnknownVersion {
                path: path.to_owned(),
                found,
                known: FORMAT,
            });
        }
        // Only now: a file of another program keeps its journal mode.
        make_durable(&connection).map_err(failed)?;
        Ok(Self {
            connection,
            stopped: None,
        })
    }

    /// Stores events in one transaction, and returns the outcome of each once all that succeeded are on the disk.
    pub(super) fn put(&mut self, events: &[StoredEvent]) -> Vec<Result<(), StoreError>> {
        let outcome = match &self.stopped {
            Some(stopped) => Err(stopped.clone()),
            None => put(&mut self.connection, events).map_err(|error| self.failed(error)),
        };
        outcome.unwrap_or_else(|error| vec![Err(error); events.len()])
    }

    pub(super) fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT event FROM event WHERE key = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row([key], |row| row.get(0)).optional()
        })
    }

    pub(super) fn page(
        &mut self,
        after: &str,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|connection| {
            let sql = "SELECT key, event FROM event WHERE key > ?1 ORDER BY key LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map((after, limit), |row| {
                Ok(StoredEvent {
                    key: row.get(0)?,
                    event: row.get::<_, Vec<u8>>(1)?.into(),
                })
            })?;
            rows.collect()
        })
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        match &self.stopped {
            Some(stopped) => Err(stopped.clone()),
            None => read(&self.connection).map_err(|error| self.failed(error)),
        }
    }

    /// Says what an error means, and stops the store unless it is known to be harmless: after a failed sync nobody can tell what the
    /// disk has, and a second sync may claim success.
    fn failed(&mut self, error: Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
            _ => {
                tracing::error!(%error, "a store of events has stopped");
                let stopped = StoreError::Stopped(Arc::new(error));
                self.stopped = Some(stopped.clone());
                stopped
            }
        }
    }
}

/// Makes an empty file a store, and returns the marks of the file.
fn create_or_recognise(connection: &mut Connection) -> rusqlite::Result<(i32, u32)> {
    let marks = |connection: &Connection| -> rusqlite::Result<(i32, u32)> {
        let id = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let format = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok((id, format))
    };
    if let (APPLICATION_ID, format) = marks(connection)? {
        return Ok((APPLICATION_ID, format));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let count = "SELECT count(*) FROM sqlite_schema";
    let objects: i64 = transaction.query_row(count, [], |row| row.get(0))?;
    if marks(&transaction)? == (0, 0) && objects == 0 {
        transaction.execute_batch(TABLE)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    let marks = marks(&transaction)?;
    transaction.commit()?;
    Ok(marks)
}

/// Lets every commit wait for the disk.
fn make_durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Where a sync leaves data in the cache of the disk, as on macOS.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)
}

fn put(
    connection: &mut Connection,
    events: &[StoredEvent],
) -> rusqlite::Result<Vec<Result<(), StoreError>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcomes = events.iter().map(|event| put_one(&transaction, event));
    let outcomes = outcomes.collect::<rusqlite::Result<_>>()?;
    transaction.commit()?;
    Ok(outcomes)
}

fn put_one(
    transaction: &Transaction<'_>,
    event: &StoredEvent,
) -> rusqlite::Result<Result<(), StoreError>> {
    let row = (&event.key, &event.event[..]);
    let insert = "INSERT INTO event VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    match transaction.prepare_cached(insert)?.execute(row) {
        Ok(1) => return Ok(Ok(())),
        Ok(_) => {}
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::TooBig) => {
            return Ok(Err(StoreError::TooLarge));
        }
        Err(error) => return Err(error),
    }
    let same = "SELECT event = ?2 FROM event WHERE key = ?1";
    let mut same = transaction.prepare_cached(same)?;
    Ok(if same.query_row(row, |row| row.get(0))? {
        Ok(())
    } else {
        let key = event.key.clone();
        Err(StoreError::KeyTaken { key })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, Database) {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("events.db")).unwrap();
        (directory, database)
    }

    fn event(key: &str, bytes: usize) -> StoredEvent {
        StoredEvent {
            key: key.to_owned(),
            event: vec![7; bytes].into(),
        }
    }

    #[test]
    fn every_commit_waits_for_the_disk() {
        let (_directory, database) = open();
        let pragma = |name| {
            let connection = &database.connection;
            connection.pragma_query_value(None, name, |row| row.get::<_, String>(0))
        };
        assert_eq!(pragma("journal_mode").unwrap(), "wal");
        let full: u32 = database
            .connection
            .pragma_query_value(None, "synchronous", |row| row.get(0))
            .unwrap();
        assert_eq!(full, 2, "FULL");
    }

    #[test]
    fn a_full_disk_refuses_all_of_a_transaction_and_heals() {
        let (_directory, mut database) = open();
        let limit = |database: &Database, pages: u32| {
            let connection = &database.connection;
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
        };
        limit(&database, 10).unwrap();
        let outcomes = database.put(&[event("small", 1), event("large", 1 << 20)]);
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, Err(StoreError::Full))),
            "{outcomes:?}"
        );
        assert_eq!(database.get("small").unwrap(), None);
        limit(&database, 10_000).unwrap();
        assert!(database.put(&[event("large", 1 << 20)])[0].is_ok());
    }

    #[test]
    fn after_an_error_of_the_disk_nothing_more_is_done() {
        let (_directory, mut database) = open();
        assert!(database.put(&[event("before", 1)])[0].is_ok());
        let broken = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        let stopped = database.failed(Error::SqliteFailure(broken, None));
        assert!(!stopped.is_retryable());
        let refused = database.put(&[event("after", 1), event("later", 1)]);
        assert!(matches!(refused[..], [Err(StoreError::Stopped(_)), Err(_)]));
        assert!(matches!(
            database.get("before"),
            Err(StoreError::Stopped(_))
        ));
    }
}
