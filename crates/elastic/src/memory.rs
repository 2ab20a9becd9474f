//! Shards in memory: the contract of stores as a plain value, and as a store.

mod calls;
mod import;
mod mirror;
mod shard;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::{Lsn, OperationId, ShardId, Timestamp};

use self::shard::{HeldShard, State};
pub use self::store::MemoryShardStore;
use crate::{Cut, Extent, Part, Reply, Request, ShardMetrics, StoreError};

/// The shards of one node, in memory: a plain value without locks, for a simulator, or behind [`MemoryShardStore`].
#[derive(Debug, Clone, Default)]
pub struct MemoryNode {
    shards: BTreeMap<ShardId, HeldShard>,
    /// Names that are never used again.
    removed: BTreeSet<ShardId>,
}

impl MemoryNode {
    /// Returns a node without shards.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a shard that takes reads and writes, and is empty. One that exists stays as it is.
    pub fn add(&mut self, shard: &ShardId, extent: &Extent) {
        let new = || HeldShard::new(extent.clone(), State::Serving);
        self.shards.entry(shard.clone()).or_insert_with(new);
    }

    /// Adds the shards of a layout that are on this node.
    pub fn add_parts<'a>(&mut self, parts: impl IntoIterator<Item = &'a Part>) {
        for part in parts {
            self.add(&part.shard, &part.extent);
        }
    }

    /// Returns the value of a key; `None` if the key has none.
    ///
    /// # Errors
    /// [`StoreError::Importing`], [`StoreError::Foreign`], [`StoreError::Unknown`] or [`StoreError::Removed`].
    pub fn get(&self, shard: &ShardId, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        self.shard(shard)?.get(shard, key)
    }

    /// Changes the value of a key, or removes it, and returns the position of the change.
    ///
    /// # Errors
    /// As [`MemoryNode::get`], [`StoreError::Sealed`] or [`StoreError::Busy`]: nothing changed.
    pub fn write(
        &mut self,
        now: Timestamp,
        shard: &ShardId,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Lsn, StoreError> {
        self.shard_mut(shard)?.write(now, shard, key, value)
    }

    /// Returns the names of the shards, and whether each takes reads and writes.
    pub fn shards(&self) -> impl Iterator<Item = (&ShardId, bool)> {
        let serving = |held: &HeldShard| matches!(held.state, State::Serving);
        self.shards
            .iter()
            .map(move |(shard, held)| (shard, serving(held)))
    }

    /// Returns the rows of a shard in the order of their keys; none if it is not here.
    pub fn rows(&self, shard: &ShardId) -> impl Iterator<Item = (&[u8], &[u8])> {
        let held = self.shards.get(shard);
        held.into_iter().flat_map(HeldShard::rows)
    }

    /// Returns the shards that are being filled, with the operations that fill them.
    #[must_use]
    pub fn importing(&self) -> Vec<(ShardId, OperationId)> {
        let held = self.shards.iter();
        held.filter_map(|(shard, held)| match &held.state {
            State::Importing { operation, .. } => Some((shard.clone(), operation.clone())),
            State::Serving | State::Sealed { .. } => None,
        })
        .collect()
    }

    /// Returns how much a shard has.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or [`StoreError::Removed`].
    pub fn metrics(&self, shard: &ShardId) -> Result<ShardMetrics, StoreError> {
        Ok(self.shard(shard)?.metrics())
    }

    /// Returns the cut that divides the rows of a shard in halves; `None` if they cannot be divided.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or [`StoreError::Removed`].
    pub fn median(&self, shard: &ShardId) -> Result<Option<Cut>, StoreError> {
        Ok(self.shard(shard)?.median())
    }

    /// Does what an operation asks.
    ///
    /// # Errors
    /// As the methods of [`ShardStore`](crate::ShardStore).
    pub fn handle(
        &mut self,
        now: Timestamp,
        operation: &OperationId,
        request: Request,
    ) -> Result<Reply, StoreError> {
        let done = |()| Reply::Done;
        match request {
            Request::Create { shard, extent } => self.create(operation, &shard, &extent).map(done),
            Request::Follow { shard } => self.follow(operation, &shard).map(Reply::Position),
            Request::Scan {
                shard,
                extent,
                after,
                batch,
            } => self.scan(&shard, &extent, after, batch).map(Reply::Page),
            Request::Changes {
                shard,
                extent,
                after,
                up_to,
                batch,
            } => {
                let changes = self.changes(&shard, &extent, after, up_to, batch);
                changes.map(Reply::Changes)
            }
            Request::Imported {
                target,
                source,
                from,
            } => {
                let import = self.imported(operation, &target, &source, from);
                import.map(Reply::Import)
            }
            Request::Import {
                target,
                source,
                page,
            } => {
                let import = self.import(operation, &target, &source, page);
                import.map(Reply::Import)
            }
            Request::Apply {
                target,
                source,
                changes,
            } => {
                let import = self.apply(operation, &target, &source, changes);
                import.map(Reply::Import)
            }
            Request::Digest { shard, extent } => self.digest(&shard, &extent).map(Reply::Digest),
            Request::DigestOfImport {
                target,
                source,
                extent,
            } => {
                let digest = self.digest_of_import(operation, &target, &source, &extent);
                digest.map(Reply::Digest)
            }
            Request::Pace { shard, pace } => self.pace(now, operation, &shard, pace).map(done),
            Request::Seal { shard } => self.seal(operation, &shard).map(Reply::Position),
            Request::Release { shard } => self.release(operation, &shard).map(done),
            Request::Open { shard } => self.open(operation, &shard).map(done),
            Request::Remove { shard } => self.remove(operation, &shard).map(done),
        }
    }

    fn shard(&self, shard: &ShardId) -> Result<&HeldShard, StoreError> {
        let missing = || self.missing(shard);
        self.shards.get(shard).ok_or_else(missing)
    }

    fn shard_mut(&mut self, shard: &ShardId) -> Result<&mut HeldShard, StoreError> {
        let missing = self.missing(shard);
        self.shards.get_mut(shard).ok_or(missing)
    }

    fn missing(&self, shard: &ShardId) -> StoreError {
        let shard = shard.clone();
        if self.removed.contains(&shard) {
            StoreError::Removed { shard }
        } else {
            StoreError::Unknown { shard }
        }
    }
}
