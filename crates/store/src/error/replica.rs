//! What can go wrong between copies of a shard.

use std::fmt;

use thiserror::Error as ThisError;

use crate::Value;

/// A failure that concerns capture, change sets or the copies of a shard.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The file has no position in a log yet. Give it one with
    /// [`Writer::start_replica`](crate::Writer::start_replica).
    #[error("the file has no position in a log")]
    NotReplicated,
    /// The position does not follow the one that the file has. Nothing was applied.
    #[error("position {given_epoch}/{given_lsn} does not follow {applied_epoch}/{applied_lsn}")]
    NotNext {
        /// The epoch of the file's position.
        applied_epoch: u64,
        /// The number of the file's position.
        applied_lsn: u64,
        /// The epoch of the position that was given.
        given_epoch: u64,
        /// The number of the position that was given.
        given_lsn: u64,
    },
    /// The copy is not in the state that the changes were made in. Nothing was applied; take the copy
    /// out of use and make it anew.
    #[error("the copy differs at {table}, key {key:?}: {difference}")]
    Diverged {
        /// The table, or `sqlite_schema`, or the name of the setting.
        table: String,
        /// The key of the row: its rowid, or the columns of its primary key.
        key: Vec<Value>,
        /// How it differs.
        difference: Difference,
    },
    /// The bytes are no change set, or one that was damaged on its way. Nothing was applied.
    #[error("the change set is damaged: {reason}")]
    Damaged {
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A release with another format made the change set. Use that release.
    #[error("the change set has version {found}; this release reads version {supported}")]
    UnknownVersion {
        /// The version of the change set.
        found: u8,
        /// The version that this release reads and writes.
        supported: u8,
    },
    /// The statement has effects that copies could not repeat. It is undone.
    #[error("{what} cannot be replicated")]
    Refused {
        /// What the statement does.
        what: String,
    },
    /// A statement that changes the schema stands in a batch with others. Run its member again in a
    /// batch of its own.
    #[error("a change of the schema needs a batch of its own")]
    NeedsOwnBatch,
    /// The changes take more memory than [`CHANGES_BYTES_MAX`](crate::CHANGES_BYTES_MAX). Nothing of
    /// them is left; divide the work.
    #[error("the changes of one transaction exceed {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// A number does not fit SQLite's integers.
    #[error("{field} {value} is above 2^63 - 1")]
    OutOfRange {
        /// The number's name.
        field: &'static str,
        /// The number.
        value: u64,
    },
    /// An outcome for this client and sequence is stored already. Nothing was committed.
    #[error("sequence {sequence} of the client has an outcome already")]
    DuplicateEntry {
        /// The sequence.
        sequence: u64,
    },
    /// Rows of the transaction changed after its changes were taken. It is rolled back.
    #[error("rows changed after the changes of the transaction were taken")]
    ChangedAfterCapture,
}

/// How a copy differs from the state that a change was made in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The row does not exist.
    Missing,
    /// A row with that key exists already.
    Present,
    /// The row, or the setting, has other values.
    Values,
    /// The table does not exist, or has other columns.
    Table,
    /// A constraint refused the row.
    Constraint(String),
    /// The statement on the schema failed, or had another effect.
    Schema(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the row is missing"),
            Self::Present => f.write_str("the row exists already"),
            Self::Values => f.write_str("its values are others"),
            Self::Table => f.write_str("the table is another one"),
            Self::Constraint(message) | Self::Schema(message) => f.write_str(message),
        }
    }
}
