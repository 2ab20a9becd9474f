//! Upkeep: what operations leave behind is removed, and what others did is seen.

use std::sync::{Arc, PoisonError};

use shardwright_topology::{Decision, OperationId, Phase, ShardId};
use tokio::time::timeout;

use super::{ElasticShardManager, Inner, Notice};
use crate::{Entry, Error, Journal, Layout, Part, ShardStore};

/// Removes a shard that a store [lists](ShardStore::importing) as left by an operation, if the operation is over. Returns whether it has.
///
/// List first, so that an operation that begins meanwhile is not taken for one that never was.
pub async fn clear_left(
    journal: &dyn Journal,
    store: &dyn ShardStore,
    shard: &ShardId,
    operation: &OperationId,
) -> bool {
    let is_over = match journal.get(operation).await {
        // What came to hold the shard after the operation had let go would have copies of it made again.
        Ok(Some(entry)) if entry.record.phase().is_final() => {
            journal.resolve(&entry.record).await.is_ok()
        }
        Ok(None) => matches!(journal.is_foreign(operation).await, Ok(false)),
        Ok(Some(_)) | Err(_) => false,
    };
    is_over && store.remove(operation, shard).await.is_ok()
}

impl ElasticShardManager {
    /// Reads the layout and the operations of the journal again: other managers on it may have changed them.
    ///
    /// # Errors
    /// [`Error::Journal`] or [`Error::Layout`]: the layout stays as it was.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.inner.refresh().await
    }

    /// Removes shards that were being filled by operations that are over or were never written down, and the records of operations that ended
    /// [long ago](crate::Settings::retention). Done now and then by itself.
    pub async fn collect(&self) {
        self.inner.collect().await;
    }
}

impl Inner {
    /// Begins with what the journal says.
    pub(super) async fn begin_up(self: &Arc<Self>) -> Result<(), Error> {
        self.take_up().await?;
        self.refresh().await?;
        self.keep_up();
        Ok(())
    }

    /// Sees what others did. Operations first: what commits after they are listed is either in the shards that are read then, or seen by its run here.
    pub(super) async fn refresh(self: &Arc<Self>) -> Result<(), Error> {
        self.go_on().await?;
        self.reload().await
    }

    /// Reads the layout, again if it was replaced meanwhile: what was read may be older than that.
    pub(super) async fn reload(&self) -> Result<(), Error> {
        loop {
            let before = self.routes().replaced;
            let layout = Layout::new(self.driver.journal().shards().await?)?;
            let mut routes = self.routes();
            if routes.replaced == before {
                routes.layout = Arc::new(layout);
                routes.replaced += 1;
                return Ok(());
            }
        }
    }

    /// Settles what an earlier process with stores of one's own has left: the gates were in its memory, so nothing is sealed any more.
    ///
    /// What was not decided is aborted before the first write; what had committed goes on. Of its targets those come back that own keys: one that was
    /// split, merged or moved since is for the later operation to remove.
    async fn take_up(&self) -> Result<(), Error> {
        let owners = self.layout();
        let owns = |part: &&Part| owners.part(part.shard.as_str()) == Some(part);
        for entry in self.driver.journal().list().await? {
            let Entry { record, version } = entry;
            let work = &record.work;
            let mut parts = work.sources.iter().chain(&work.targets);
            let is_own = parts.any(|part| self.own.contains_key(&part.node));
            match record.phase().decision() {
                Decision::Open if is_own => {
                    let mut aborting = record.advance(Phase::Aborting).expect("it is open");
                    let reason = "the process that ran it has ended".to_owned();
                    aborting.operation.error = Some(reason);
                    self.driver.journal().put(&aborting, Some(version)).await?;
                }
                Decision::Commit if !record.phase().is_final() => {
                    for part in work.targets.iter().filter(owns) {
                        if let Some(own) = self.own.get(&part.node) {
                            own.add_made(record.id(), part);
                        }
                    }
                }
                Decision::Open | Decision::Commit | Decision::Abort => {}
            }
        }
        Ok(())
    }

    pub(super) async fn collect(self: &Arc<Self>) {
        for node in self.driver.nodes().nodes() {
            if let Some(store) = self.driver.nodes().store(&node) {
                self.collect_orphans(&*store).await;
            }
        }
        let Ok(entries) = self.driver.journal().list().await else {
            return;
        };
        for entry in entries {
            if entry.record.phase().is_final() {
                self.trim(&entry).await;
            }
        }
        for id in self.driver.journal().orphans().await.unwrap_or_default() {
            // One that is just being written down is there long before.
            if self.is_long_over(&id) && self.driver.journal().forget(&id).await.is_ok() {
                self.forgotten(id);
            }
        }
    }

    async fn collect_orphans(&self, store: &dyn ShardStore) {
        // A store that says nothing keeps the others waiting no longer than this.
        let within = self.driver.settings().call_timeout;
        let Ok(Ok(importing)) = timeout(within, store.importing()).await else {
            return;
        };
        for (shard, operation) in importing {
            if clear_left(&**self.driver.journal(), store, &shard, &operation).await {
                self.tell(Notice::Collected { operation });
            }
        }
    }

    /// Removes the record of an operation that this process has known to be over for long enough.
    async fn trim(&self, entry: &Entry) {
        let id: &OperationId = entry.record.id();
        if !self.is_long_over(id) {
            return;
        }
        if self
            .driver
            .journal()
            .remove(id, entry.version)
            .await
            .is_ok()
        {
            self.running().remove(id);
            self.forgotten(id.clone());
        }
    }

    /// Whether this process has known for long enough that an operation is over.
    fn is_long_over(&self, id: &OperationId) -> bool {
        let now = self.clock.now();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *ended.entry(id.clone()).or_insert(now);
        self.driver.settings().retention <= now.since(since)
    }

    fn forgotten(&self, operation: OperationId) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.remove(&operation);
        drop(ended);
        self.tell(Notice::Collected { operation });
    }
}
