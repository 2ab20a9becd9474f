//! The error of a place as plain data.

use std::fmt;

use serde::{Deserialize, Serialize};
use shardwright_store::Error as StoreError;

use crate::error::Error;

/// Why a place did not do what it was asked, as data: what a server sends to a gateway in place of its own error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The kind, on which code and hint depend.
    pub kind: FaultKind,
    /// The message, without the name of the place.
    pub message: String,
}

/// What kind of error a place had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// SQLite refused the statement.
    Sql,
    /// A constraint refused the write.
    Constraint,
    /// The values do not fit the parameters of the statement.
    Parameters,
    /// The place was occupied for too long. Nothing was run.
    Busy,
    /// The statement was interrupted and undone.
    Interrupted,
    /// There was not enough memory, and nothing has changed.
    OutOfMemory,
    /// The place is open for reading only.
    ReadOnly,
    /// The disk is full. What was under way was undone.
    DiskFull,
    /// The disk or the system failed.
    Io,
    /// A file is missing.
    MissingFile,
    /// A file is not the one that belongs there.
    WrongFile,
    /// A file was written by a release that this one does not know.
    UnknownFormat,
    /// A file is damaged.
    Corrupt,
    /// The place could not be reached. Nothing was run.
    Unreachable,
    /// The place was lost while it worked. Whether the write was made is not known.
    Indeterminate,
    /// The place's schema is another one than the statement was planned for. Nothing was run.
    SchemaChanged,
    /// The work is for the engine that is the writer, and this one is not, or not any more. Nothing was run.
    NotWriter,
    /// The write has an identity that is too old to tell whether it was made before. It was not made now.
    Forgotten,
    /// What was sent, or the changes of the write, are larger than the place takes. Nothing was made of it.
    TooLarge,
    /// Anything else.
    Other,
    /// It took longer than it may. Nothing of it has happened.
    OutOfTime,
    /// The rows of the place are moving, or have moved, to other places: those of a newer shard map. Nothing was run.
    LayoutChanged,
}

impl FaultKind {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Sql => "SQL_ERROR",
            Self::Constraint => "CONSTRAINT",
            Self::Parameters => "PARAMETERS",
            Self::Busy => "BUSY",
            Self::Interrupted => "INTERRUPTED",
            Self::ReadOnly => "READ_ONLY",
            Self::DiskFull => "DISK_FULL",
            Self::Io => "IO",
            Self::MissingFile => "MISSING_FILE",
            Self::WrongFile => "WRONG_FILE",
            Self::UnknownFormat => "UNKNOWN_FORMAT",
            Self::Corrupt => "CORRUPT",
            Self::Unreachable => "UNREACHABLE",
            Self::Indeterminate => "INDETERMINATE",
            Self::SchemaChanged => "SCHEMA_CHANGED",
            Self::NotWriter => "NOT_WRITER",
            Self::Forgotten => "DEDUP_EXPIRED",
            Self::TooLarge => "TOO_LARGE",
            Self::OutOfTime => "OUT_OF_TIME",
            Self::LayoutChanged => "LAYOUT_CHANGED",
            Self::OutOfMemory | Self::Other => "STORE",
        }
    }

    /// Whether the same call may succeed if it is made again, and does no harm if it does.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Busy
            | Self::Interrupted
            | Self::OutOfMemory
            | Self::Unreachable
            | Self::SchemaChanged
            | Self::NotWriter
            | Self::OutOfTime
            | Self::LayoutChanged => true,
            Self::Sql
            | Self::Constraint
            | Self::Parameters
            | Self::ReadOnly
            | Self::DiskFull
            | Self::Io
            | Self::MissingFile
            | Self::WrongFile
            | Self::UnknownFormat
            | Self::Corrupt
            | Self::Indeterminate
            | Self::Forgotten
            | Self::TooLarge
            | Self::Other => false,
        }
    }

    pub(crate) fn hint(self) -> Option<&'static str> {
        match self {
            Self::Corrupt => Some("restore the file from a copy; the other shards are intact"),
            Self::DiskFull => {
                Some("free some space and do the same again; what was under way was undone")
            }
            Self::Busy => Some("repeat the statement; it was not run"),
            Self::UnknownFormat => Some("open it with the release that wrote it, or a newer one"),
            Self::Unreachable => {
                Some("repeat the statement when the place is back; it was not run")
            }
            Self::Indeterminate => Some("look whether the write is there before repeating it"),
            Self::SchemaChanged => {
                Some("repeat the statement: it is planned anew for the schema of now")
            }
            Self::LayoutChanged => {
                Some("repeat the statement: it is planned anew for the shards of now")
            }
            Self::NotWriter => {
                Some("repeat the statement: it goes to the engine that is the writer")
            }
            Self::Forgotten => {
                Some("look whether the write is there; repeat it sooner next time, or as a new one")
            }
            Self::TooLarge => Some("write in smaller parts"),
            Self::OutOfTime => Some("give it more time, or let it do less"),
            _ => None,
        }
    }

    /// The kind of a file's error.
    pub(crate) fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Sql { .. } => Self::Sql,
            StoreError::Constraint { .. } => Self::Constraint,
            StoreError::Missing { .. } => Self::MissingFile,
            StoreError::NotADatabase { .. }
            | StoreError::NotAShardFile { .. }
            | StoreError::WrongIdentity { .. } => Self::WrongFile,
            StoreError::UnknownFormat { .. } => Self::UnknownFormat,
            StoreError::Corrupt { .. } => Self::Corrupt,
            StoreError::Full { .. } => Self::DiskFull,
            StoreError::ReadOnly { .. } => Self::ReadOnly,
            StoreError::Busy { .. } => Self::Busy,
            StoreError::Parameters { .. } | StoreError::UnknownParameter { .. } => Self::Parameters,
            StoreError::Interrupted => Self::Interrupted,
            StoreError::OutOfMemory => Self::OutOfMemory,
            StoreError::Disk { .. } | StoreError::Io { .. } | StoreError::CannotOpen { .. } => {
                Self::Io
            }
            _ => Self::Other,
        }
    }
}

impl Fault {
    /// An error of that kind.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The error for the caller of the engine. What SQLite says of a statement is the same everywhere.
    #[must_use]
    pub fn at(self, place: &str) -> Error {
        let Self { kind, message } = self;
        match kind {
            FaultKind::Sql => Error::Sql { message },
            FaultKind::Constraint => Error::Constraint { message },
            kind => Error::Place {
                place: place.to_owned(),
                fault: Self { kind, message },
            },
        }
    }
}

impl From<&StoreError> for Fault {
    fn from(error: &StoreError) -> Self {
        Self::new(FaultKind::of(error), error.to_string())
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let kind = match error {
            Error::Place { fault, .. } => return fault.clone(),
            Error::Store { source, .. } => return Self::from(source),
            Error::Sql { .. } => FaultKind::Sql,
            Error::Constraint { .. } => FaultKind::Constraint,
            Error::Unfinished { .. } => FaultKind::Indeterminate,
            Error::ReadOnly { .. } => FaultKind::ReadOnly,
            Error::Io { .. } => FaultKind::Io,
            Error::OutOfTime { .. } => FaultKind::OutOfTime,
            _ => FaultKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_the_error_said() {
        let busy = StoreError::Busy {
            path: std::path::Path::new("/x/shard-0.db").into(),
            holder: shardwright_store::Holder::Writer,
        };
        for error in [
            Error::at("shard-0")(busy),
            Error::at("shard-0")(StoreError::Interrupted),
            Error::Constraint {
                message: "UNIQUE constraint failed: t.a".to_owned(),
            },
        ] {
            let there = Fault::from(&error).at("shard-0");
            assert_eq!(there.to_string(), error.to_string());
            assert_eq!(there.code(), error.code());
            assert_eq!(there.hint(), error.hint());
            assert_eq!(there.is_retryable(), error.is_retryable());
        }
    }
}
