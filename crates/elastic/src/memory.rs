//! Shards in memory: the contract of stores as a plain value, and as a store.

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
        match request {
            Request::Create { shard, extent } => self.create(operation, &shard, &extent),
            Request::Follow { shard } => {
                let held = self.shard_mut(&shard)?;
                held.follow(operation, &shard).map(Reply::Position)
            }
            Request::Scan {
                shard,
                extent,
                after,
                batch,
            } => {
                let held = self.shard(&shard)?;
                Ok(Reply::Page(held.scan(&extent, after, batch)))
            }
            Request::Changes {
                shard,
                extent,
                after,
                up_to,
                batch,
            } => {
                let held = self.shard(&shard)?;
                let changes = held.changes(&shard, &extent, after, up_to, batch);
                changes.map(Reply::Changes)
            }
            Request::Imported {
                target,
                source,
                from,
            } => self.imported(operation, &target, &source, from),
            Request::Import {
                target,
                source,
                page,
            } => self.import(operation, &target, &source, page),
            Request::Apply {
                target,
                source,
                changes,
            } => self.apply(operation, &target, &source, changes),
            Request::Digest { shard, extent } => {
                Ok(Reply::Digest(self.shard(&shard)?.digest(&extent)))
            }
            Request::DigestOfImport {
                target,
                source,
                extent,
            } => self.digest_of_import(operation, &target, &source, &extent),
            Request::Pace { shard, pace } => {
                let held = self.shard_mut(&shard)?;
                held.pace(now, operation, &shard, pace)
                    .map(|()| Reply::Done)
            }
            Request::Seal { shard } => {
                let held = self.shard_mut(&shard)?;
                held.seal(operation, &shard).map(Reply::Position)
            }
            Request::Release { shard } => {
                self.shard_mut(&shard)?.release(operation);
                Ok(Reply::Done)
            }
            Request::Open { shard } => {
                let held = self.shard_mut(&shard)?;
                held.open(operation, &shard).map(|()| Reply::Done)
            }
            Request::Remove { shard } => self.remove(operation, shard),
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

    fn create(
        &mut self,
        operation: &OperationId,
        shard: &ShardId,
        extent: &Extent,
    ) -> Result<Reply, StoreError> {
        if self.removed.contains(shard) {
            let shard = shard.clone();
            return Err(StoreError::Removed { shard });
        }
        let new = || HeldShard::importing(extent.clone(), operation.clone());
        let held = self.shards.entry(shard.clone()).or_insert_with(new);
        if held.made_by.as_ref() == Some(operation) {
            Ok(Reply::Done)
        } else {
            Err(shard::not_held(shard, operation))
        }
    }

    fn remove(&mut self, operation: &OperationId, shard: ShardId) -> Result<Reply, StoreError> {
        self.check_removable(operation, &shard)?;
        self.shards.remove(&shard);
        self.removed.insert(shard);
        Ok(Reply::Done)
    }

    fn check_removable(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        let may_go = self.shards.get(shard).is_none_or(|held| match &held.state {
            State::Serving => false,
            State::Importing { operation: by, .. } | State::Sealed { by } => by == operation,
        });
        if may_go {
            Ok(())
        } else {
            Err(shard::not_held(shard, operation))
        }
    }
}
