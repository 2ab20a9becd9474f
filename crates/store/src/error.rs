//! What can go wrong with a shard file.

#[cfg(feature = "capture")]
mod replica;
mod translate;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error as ThisError;

#[cfg(feature = "capture")]
pub use self::replica::{Difference, ReplicaError};

/// The result of an operation on a shard file.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation on a shard file.
///
/// Unless a variant says otherwise, the statement that failed changed nothing, and a transaction
/// that was open still is.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file. Restore it, or create it if it never existed.
    #[error("{} does not exist", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file is there already, and creating never overwrites one.
    #[error("{} exists already", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file is not an SQLite database, or it is an encrypted one.
    #[error("{} is not an SQLite database", .path.display())]
    NotADatabase {
        /// The file.
        path: Arc<Path>,
    },
    /// The file is an SQLite database, but no shard file. Import it instead of opening it.
    #[error("{} is an SQLite database but not a shard file; import it", .path.display())]
    NotAShardFile {
        /// The file.
        path: Arc<Path>,
    },
    /// A release with another file format wrote the file. Use that release.
    #[error("{} has format {found}; this release reads format {supported}", .path.display())]
    UnknownFormat {
        /// The file.
        path: Arc<Path>,
        /// The format that the file claims.
        found: String,
        /// The format that this release reads and writes.
        supported: u32,
    },
    /// The file belongs to another database or another place than the caller expects.
    #[error("{} has {field} {found:?}, expected {expected:?}", .path.display())]
    WrongIdentity {
        /// The file.
        path: Arc<Path>,
        /// The field that differs.
        field: &'static str,
        /// What the caller expects.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// The file is damaged. Restore it from a copy.
    #[error("{} is corrupt: {message}", .path.display())]
    Corrupt {
        /// The file.
        path: Arc<Path>,
        /// SQLite's description.
        message: String,
    },
    /// The disk or the file's quota is full. Free space and try again.
    #[error("no space left to write {}", .path.display())]
    Full {
        /// The file.
        path: Arc<Path>,
    },
    /// The file, its directory or the way it was opened permits no writing.
    #[error("{} is read-only", .path.display())]
    ReadOnly {
        /// The file.
        path: Arc<Path>,
    },
    /// Another writer, or too many readers, held the file for longer than the busy time-out. Try again.
    #[error("{} is busy: {holder}", .path.display())]
    Busy {
        /// The file.
        path: Arc<Path>,
        /// What was being waited for.
        holder: Holder,
    },
    /// SQLite could not open the file, or make the files that it needs beside it. Where the directory is
    /// read-only, open the file as [`Access::Immutable`](crate::Access::Immutable).
    #[error("cannot open {}, or write beside it: {message}", .path.display())]
    CannotOpen {
        /// The file.
        path: Arc<Path>,
        /// SQLite's description.
        message: String,
    },
    /// A constraint refused the statement.
    #[error("{message}")]
    Constraint {
        /// The kind of constraint.
        kind: ConstraintKind,
        /// SQLite's message, which names the table and column.
        message: String,
    },
    /// SQLite refused the statement: bad syntax, an unknown table, an error raised by a function.
    #[error("{message}")]
    Sql {
        /// SQLite's message.
        message: String,
        /// The offset in bytes into the statement, where SQLite names one.
        offset: Option<usize>,
    },
    /// The text holds more than one statement. Send them one by one, or as a script.
    #[error("the text holds more than one statement")]
    MultipleStatements,
    /// The number of values differs from the number of parameters. Nothing ran.
    #[error("the statement takes {expected} parameters, {given} values were given")]
    Parameters {
        /// The number of parameters.
        expected: usize,
        /// The number of values.
        given: usize,
    },
    /// A value was given for a parameter that the statement does not have. Nothing ran.
    #[error("the statement has no parameter {name}")]
    UnknownParameter {
        /// The name as given.
        name: String,
    },
    /// A reader was given a statement that writes. Send it to the writer.
    #[error("the statement writes, and readers do not")]
    NotAQuery,
    /// A string or blob exceeds SQLite's limit of a billion bytes, or a statement another limit.
    #[error("{message}")]
    TooBig {
        /// SQLite's message.
        message: String,
    },
    /// SQLite ran out of memory.
    #[error("out of memory")]
    OutOfMemory,
    /// The statement was interrupted. A write transaction it belonged to is rolled back.
    #[error("interrupted")]
    Interrupted,
    /// The disk failed under SQLite. Treat the file as lost if a write was under way.
    #[error("disk error on {}: {message}", .path.display())]
    Disk {
        /// The file.
        path: Arc<Path>,
        /// SQLite's extended result code.
        code: i32,
        /// SQLite's description.
        message: String,
    },
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A member of a batch used a transaction statement, which would end the others' transaction.
    #[error("transaction statements are not allowed inside a batch")]
    TransactionStatement,
    /// A statement ended the transaction around it (`RAISE(ROLLBACK)`, `OR ROLLBACK`).
    #[error("the statement failed and rolled the whole transaction back")]
    TransactionEnded {
        /// The error that ended it.
        source: Box<Self>,
    },
    /// The transaction that the statement belongs to has ended already. It did not run.
    #[error("the transaction has ended already")]
    NoTransaction,
    /// A decided batch failed to commit, and is rolled back. It has to be applied again.
    #[error("the decided batch did not commit")]
    CommitFailed {
        /// The reason.
        source: Box<Self>,
    },
    /// The table does not exist, or is not one whose rows can be scanned.
    #[error("no table {table} with rows of its own")]
    NoTable {
        /// The table.
        table: String,
    },
    /// Columns of the table hide every name of its rowid, so its rows cannot be told apart. Rename one
    /// of the columns.
    #[error("columns of {table} hide rowid, _rowid_ and oid")]
    NoRowKey {
        /// The table.
        table: String,
    },
    /// Handles of the file are still in use, so it cannot be closed. Drop them first.
    #[error("{} has {handles} handles in use", .path.display())]
    InUse {
        /// The file.
        path: Arc<Path>,
        /// How many handles, besides the one to be closed.
        handles: usize,
    },
    /// A failure between the copies of a shard.
    #[cfg(feature = "capture")]
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// SQLite failed in a way that has no variant of its own.
    #[error("{message} (SQLite result {code})")]
    Sqlite {
        /// SQLite's extended result code.
        code: i32,
        /// SQLite's description.
        message: String,
    },
}

/// What an operation waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The writer of this process.
    Writer,
    /// All readers of this process are in use.
    Readers,
    /// Another connection or process holds the lock on the file.
    Lock,
    /// Another connection has committed since this transaction read. Roll it back before trying again.
    NewerCommit,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Writer => "the writer is in use",
            Self::Readers => "all readers are in use",
            Self::Lock => "another connection holds its lock",
            Self::NewerCommit => "the transaction has read a state that is out of date",
        })
    }
}

/// The kind of constraint that refused a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConstraintKind {
    /// UNIQUE, or a unique index.
    Unique,
    /// PRIMARY KEY.
    PrimaryKey,
    /// The rowid exists already.
    RowId,
    /// NOT NULL.
    NotNull,
    /// CHECK.
    Check,
    /// FOREIGN KEY.
    ForeignKey,
    /// `RAISE` in a trigger.
    Trigger,
    /// The type of a column of a STRICT table.
    DataType,
    /// Any other.
    Other,
}

impl Error {
    /// Returns whether the same call may succeed later although nobody repairs anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Interrupted | Self::OutOfMemory => true,
            Self::Missing { .. }
            | Self::Exists { .. }
            | Self::NotADatabase { .. }
            | Self::NotAShardFile { .. }
            | Self::UnknownFormat { .. }
            | Self::WrongIdentity { .. }
            | Self::Corrupt { .. }
            | Self::Full { .. }
            | Self::ReadOnly { .. }
            | Self::CannotOpen { .. }
            | Self::Constraint { .. }
            | Self::Sql { .. }
            | Self::MultipleStatements
            | Self::Parameters { .. }
            | Self::UnknownParameter { .. }
            | Self::NotAQuery
            | Self::TooBig { .. }
            | Self::Disk { .. }
            | Self::Io { .. }
            | Self::TransactionStatement
            | Self::NoTransaction
            | Self::NoTable { .. }
            | Self::NoRowKey { .. }
            | Self::InUse { .. }
            | Self::Sqlite { .. } => false,
            #[cfg(feature = "capture")]
            Self::Replica(_) => false,
            // The batch was decided: applying it again is a duty, not a retry.
            Self::CommitFailed { .. } => false,
            Self::TransactionEnded { source } => source.is_retryable(),
        }
    }
}
