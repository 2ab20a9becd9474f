//! The file: one connection, and the transactions of a store on it.

use std::sync::Arc;

use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::checkpoints::Checkpoints;
use crate::{BoxError, Entry, Event, Key, Listing, Prefix, Revision, StoreError};

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
    pub(super) connection: Connection,
    pub(super) writable: bool,
    log_max: u64,
    /// They outlive the connection.
    checkpoints: Checkpoints,
}

impl Database {
    /// Takes over an open connection to a file that was recognised.
    pub(super) fn new(connection: Connection, log_max: u64, checkpoints: Checkpoints) -> Self {
        Self {
            connection,
            writable: true,
            log_max,
            checkpoints,
        }
    }

    /// Takes over a connection that only reads.
    pub(super) fn for_reading(connection: Connection) -> Self {
        Self {
            connection,
            writable: false,
            log_max: 0,
            checkpoints: Checkpoints::none(),
        }
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

    /// Makes changes in one transaction, each of them or not as its own key says, and has them on the disk before it returns. What came of
    /// each is in the order of the changes.
    ///
    /// So a change never waits for more than the one transaction that is under way, however many others wait with it.
    pub(super) fn change(&mut self, changes: &[Change]) -> Vec<Result<Revision, StoreError>> {
        if !self.writable {
            return changes.iter().map(|_| Err(StoreError::ReadOnly)).collect();
        }
        let log_max = self.log_max;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let made = transaction.and_then(|transaction| {
            let change = |change| change_in(&transaction, change, log_max);
            let outcomes = changes.iter().map(change).collect::<Result<Vec<_>, _>>()?;
            Ok((transaction, outcomes))
        });
        let (transaction, outcomes) = match made {
            Ok(made) => made,
            Err(error) => {
                let error = Arc::new(error);
                let failed = |_| Err(write_error(Arc::clone(&error)));
                return changes.iter().map(failed).collect();
            }
        };
        let Err(error) = transaction.commit() else {
            self.checkpoints.count(outcomes.iter().flatten().count());
            return outcomes;
        };
        let error = Arc::new(error);
        // The commit may be on the disk although it did not end well.
        let is_unknown = error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy);
        let failed = |(change, outcome): (&Change, Result<Revision, StoreError>)| match outcome {
            Ok(_) if is_unknown => Err(StoreError::Unknown {
                key: change.key.clone(),
                source: Arc::clone(&error).into(),
            }),
            // A conflict may be one with a change that has not happened.
            _ => Err(write_error(Arc::clone(&error))),
        };
        changes.iter().zip(outcomes).map(failed).collect()
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

/// Makes one change, if its key is as it expects.
fn change_in(
    transaction: &Transaction<'_>,
    change: &Change,
    log_max: u64,
) -> rusqlite::Result<Result<Revision, StoreError>> {
    let found = read_entry(transaction, &change.key)?;
    if found.as_ref().map(|entry| entry.revision) != change.expected {
        return Ok(Err(StoreError::conflict(&change.key, found)));
    }
    apply(transaction, change, log_max).map(Ok)
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

fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => true,
        Some(_) => false,
        // A value that cannot be converted, or a row that must be there.
        None => true,
    }
}

pub(super) fn read_error(error: impl Into<Arc<rusqlite::Error>>) -> StoreError {
    let error = error.into();
    let damaged = is_damage(&error);
    let source: BoxError = error.into();
    if damaged {
        StoreError::Damaged(source)
    } else {
        StoreError::Unavailable(source)
    }
}

/// For errors before the commit, after which the transaction is rolled back.
fn write_error(error: Arc<rusqlite::Error>) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly,
        _ => read_error(error),
    }
}
