//! A store of events in one SQLite file.
//!
//! [`EventStore`] is the handle; `database` is the file and its transactions, and `writer` the thread that owns it, which puts all
//! events that wait into one transaction. So one sync of the disk is shared by those who come together, and nobody is
//! answered before it.

mod database;
mod error;
mod writer;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use tokio::sync::oneshot;

pub use self::error::{OpenError, StoreError};
use self::{
    database::Database,
    writer::{Request, Writer},
};
use crate::{BoxError, KeyTaken, Storage};

/// A store of events in one SQLite file. A clone is another handle on the same connection; the last one that is dropped waits for
/// what was asked before, and closes the file.
///
/// An event is on the disk when its put returns. A key keeps its first event: the same one again succeeds, and another one is
/// refused with [`StoreError::KeyTaken`]. A full disk refuses puts until there is room. After an error of the disk the store refuses
/// everything with [`StoreError::Stopped`], because what it would answer then might not be true; open it again.
#[derive(Debug, Clone)]
pub struct EventStore {
    writer: Arc<Writer>,
}

/// An event and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its key.
    pub key: String,
    /// The event.
    pub event: Bytes,
}

impl EventStore {
    /// Opens the store in a file, which is created if it does not exist. Its directory must exist.
    ///
    /// Other processes may read the file meanwhile, and should not write to it.
    ///
    /// # Errors
    /// [`OpenError`], and the file is as it was: also if it is something else, or of a later release.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let writer = Writer::start(Database::open(path)?);
        let writer = writer.map_err(|source| OpenError::Failed {
            path: path.to_owned(),
            source: source.into(),
        })?;
        Ok(Self {
            writer: Arc::new(writer),
        })
    }

    /// Stores an event, and returns once it is on the disk.
    ///
    /// Dropped before that, it may be stored or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put(&self, key: &str, event: Bytes) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.ask(|reply| Request::Put(StoredEvent { key, event }, reply))
            .await
    }

    /// Returns the event of a key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let key = key.to_owned();
        self.ask(|reply| Request::Get(key, reply)).await
    }

    /// Returns up to `limit` events whose keys are greater than `after`, in the order of their keys. The empty key is before all.
    ///
    /// An event that is put later may get a lower key than one that was read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page(&self, after: &str, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let after = after.to_owned();
        self.ask(|reply| Request::Page(after, limit, reply)).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writer.send(request(reply)).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Storage for EventStore {
    async fn put(&self, key: &str, event: Bytes) -> Result<(), BoxError> {
        match Self::put(self, key, event).await {
            Err(StoreError::KeyTaken { .. }) => Err(KeyTaken.into()),
            outcome => Ok(outcome?),
        }
    }
}
