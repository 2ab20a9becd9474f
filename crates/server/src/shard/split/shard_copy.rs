//! What an operation asks of a copy, whoever runs it: the tasks of a [`Shard`](crate::Shard), or a simulation.

use std::{sync::Arc, time::Duration};

use shardwright_quorum::log::{
    Level, Record,
    shard_log::{AppendError, Appended, Entry, ReadError as LogError},
};
use shardwright_store::ShardFile;
use shardwright_topology::{Config, Lsn, Timestamp};
use tokio::{sync::OwnedMutexGuard, task::spawn_blocking, time::timeout};

use super::Aside;
use crate::{
    shard::{Fresh, ReadError, ReadLevel, Shard, Usage, Write, WriteError, Written},
    threads,
};

/// How far the log of a copy is, as the copy knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The last record that it has.
    pub last: Lsn,
    /// The last one that it knows to be committed.
    pub known_commit: Lsn,
    /// What it is the primary of.
    pub leads: Option<Config>,
}

/// A copy of a shard that operations divide, fill and seal. Clones are the same copy.
///
/// All that an operation does with copies is made of these calls, so that it is the same wherever copies run.
pub trait ShardCopy: Clone + Send + Sync + 'static {
    /// Keeps all others from appending until it is dropped.
    type Turn: Send;

    /// Returns the data; `None` while it is not open.
    fn file(&self) -> Option<Arc<ShardFile>>;

    /// Returns what it keeps aside for other shards.
    fn aside(&self) -> &Aside;

    /// Returns what the clock of its deadlines shows.
    fn now(&self) -> Timestamp;

    /// Returns how far its log is.
    fn standing(&self) -> Standing;

    /// Returns how much it is used.
    fn usage(&self) -> Usage;

    /// Lets no commit over several shards begin here for so long, because it is to be sealed; without this a shard would never be free of
    /// them. Where none can begin, nothing has to be done.
    fn close_to_commits(&self, lasting: Duration) {
        let _none_begins = lasting;
    }

    /// Waits until nobody else appends.
    fn turn(&self) -> impl Future<Output = Self::Turn> + Send;

    /// Waits until the data is fresh enough.
    fn fresh(
        &self,
        level: ReadLevel,
        within: Duration,
    ) -> impl Future<Output = Result<Fresh, ReadError>> + Send;

    /// Appends a record, and waits until it has reached a level.
    fn append(
        &self,
        entry: Entry,
        level: Level,
        within: Duration,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send;

    /// Returns some of the committed records after a place; `None` if there are none within that time.
    fn read_from(
        &self,
        after: Lsn,
        within: Duration,
    ) -> impl Future<Output = Option<Result<Vec<Arc<Record>>, LogError>>> + Send;

    /// Has the log keep the records after a place, for so long. Only the last call counts.
    fn keep_after(&self, after: Lsn, lasting: Duration) -> impl Future<Output = ()> + Send;

    /// Waits until the data has a record, and returns how far it is then; `None` if that takes longer.
    fn until_place(&self, lsn: Lsn, within: Duration) -> impl Future<Output = Option<Lsn>> + Send;

    /// Runs a write, with nothing else in its batch if it asks for that.
    fn write_in_turn(
        &self,
        write: Write,
    ) -> impl Future<Output = Result<Written, WriteError>> + Send;

    /// Runs what takes a while, where that holds up nobody; `None` if it panicked.
    fn aside_of_tasks<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send;

    /// Runs what takes long and is in no hurry, where it gives way to all others; `None` if it panicked.
    fn in_background<T: Send + 'static>(
        &self,
        name: &'static str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        let _without_threads = name;
        self.aside_of_tasks(run)
    }
}

impl ShardCopy for Shard {
    type Turn = OwnedMutexGuard<()>;

    fn file(&self) -> Option<Arc<ShardFile>> {
        self.data.file()
    }

    fn aside(&self) -> &Aside {
        self.data.aside()
    }

    fn now(&self) -> Timestamp {
        self.clock().now()
    }

    fn standing(&self) -> Standing {
        let status = self.status();
        let status = status.borrow();
        Standing {
            last: status.last.lsn,
            known_commit: status.known_commit,
            leads: status.leads.clone(),
        }
    }

    fn usage(&self) -> Usage {
        self.usage()
    }

    fn close_to_commits(&self, lasting: Duration) {
        self.closed.send_replace(Some(self.clock().now() + lasting));
    }

    async fn turn(&self) -> Self::Turn {
        Arc::clone(&self.turn).lock_owned().await
    }

    async fn fresh(&self, level: ReadLevel, within: Duration) -> Result<Fresh, ReadError> {
        self.fresh(level, within).await
    }

    async fn append(
        &self,
        entry: Entry,
        level: Level,
        within: Duration,
    ) -> Result<Appended, AppendError> {
        self.log.append(entry, level, within).await
    }

    async fn read_from(
        &self,
        after: Lsn,
        within: Duration,
    ) -> Option<Result<Vec<Arc<Record>>, LogError>> {
        let read = timeout(within, self.log.read_from(after)).await;
        read.ok()
    }

    async fn keep_after(&self, after: Lsn, lasting: Duration) {
        // A log that has stopped keeps what it has.
        let _held = self.log.hold(after, lasting).await;
    }

    async fn until_place(&self, lsn: Lsn, within: Duration) -> Option<Lsn> {
        let mut places = self.data.places();
        let applied = places.wait_for(|place| place.is_some_and(|place| place.lsn >= lsn));
        match timeout(within, applied).await {
            Ok(Ok(place)) => Some(place.map_or(lsn, |place| place.lsn)),
            _ => None,
        }
    }

    async fn write_in_turn(&self, write: Write) -> Result<Written, WriteError> {
        self.write(write).await
    }

    async fn aside_of_tasks<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        spawn_blocking(run).await.ok()
    }

    async fn in_background<T: Send + 'static>(
        &self,
        name: &'static str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        threads::in_background(name, run).await
    }
}
