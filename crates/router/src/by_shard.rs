//! A map by shard id of which each change shares nearly everything with the map before.

use std::{collections::HashMap, hash::BuildHasher, sync::Arc};

use foldhash::fast::FixedState;
use shardwright_topology::ShardId;

type Bucket<V> = HashMap<ShardId, V, FixedState>;

/// A change copies the pointers to all buckets and one bucket: with 100,000 shards, 512 and about 200.
const BUCKETS: usize = 512;

/// Values by shard id. A clone costs one increment, a change of one value a few microseconds.
#[derive(Debug)]
pub(crate) struct ByShard<V> {
    buckets: Arc<[Arc<Bucket<V>>]>,
}

impl<V> Clone for ByShard<V> {
    fn clone(&self) -> Self {
        Self {
            buckets: Arc::clone(&self.buckets),
        }
    }
}

impl<V> Default for ByShard<V> {
    fn default() -> Self {
        let empty = Arc::new(Bucket::default());
        Self {
            buckets: (0..BUCKETS).map(|_| Arc::clone(&empty)).collect(),
        }
    }
}

/// The bucket of an id. The hash inside a bucket has another seed, or every bucket would see one stretch of hashes only.
fn bucket(shard: &ShardId) -> usize {
    FixedState::with_seed(0x5ca1_ab1e).hash_one(shard) as usize % BUCKETS
}

impl<V> ByShard<V> {
    pub(crate) fn get(&self, shard: &ShardId) -> Option<&V> {
        self.buckets[bucket(shard)].get(shard)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ShardId, &V)> {
        self.buckets.iter().flat_map(|bucket| bucket.iter())
    }
}

impl<V: Clone> ByShard<V> {
    pub(crate) fn insert(&mut self, shard: ShardId, value: V) {
        let bucket = &mut Arc::make_mut(&mut self.buckets)[bucket(&shard)];
        Arc::make_mut(bucket).insert(shard, value);
    }

    pub(crate) fn remove(&mut self, shard: &ShardId) {
        if self.get(shard).is_some() {
            let bucket = &mut Arc::make_mut(&mut self.buckets)[bucket(shard)];
            Arc::make_mut(bucket).remove(shard);
        }
    }
}

impl<V: Clone> FromIterator<(ShardId, V)> for ByShard<V> {
    fn from_iter<I: IntoIterator<Item = (ShardId, V)>>(values: I) -> Self {
        let mut map = Self::default();
        for (shard, value) in values {
            map.insert(shard, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_an_ordinary_map_holds_and_the_map_before_stays(
            changes in prop::collection::vec((0_u32..40, any::<Option<u8>>()), 0..100),
        ) {
            let mut ours = ByShard::default();
            let mut theirs = BTreeMap::new();
            for (shard, value) in changes {
                let (before, expected) = (ours.clone(), theirs.clone());
                let shard = ShardId::numbered(shard);
                match value {
                    Some(value) => {
                        ours.insert(shard.clone(), value);
                        theirs.insert(shard, value);
                    }
                    None => {
                        ours.remove(&shard);
                        theirs.remove(&shard);
                    }
                }
                for (map, expected) in [(&before, &expected), (&ours, &theirs)] {
                    let held: BTreeMap<_, _> =
                        map.iter().map(|(shard, value)| (shard.clone(), *value)).collect();
                    prop_assert_eq!(&held, expected);
                }
            }
            for (shard, value) in &theirs {
                prop_assert_eq!(ours.get(shard), Some(value));
            }
        }
    }
}
