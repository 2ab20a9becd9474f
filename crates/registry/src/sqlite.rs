//! A store in one SQLite file, shared by the processes of one machine.
//!
//! [`open`] finds out what a file is, [`database`] is the file and its transactions, [`driver`] the thread that owns it and looks for changes of other
//! processes, [`checkpoints`] the one that keeps its log short, and this module the handle. A watcher reads the file's own log of changes, so that it sees those of every
//! process, in one order and without a gap.

mod checkpoints;
mod database;
mod doctor;
mod driver;
mod open;
mod open_error;
mod schema;

use std::{collections::VecDeque, path::Path, sync::Arc};

use async_trait::async_trait;
use futures_util::stream;
use tokio::sync::{oneshot, watch};

pub use self::open_error::OpenError;
use self::{
    database::{Change, Database},
    driver::{Driver, Request},
};
use crate::{
    Entry, Event, Finding, Key, Listing, Prefix, Revision, Store, StoreError, Watch,
    store_error::check_len,
};

/// A store in one SQLite file. A clone is another handle on the same connection.
///
/// Any number of processes of one machine may have the file open. A change is on the disk when its call returns. A process that is
/// stopped in the middle of a change blocks the changes of the others until it goes on or ends; their calls then fail after five
/// seconds with [`StoreError::Unavailable`].
#[derive(Debug, Clone)]
pub struct SqliteStore {
    driver: Arc<Driver>,
}

/// How many changes the file keeps for watchers.
const LOG_MAX: u64 = 10_000;

impl SqliteStore {
    /// Opens the store in a file, which is created if it does not exist. Its directory must exist.
    ///
    /// Blocks while another process creates the file.
    ///
    /// # Errors
    /// [`OpenError`], and the file is as it was: also if it is no store, or of a later release.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_keeping(path, LOG_MAX)
    }

    /// Does as [`SqliteStore::open`], and lets this handle keep `changes` changes for watchers; 10,000 is the default.
    ///
    /// # Errors
    /// See [`SqliteStore::open`].
    pub fn open_keeping(path: impl AsRef<Path>, changes: u64) -> Result<Self, OpenError> {
        Self::run(open::open(path.as_ref(), changes)?)
    }

    /// Opens the store in a file for reading, also where the directory cannot be written.
    ///
    /// There, the file is taken to be at rest: nobody may change it while it is open, and a store that was not closed by its last
    /// user cannot be read.
    ///
    /// # Errors
    /// [`OpenError`], also if the file does not exist.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::run(open::open_read_only(path.as_ref())?)
    }

    fn run(database: Database) -> Result<Self, OpenError> {
        Ok(Self {
            driver: Arc::new(Driver::start(database)?),
        })
    }

    /// Looks at what decides whether the file keeps what it acknowledged.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Damaged`] if it cannot be looked at.
    pub async fn diagnose(&self) -> Result<Vec<Finding>, StoreError> {
        self.ask(Request::Diagnose).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.driver.send(request(reply))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn change(
        &self,
        key: &Key,
        expected: Option<Revision>,
        value: Option<&[u8]>,
    ) -> Result<Revision, StoreError> {
        check_len(value.unwrap_or_default())?;
        let value = value.map(<[u8]>::to_vec);
        let change = Change {
            key: key.clone(),
            expected,
            value,
        };
        let key = key.clone();
        match self.ask(|reply| Request::Change(change, reply)).await {
            // The thread ended between the request and the answer.
            Err(StoreError::Closed) => Err(StoreError::Unknown {
                key,
                source: StoreError::Closed.into(),
            }),
            outcome => outcome,
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let key = key.clone();
        self.ask(|reply| Request::Get(key, reply)).await
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError> {
        self.change(key, None, Some(value)).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError> {
        self.change(key, Some(expected), Some(value)).await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError> {
        self.change(key, Some(expected), None).await.map(|_| ())
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        let prefix = prefix.clone();
        self.ask(|reply| Request::List(prefix, reply)).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        let mut watcher = Watcher {
            store: self.clone(),
            prefix: prefix.clone(),
            latest: self.driver.latest(),
            ready: VecDeque::new(),
            after,
            failed: false,
        };
        watcher.read().await?;
        // From here on the thread looks for changes of others.
        self.driver.send(Request::Poll)?;
        Ok(Box::pin(stream::unfold(
            watcher,
            |mut watcher| async move {
                let item = watcher.next().await?;
                Some((item, watcher))
            },
        )))
    }
}

/// A reader of the log that waits at its end.
struct Watcher {
    store: SqliteStore,
    prefix: Prefix,
    latest: watch::Receiver<Revision>,
    ready: VecDeque<Event>,
    after: Revision,
    failed: bool,
}

impl Watcher {
    async fn read(&mut self) -> Result<(), StoreError> {
        let (prefix, after) = (self.prefix.clone(), self.after);
        let log = self
            .store
            .ask(|reply| Request::Changes(prefix, after, reply))
            .await?;
        self.ready = log.events.into();
        self.after = log.reached;
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<Event, StoreError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.failed {
                return None;
            }
            let after = self.after;
            // A file that was replaced by an older one has a lower revision; `read` finds nothing after it either.
            self.latest.wait_for(|latest| *latest > after).await.ok()?;
            if let Err(error) = self.read().await {
                self.failed = true;
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests;
