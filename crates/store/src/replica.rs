//! Where a copy of a shard stands in its log.
//!
//! The table `_repl` has one row: the position up to which the file has applied the log, and the id of
//! this copy. It changes in the same transaction as the data.

use crate::{
    Error, Params, ReplicaError, Result, ShardFile, Snapshot, Value, connection::Connection,
    guard::OURS, identity,
};

/// A position in the log of a shard, up to which a file has applied it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Applied {
    /// The epoch of the record.
    pub epoch: u64,
    /// Its number; 0 before the first.
    pub lsn: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// A copy of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The id of this copy, another one for each file that ever held a copy.
    pub id: [u8; 16],
    /// Up to where it has applied the log.
    pub applied: Applied,
}

/// The version of the layout of `_repl` and `_dedup`.
const LAYOUT: i64 = 1;

/// The key of `_meta` that holds it.
pub(crate) const LAYOUT_KEY: &str = "replication";

const READ: &str = "SELECT replica, epoch, lsn, hash FROM main._repl WHERE id = 0";

impl Applied {
    /// Checks that `next` may be applied to a file that stands here: the next number, in this epoch or a
    /// later one.
    ///
    /// # Errors
    ///
    /// [`ReplicaError::NotNext`].
    pub fn check_next(&self, next: &Self) -> std::result::Result<(), ReplicaError> {
        if self.lsn.checked_add(1) == Some(next.lsn) && self.epoch <= next.epoch {
            return Ok(());
        }
        Err(ReplicaError::NotNext {
            applied_epoch: self.epoch,
            applied_lsn: self.lsn,
            given_epoch: next.epoch,
            given_lsn: next.lsn,
        })
    }
}

impl ShardFile {
    /// Returns what copy of its shard the file is, if it is one.
    ///
    /// # Errors
    ///
    /// As [`ShardFile::snapshot`], and [`Error::UnknownFormat`] if another release made it one.
    pub fn replica(&self) -> Result<Option<Replica>> {
        self.snapshot()?.replica()
    }

    /// Returns the position up to which the file has applied the log of its shard.
    ///
    /// # Errors
    ///
    /// As [`ShardFile::replica`], and [`ReplicaError::NotReplicated`].
    pub fn applied(&self) -> Result<Applied> {
        let replica = self.replica()?.ok_or(ReplicaError::NotReplicated)?;
        Ok(replica.applied)
    }
}

impl Snapshot {
    /// Returns what copy of its shard the file was at the time of the snapshot, if it was one.
    ///
    /// # Errors
    ///
    /// What SQLite reports, and [`Error::UnknownFormat`].
    pub fn replica(&self) -> Result<Option<Replica>> {
        read(self.connection())
    }
}

/// Reads the row of `_repl`, if the file has one.
pub(crate) fn read(connection: &Connection) -> Result<Option<Replica>> {
    match identity::meta(connection, LAYOUT_KEY)? {
        Some(Value::Integer(LAYOUT)) => {}
        None => return Ok(None),
        Some(other) => {
            return Err(Error::UnknownFormat {
                path: std::sync::Arc::clone(connection.path()),
                found: format!("replication {other:?}"),
                supported: identity::FORMAT,
            });
        }
    }
    let replica = connection.query_row(READ, Params::NONE, |row| {
        let number = |column| row.get(column).as_i64().map(i64::cast_unsigned);
        Some(Replica {
            id: bytes(row.get(0).as_bytes())?,
            applied: Applied {
                epoch: number(1)?,
                lsn: number(2)?,
                hash: bytes(row.get(3).as_bytes())?,
            },
        })
    })?;
    match replica {
        Some(Some(replica)) => Ok(Some(replica)),
        Some(None) | None => Err(connection.corrupt("the row of _repl is missing or malformed")),
    }
}

fn bytes<const N: usize>(bytes: Option<&[u8]>) -> Option<[u8; N]> {
    bytes.and_then(|bytes| bytes.try_into().ok())
}

/// Returns the position that the file must have.
pub(crate) fn applied(connection: &Connection) -> Result<Applied> {
    let replica = read(connection)?.ok_or(ReplicaError::NotReplicated)?;
    Ok(replica.applied)
}

/// Makes the tables that a copy has.
pub(crate) fn create(connection: &Connection, replica: &Replica) -> Result<()> {
    connection.run_script(&format!(
        "{OURS}CREATE TABLE IF NOT EXISTS main._repl (
             id INTEGER PRIMARY KEY CHECK (id = 0),
             replica BLOB NOT NULL, epoch INTEGER NOT NULL, lsn INTEGER NOT NULL, hash BLOB NOT NULL);
         CREATE TABLE IF NOT EXISTS main._dedup (
             client BLOB NOT NULL, sequence INTEGER NOT NULL, lsn INTEGER NOT NULL, outcome NOT NULL,
             PRIMARY KEY (client, sequence)) WITHOUT ROWID"
    ))?;
    identity::set_meta(connection, LAYOUT_KEY, &Value::Integer(LAYOUT))?;
    connection.execute(
        "/* shardwright */ INSERT OR REPLACE INTO main._repl (id, replica, epoch, lsn, hash)
         VALUES (0, ?1, 0, 0, x'')",
        Params::from(&[Value::from(replica.id.as_slice())]),
    )?;
    write_applied(connection, &replica.applied)
}

/// Moves the position.
pub(crate) fn write_applied(connection: &Connection, applied: &Applied) -> Result<()> {
    connection
        .execute(
            "/* shardwright */ UPDATE main._repl SET epoch = ?1, lsn = ?2, hash = ?3 WHERE id = 0",
            Params::from(&[
                crate::ValueRef::Integer(in_range("epoch", applied.epoch)?),
                crate::ValueRef::Integer(in_range("lsn", applied.lsn)?),
                crate::ValueRef::Blob(&applied.hash),
            ]),
        )
        .map(drop)
}

/// Moves the position on by one record.
pub(crate) fn advance(connection: &Connection, next: &Applied) -> Result<()> {
    let moved = connection.execute_again(
        "/* shardwright */ UPDATE main._repl SET epoch = ?1, lsn = ?2, hash = ?3
         WHERE id = 0 AND lsn = ?2 - 1 AND epoch <= ?1",
        Params::from(&[
            crate::ValueRef::Integer(in_range("epoch", next.epoch)?),
            crate::ValueRef::Integer(in_range("lsn", next.lsn)?),
            crate::ValueRef::Blob(&next.hash),
        ]),
    )?;
    if moved.changes == 1 {
        return Ok(());
    }
    applied(connection)?.check_next(next)?;
    Err(connection.corrupt("the row of _repl is malformed"))
}

/// Gives the copy another id.
pub(crate) fn write_id(connection: &Connection, id: &[u8; 16]) -> Result<()> {
    connection
        .execute(
            "/* shardwright */ UPDATE main._repl SET replica = ?1 WHERE id = 0",
            Params::from(&[Value::from(id.as_slice())]),
        )
        .map(drop)
}

/// Returns the number as SQLite's integer.
pub(crate) fn in_range(field: &'static str, value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| ReplicaError::OutOfRange { field, value }.into())
}
