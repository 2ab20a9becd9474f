//! What the engine's places are called in the cluster.

use std::sync::Arc;

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_sql::shards::Place;
use shardwright_topology::{Shard, ShardMap};

/// The names of the places, in the order of the shard map.
#[derive(Debug)]
pub(in crate::gateway) struct Names {
    map: Arc<ShardMap>,
    shards: Vec<PartitionId>,
    catalog: PartitionId,
}

impl Names {
    /// Returns the names in a map; `None` if it has no catalog shard.
    pub(in crate::gateway) fn of(map: &Arc<ShardMap>) -> Option<Self> {
        let keyspace = map.keyspace();
        let name = |shard: &Shard| PartitionId {
            keyspace: keyspace.clone(),
            shard: shard.id().clone(),
        };
        Some(Self {
            shards: map.shards().iter().map(name).collect(),
            catalog: map.catalog().map(name)?,
            map: Arc::clone(map),
        })
    }

    /// Returns the map that they are of.
    pub(in crate::gateway) fn map(&self) -> &Arc<ShardMap> {
        &self.map
    }

    /// Whether the shards of a map are the same. A shard's range never changes.
    pub(in crate::gateway) fn are_of(&self, map: &ShardMap) -> bool {
        if map.changed_since(&self.map).is_some() {
            return true;
        }
        let ids = self.shards.iter().map(|name| &name.shard);
        map.shards().iter().map(Shard::id).eq(ids)
    }

    /// Whether there is a shard of that name.
    pub(in crate::gateway) fn has(&self, shard: &PartitionId) -> bool {
        self.map.shard(&shard.shard).is_some()
    }

    pub(in crate::gateway) fn count(&self) -> usize {
        self.shards.len()
    }

    pub(in crate::gateway) fn of_place(&self, place: Place) -> &PartitionId {
        match place {
            Place::Shard(index) => &self.shards[index],
            Place::Catalog => &self.catalog,
        }
    }

    pub(in crate::gateway) fn catalog(&self) -> &PartitionId {
        &self.catalog
    }

    pub(in crate::gateway) fn all(&self) -> impl Iterator<Item = &PartitionId> {
        std::iter::once(&self.catalog).chain(&self.shards)
    }
}
