//! Why migrations are not made.

use std::{io, path::PathBuf};

/// The files do not fit, or not what was made before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrationError {
    /// A file's name has no number.
    #[error("{} is not named as a migration is", path.display())]
    BadName { path: PathBuf },
    /// Two files have one number.
    #[error("both {one} and {other} are migration {version}")]
    Twice {
        version: u64,
        one: String,
        other: String,
    },
    /// A file has no statement.
    #[error("migration {version} has no statement")]
    Empty { version: u64 },
    /// A file is another one than when it was made.
    #[error("the file of migration {version} has changed since it was made")]
    Changed { version: u64 },
    /// A migration was made whose file is not there.
    #[error("migration {version}, {name}, was made, and has no file")]
    Lost { version: u64, name: String },
    /// A migration comes before one that was made.
    #[error("migration {version} was not made, and {last} was")]
    Late { version: u64, last: u64 },
    /// Shards are being split, merged or moved.
    #[error("operation {operation} is under way")]
    Operation { operation: String },
    /// There is no migration of that number.
    #[error("there is no migration {version}")]
    Unknown { version: u64 },
    /// The shards have something else than the files make.
    #[error("{found} found")]
    Drift { found: String },
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl MigrationError {
    /// The code that programs recognise it by.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::BadName { .. } | Self::Twice { .. } | Self::Empty { .. } => "MIGRATION_FILE",
            Self::Changed { .. } => "MIGRATION_CHANGED",
            Self::Lost { .. } => "MIGRATION_LOST",
            Self::Late { .. } => "MIGRATION_LATE",
            Self::Operation { .. } => "OPERATION_UNDER_WAY",
            Self::Unknown { .. } => "UNKNOWN_MIGRATION",
            Self::Drift { .. } => "DRIFT",
            Self::Io { .. } => "IO",
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::BadName { .. } => Some("name it like 0007_add_age.sql"),
            Self::Twice { .. } | Self::Late { .. } => {
                Some("give it a number above that of every migration that was made")
            }
            Self::Empty { .. } => Some("write a change of the schema into it, or remove it"),
            Self::Changed { .. } | Self::Lost { .. } => {
                Some("put the file back as it was, and write what is to change into another one")
            }
            Self::Operation { .. } => {
                Some("repeat it when the operation is over, or give it more time with --timeout")
            }
            Self::Unknown { .. } => Some("`schema status` lists them"),
            Self::Drift { .. } => Some("look whether somebody has changed the schema by hand"),
            Self::Io { .. } => None,
        }
    }

    /// Whether a rule refused it.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Changed { .. } | Self::Lost { .. } | Self::Late { .. }
        )
    }

    /// Whether time ran out.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Operation { .. })
    }
}
