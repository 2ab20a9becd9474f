//! What can go wrong with a store of events.

use std::{path::PathBuf, sync::Arc};

use crate::BoxError;

/// A file that was not opened. It is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is something else: no database, or the database of another program.
    #[error("{} is no store of events: name another file", path.display())]
    NotAnEventStore {
        /// The file.
        path: PathBuf,
    },
    /// A later release wrote the file. Use that release.
    #[error("{} is a store of events in format {found}, this release knows format {known}", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The format that was found.
        found: u32,
        /// The format that is known.
        known: u32,
    },
    /// The file cannot be opened.
    #[error("{} cannot be opened", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What SQLite or the operating system said.
        #[source]
        source: BoxError,
    },
}

/// A store that could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The key has another event, which was kept. Use another key.
    #[error("the key {key} has another event: use another key")]
    KeyTaken {
        /// The key.
        key: String,
    },
    /// The event is larger than SQLite stores. It is not stored.
    #[error("the event is too large")]
    TooLarge,
    /// There is no room on the disk, and the event is not stored. Make room; the store goes on then.
    #[error("the disk is full: make room")]
    Full,
    /// Another process kept the file to itself, and the event is not stored. Try again.
    #[error("the file is in use by another process: try again")]
    Busy,
    /// The disk or the file failed, and an event that was being put may be stored or not. The store does nothing more until it is opened
    /// again.
    #[error(
        "the store has stopped after an error of its disk: look at the disk, and open it again"
    )]
    Stopped(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The store was closed before it answered.
    #[error("the store was closed")]
    Closed,
}

impl StoreError {
    /// Returns whether the same may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Full | Self::Busy => true,
            Self::KeyTaken { .. } | Self::TooLarge | Self::Stopped(_) | Self::Closed => false,
        }
    }
}
