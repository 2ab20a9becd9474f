//! Hash strategy: position modulo a fixed number of shards.

use super::Partitioner;
use crate::hash_to_shard;

/// Spreads keys evenly over a fixed number of shards: [`hash_to_shard`].
///
/// ```
/// use shardwright_hashing::strategy::HashStrategy;
///
/// assert_eq!(HashStrategy::shard_of("tenant-123", 10), 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashStrategy {
    shards: u32,
}

impl HashStrategy {
    /// Returns the strategy for a number of shards.
    ///
    /// # Panics
    /// If `shards` is 0.
    #[must_use]
    pub fn new(shards: u32) -> Self {
        assert!(shards > 0, "there is at least one shard");
        Self { shards }
    }

    /// Returns the shard of a key, counted from 0.
    ///
    /// # Panics
    /// If `shards` is 0.
    #[doc(alias = "get_shard")]
    #[must_use]
    pub fn shard_of(key: impl AsRef<[u8]>, shards: u32) -> u32 {
        hash_to_shard(key, shards)
    }
}

impl Partitioner for HashStrategy {
    fn shard(&self, key: &[u8]) -> Option<u32> {
        Some(hash_to_shard(key, self.shards))
    }

    fn shards(&self) -> u32 {
        self.shards
    }
}
