//! Shards in memory as a store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use shardwright_registry::Clock;
use shardwright_topology::{Lsn, OperationId, ShardId};

use super::MemoryNode;
use crate::{
    Batch, Changes, Cut, DigestAt, Extent, Import, Pace, Page, Part, ShardMetrics, ShardStore,
    StoreError,
};

/// A store in memory. Clones share what they hold.
///
/// ```
/// use shardwright_elastic::{Extent, MemoryShardStore};
/// use shardwright_topology::{KeyRange, ShardId};
///
/// let store = MemoryShardStore::new();
/// let shard = ShardId::numbered(0);
/// store.add(&shard, &Extent::range(KeyRange::ALL));
/// store.put(&shard, b"user:1", b"Ada")?;
/// assert_eq!(store.get(&shard, b"user:1")?, Some(b"Ada".to_vec()));
/// # Ok::<_, shardwright_elastic::StoreError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemoryShardStore {
    node: Arc<Mutex<MemoryNode>>,
    clock: Clock,
}

impl Default for MemoryShardStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryShardStore {
    /// Returns a store without shards.
    #[must_use]
    pub fn new() -> Self {
        Self {
            node: Arc::default(),
            clock: Clock::start(),
        }
    }

    /// Adds a shard that takes reads and writes. One that exists stays as it is.
    pub fn add(&self, shard: &ShardId, extent: &Extent) {
        self.node().add(shard, extent);
    }

    /// Adds the given shards.
    pub fn add_parts<'a>(&self, parts: impl IntoIterator<Item = &'a Part>) {
        self.node().add_parts(parts);
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// As [`MemoryNode::get`].
    pub fn get(&self, shard: &ShardId, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.node().get(shard, key)?.map(<[u8]>::to_vec))
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// As [`MemoryNode::write`].
    pub fn put(&self, shard: &ShardId, key: &[u8], value: &[u8]) -> Result<Lsn, StoreError> {
        let now = self.clock.now();
        self.node().write(now, shard, key, Some(value))
    }

    /// Removes a key.
    ///
    /// # Errors
    /// As [`MemoryNode::write`].
    pub fn delete(&self, shard: &ShardId, key: &[u8]) -> Result<Lsn, StoreError> {
        let now = self.clock.now();
        self.node().write(now, shard, key, None)
    }

    /// Calls `look` with the shards as they are.
    pub fn look<T>(&self, look: impl FnOnce(&MemoryNode) -> T) -> T {
        look(&self.node())
    }

    fn node(&self) -> MutexGuard<'_, MemoryNode> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ShardStore for MemoryShardStore {
    async fn create(
        &self,
        operation: &OperationId,
        shard: &ShardId,
        extent: &Extent,
    ) -> Result<(), StoreError> {
        self.node().create(operation, shard, extent)
    }

    async fn follow(&self, operation: &OperationId, shard: &ShardId) -> Result<Lsn, StoreError> {
        self.node().follow(operation, shard)
    }

    async fn scan(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Option<&[u8]>,
        batch: Batch,
    ) -> Result<Page, StoreError> {
        let after = after.map(<[u8]>::to_vec);
        self.node().scan(shard, extent, after, batch)
    }

    async fn changes(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Lsn,
        up_to: Option<Lsn>,
        batch: Batch,
    ) -> Result<Changes, StoreError> {
        self.node().changes(shard, extent, after, up_to, batch)
    }

    async fn imported(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        from: Lsn,
    ) -> Result<Import, StoreError> {
        self.node().imported(operation, target, source, from)
    }

    async fn import(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        page: Page,
    ) -> Result<Import, StoreError> {
        self.node().import(operation, target, source, page)
    }

    async fn apply(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        changes: Changes,
    ) -> Result<Import, StoreError> {
        self.node().apply(operation, target, source, changes)
    }

    async fn digest(&self, shard: &ShardId, extent: &Extent) -> Result<DigestAt, StoreError> {
        self.node().digest(shard, extent)
    }

    async fn digest_of_import(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        extent: &Extent,
    ) -> Result<DigestAt, StoreError> {
        let mut node = self.node();
        node.digest_of_import(operation, target, source, extent)
    }

    async fn pace(
        &self,
        operation: &OperationId,
        shard: &ShardId,
        pace: Pace,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.node().pace(now, operation, shard, pace)
    }

    async fn seal(&self, operation: &OperationId, shard: &ShardId) -> Result<Lsn, StoreError> {
        self.node().seal(operation, shard)
    }

    async fn release(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        self.node().release(operation, shard)
    }

    async fn open(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        self.node().open(operation, shard)
    }

    async fn remove(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        self.node().remove(operation, shard)
    }

    async fn importing(&self) -> Result<Vec<(ShardId, OperationId)>, StoreError> {
        Ok(self.node().importing())
    }

    async fn metrics(&self, shard: &ShardId) -> Result<ShardMetrics, StoreError> {
        self.node().metrics(shard)
    }

    async fn median(&self, shard: &ShardId) -> Result<Option<Cut>, StoreError> {
        self.node().median(shard)
    }
}
