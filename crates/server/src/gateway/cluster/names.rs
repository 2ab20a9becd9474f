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

#[cfg(test)]
mod tests {
    use shardwright_topology::{KeyRange, ShardId, ShardMapChange, ShardRecord};

    use super::*;

    fn map(shards: u32) -> ShardMap {
        let keyspace = shardwright_topology::KeyspaceName::main();
        let records = ShardRecord::even(&keyspace, shards);
        let catalog = ShardRecord::catalog(keyspace.clone());
        ShardMap::new(keyspace.clone(), 1, records.chain([catalog]), []).expect("it tiles")
    }

    #[test]
    fn names_are_those_of_a_map_until_other_shards_own_its_ranges() {
        let map = Arc::new(map(2));
        let names = Names::of(&map).expect("it has a catalog");
        let source = ShardId::numbered(0);
        let record = map.shard(&source).expect("it is there").record().clone();
        let (lower, upper) = record.range.and_then(|range| range.halve()).expect("wide");
        let change = ShardMapChange::Update { record };
        let changed = map.apply(change).expect("in its place");
        assert!(names.are_of(&map) && names.are_of(&changed));
        // Made anew from the records, as after a gap of the watch.
        assert!(names.are_of(&self::map(2)));
        let keyspace = map.keyspace();
        let part = |name, range: KeyRange| {
            let id = ShardId::new(name).expect("a name");
            ShardRecord::new(keyspace.clone(), id, Some(range))
        };
        let change = ShardMapChange::Split {
            source: source.clone(),
            targets: vec![part("lower", lower), part("upper", upper)],
        };
        let split = map.apply(change).expect("two halves");
        assert!(!names.are_of(&split));
        let next = Names::of(&Arc::new(split)).expect("it has a catalog");
        assert_eq!((names.count(), next.count()), (2, 3));
        let gone = PartitionId::from(source);
        assert!(names.has(&gone) && !next.has(&gone));
        assert!(next.has(next.catalog()));
    }
}
