//! A node in memory as the mirror of shards whose rows are elsewhere.

use shardwright_topology::{Lsn, OperationId, Position, ShardId, Timestamp};

use super::{
    MemoryNode,
    shard::{HeldShard, State},
};
use crate::{Extent, Import, StoreError};

impl MemoryNode {
    /// Says whether a write of a shard may begin when `pending` others were not recorded yet.
    pub(crate) fn admit(
        &self,
        now: Timestamp,
        shard: &ShardId,
        pending: usize,
    ) -> Result<(), StoreError> {
        self.shard(shard)?.admit(now, shard, pending)
    }

    /// Adds a shard that an operation made and that is open.
    pub(crate) fn add_made(&mut self, operation: &OperationId, shard: &ShardId, extent: &Extent) {
        let mut held = HeldShard::new(extent.clone(), State::Serving);
        held.made_by = Some(operation.clone());
        self.shards.insert(shard.clone(), held);
    }

    /// Returns whether an operation wants to know the changes of a shard.
    pub(crate) fn is_followed(&self, shard: &ShardId) -> bool {
        self.shards
            .get(shard)
            .is_some_and(|held| held.is_followed())
    }

    /// Takes over the rows that a shard has, without a change of its position.
    pub(crate) fn load<'a>(
        &mut self,
        shard: &ShardId,
        rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        if let Some(held) = self.shards.get_mut(shard) {
            held.forget_rows();
            for (key, value) in rows {
                held.put(key.to_vec(), Position::of(key), Some(value.to_vec()));
            }
        }
    }

    /// Records a write that has happened.
    pub(crate) fn record(&mut self, shard: &ShardId, key: &[u8], value: Option<&[u8]>) {
        if let Some(held) = self.shards.get_mut(shard) {
            held.record(key, Position::of(key), value);
        }
    }

    /// Returns whether a shard has exactly the given rows.
    pub(crate) fn has_rows<'a>(
        &self,
        shard: &ShardId,
        rows: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> bool {
        let held = self.shards.get(shard);
        held.is_some_and(|held| held.has_rows(rows))
    }

    /// Returns whether a shard takes no writes.
    pub(crate) fn is_sealed(&self, shard: &ShardId) -> bool {
        let held = self.shards.get(shard);
        held.is_some_and(|held| matches!(held.state, State::Sealed { .. }))
    }

    /// Drops the rows of a shard, which are elsewhere.
    pub(crate) fn forget_rows(&mut self, shard: &ShardId) {
        if let Some(held) = self.shards.get_mut(shard) {
            held.forget_rows();
        }
    }

    /// Returns how much of a source a target has, without beginning.
    pub(crate) fn import_of(&self, target: &ShardId, source: &ShardId) -> Option<Import> {
        self.shards.get(target)?.import_of(source)
    }

    pub(crate) fn position(&self, shard: &ShardId) -> Result<Lsn, StoreError> {
        Ok(self.shard(shard)?.position())
    }

    pub(crate) fn extent(&self, shard: &ShardId) -> Result<&Extent, StoreError> {
        Ok(self.shard(shard)?.extent())
    }
}
