//! Shards in memory as a store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use shardwright_registry::Clock;
use shardwright_topology::{Lsn, OperationId, ShardId};

use super::MemoryNode;
use crate::{
    Batch, Changes, Cut, DigestAt, Extent, Import, Pace, Page, Part, Reply, Request, ShardMetrics,
    ShardStore, StoreError,
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

    fn call(&self, operation: &OperationId, request: Request) -> Result<Reply, StoreError> {
        let now = self.clock.now();
        self.node().handle(now, operation, request)
    }
}

/// Calls the node, and takes the reply that goes with the request.
macro_rules! call {
    ($self:ident, $operation:expr, $request:expr, $reply:pat => $found:expr) => {
        match $self.call($operation, $request)? {
            $reply => Ok($found),
            other => unreachable!("the node answers a request with its reply, not {other:?}"),
        }
    };
}

#[async_trait]
impl ShardStore for MemoryShardStore {
    async fn create(
        &self,
        operation: &OperationId,
        shard: &ShardId,
        extent: &Extent,
    ) -> Result<(), StoreError> {
        let (shard, extent) = (shard.clone(), extent.clone());
        call!(self, operation, Request::Create { shard, extent }, Reply::Done => ())
    }

    async fn follow(&self, operation: &OperationId, shard: &ShardId) -> Result<Lsn, StoreError> {
        let shard = shard.clone();
        call!(self, operation, Request::Follow { shard }, Reply::Position(at) => at)
    }

    async fn scan(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Option<&[u8]>,
        batch: Batch,
    ) -> Result<Page, StoreError> {
        let node = self.node();
        Ok(node
            .shard(shard)?
            .scan(extent, after.map(<[u8]>::to_vec), batch))
    }

    async fn changes(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Lsn,
        up_to: Option<Lsn>,
        batch: Batch,
    ) -> Result<Changes, StoreError> {
        let node = self.node();
        node.shard(shard)?
            .changes(shard, extent, after, up_to, batch)
    }

    async fn imported(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        from: Lsn,
    ) -> Result<Import, StoreError> {
        let (target, source) = (target.clone(), source.clone());
        let request = Request::Imported {
            target,
            source,
            from,
        };
        call!(self, operation, request, Reply::Import(import) => import)
    }

    async fn import(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        page: Page,
    ) -> Result<Import, StoreError> {
        let (target, source) = (target.clone(), source.clone());
        let request = Request::Import {
            target,
            source,
            page,
        };
        call!(self, operation, request, Reply::Import(import) => import)
    }

    async fn apply(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        changes: Changes,
    ) -> Result<Import, StoreError> {
        let (target, source) = (target.clone(), source.clone());
        let request = Request::Apply {
            target,
            source,
            changes,
        };
        call!(self, operation, request, Reply::Import(import) => import)
    }

    async fn digest(&self, shard: &ShardId, extent: &Extent) -> Result<DigestAt, StoreError> {
        Ok(self.node().shard(shard)?.digest(extent))
    }

    async fn digest_of_import(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        extent: &Extent,
    ) -> Result<DigestAt, StoreError> {
        let (target, source, extent) = (target.clone(), source.clone(), extent.clone());
        let request = Request::DigestOfImport {
            target,
            source,
            extent,
        };
        call!(self, operation, request, Reply::Digest(digest) => digest)
    }

    async fn pace(
        &self,
        operation: &OperationId,
        shard: &ShardId,
        pace: Pace,
    ) -> Result<(), StoreError> {
        let shard = shard.clone();
        call!(self, operation, Request::Pace { shard, pace }, Reply::Done => ())
    }

    async fn seal(&self, operation: &OperationId, shard: &ShardId) -> Result<Lsn, StoreError> {
        let shard = shard.clone();
        call!(self, operation, Request::Seal { shard }, Reply::Position(at) => at)
    }

    async fn release(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        let shard = shard.clone();
        call!(self, operation, Request::Release { shard }, Reply::Done => ())
    }

    async fn open(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        let shard = shard.clone();
        call!(self, operation, Request::Open { shard }, Reply::Done => ())
    }

    async fn remove(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        let shard = shard.clone();
        call!(self, operation, Request::Remove { shard }, Reply::Done => ())
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
