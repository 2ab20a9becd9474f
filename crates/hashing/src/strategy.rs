//! Strategies: from a key to the number of a shard, by rule alone.

mod composite;
mod hash;
mod interval;
mod range;

pub use self::{
    composite::CompositeStrategy, hash::HashStrategy, interval::KeyInterval, range::RangeStrategy,
};

use std::fmt::Debug;

/// From a key to the number of a shard.
///
/// Implementations must be pure: equal keys give equal shards, in every process.
#[doc(alias = "ShardStrategy")]
pub trait Partitioner: Debug + Send + Sync {
    /// Returns the shard of a key, counted from 0 and below [`Partitioner::shards`]; `None` for a key that belongs to
    /// no shard.
    fn shard(&self, key: &[u8]) -> Option<u32>;

    /// Returns the number of shards.
    fn shards(&self) -> u32;
}

impl<T: Partitioner + ?Sized> Partitioner for Box<T> {
    fn shard(&self, key: &[u8]) -> Option<u32> {
        (**self).shard(key)
    }

    fn shards(&self) -> u32 {
        (**self).shards()
    }
}

/// Numbers shards in 32 bits, as positions of lists.
fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a list of ranges has fewer than 2^32 entries")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_used_through_the_trait() {
        let ranges = RangeStrategy::new([("a", "m"), ("m", "z")]).unwrap();
        let strategies: Vec<Box<dyn Partitioner>> = vec![
            Box::new(HashStrategy::new(10)),
            Box::new(ranges.clone()),
            Box::new(CompositeStrategy::new([ranges.clone(), ranges]).unwrap()),
        ];
        let shards = strategies
            .iter()
            .map(|strategy| (strategy.shards(), strategy.shard(b"key")));
        let bucket = crate::hash_to_shard("key", 2);
        let expected = [(10, Some(1)), (2, Some(0)), (4, Some(bucket * 2))];
        assert_eq!(shards.collect::<Vec<_>>(), expected);
    }
}
