//! The calls of operations on a node in memory: what the stores that have one do behind their locks.

use shardwright_topology::{Lsn, OperationId, ShardId, Timestamp};

use super::{
    MemoryNode,
    shard::{HeldShard, State, not_held},
};
use crate::{Batch, Changes, DigestAt, Extent, Pace, Page, StoreError};

impl MemoryNode {
    pub(crate) fn create(
        &mut self,
        operation: &OperationId,
        shard: &ShardId,
        extent: &Extent,
    ) -> Result<(), StoreError> {
        if self.removed.contains(shard) {
            let shard = shard.clone();
            return Err(StoreError::Removed { shard });
        }
        let new = || HeldShard::importing(extent.clone(), operation.clone());
        let held = self.shards.entry(shard.clone()).or_insert_with(new);
        if held.made_by.as_ref() == Some(operation) {
            Ok(())
        } else {
            Err(not_held(shard, operation))
        }
    }

    pub(crate) fn follow(
        &mut self,
        operation: &OperationId,
        shard: &ShardId,
    ) -> Result<Lsn, StoreError> {
        self.shard_mut(shard)?.follow(operation, shard)
    }

    pub(crate) fn scan(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Option<Vec<u8>>,
        batch: Batch,
    ) -> Result<Page, StoreError> {
        Ok(self.shard(shard)?.scan(extent, after, batch))
    }

    pub(crate) fn changes(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Lsn,
        up_to: Option<Lsn>,
        batch: Batch,
    ) -> Result<Changes, StoreError> {
        let held = self.shard(shard)?;
        held.changes(shard, extent, after, up_to, batch)
    }

    pub(crate) fn digest(&self, shard: &ShardId, extent: &Extent) -> Result<DigestAt, StoreError> {
        Ok(self.shard(shard)?.digest(extent))
    }

    pub(crate) fn pace(
        &mut self,
        now: Timestamp,
        operation: &OperationId,
        shard: &ShardId,
        pace: Pace,
    ) -> Result<(), StoreError> {
        self.shard_mut(shard)?.pace(now, operation, shard, pace)
    }

    pub(crate) fn seal(
        &mut self,
        operation: &OperationId,
        shard: &ShardId,
    ) -> Result<Lsn, StoreError> {
        self.shard_mut(shard)?.seal(operation, shard)
    }

    pub(crate) fn release(
        &mut self,
        operation: &OperationId,
        shard: &ShardId,
    ) -> Result<(), StoreError> {
        self.shard_mut(shard)?.release(operation);
        Ok(())
    }

    pub(crate) fn open(
        &mut self,
        operation: &OperationId,
        shard: &ShardId,
    ) -> Result<(), StoreError> {
        self.shard_mut(shard)?.open(operation, shard)
    }

    pub(crate) fn remove(
        &mut self,
        operation: &OperationId,
        shard: &ShardId,
    ) -> Result<(), StoreError> {
        self.check_removable(operation, shard)?;
        self.shards.remove(shard);
        self.removed.insert(shard.clone());
        Ok(())
    }

    /// Says whether an operation may remove a shard.
    pub(crate) fn check_removable(
        &self,
        operation: &OperationId,
        shard: &ShardId,
    ) -> Result<(), StoreError> {
        let may_go = self.shards.get(shard).is_none_or(|held| match &held.state {
            State::Serving => false,
            State::Importing { operation: by, .. } | State::Sealed { by } => by == operation,
        });
        if may_go {
            Ok(())
        } else {
            Err(not_held(shard, operation))
        }
    }
}
