//! What can go wrong with opening a file as a store.

use std::path::PathBuf;

use crate::BoxError;

/// A file that was not opened. It is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file does not exist, and was to be read, or its directory does not exist.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else: no database, or the database of another program.
    #[error("{} is no registry", path.display())]
    NotARegistry {
        /// The file.
        path: PathBuf,
    },
    /// A later release wrote the file. Use that release.
    #[error("{} is a registry in format {found}, this release knows format {known}", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The format that was found.
        found: String,
        /// The format that is known.
        known: u32,
    },
    /// The file or its directory cannot be written. Open it for reading, or change the permissions.
    #[error("{} cannot be written", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: BoxError,
    },
    /// The file cannot be opened for another reason.
    #[error("{} cannot be opened", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What SQLite or the operating system said.
        #[source]
        source: BoxError,
    },
}
