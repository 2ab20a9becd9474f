//! How keys that have no home get one.

use std::collections::BTreeMap;

use shardwright_hashing::{
    Region,
    allocation::{AllocationStrategy, Allocator, ShardLocation},
};

use crate::error::Error;

/// How a key that has no home gets one, when its first row is inserted.
///
/// With the default, the home of a new key is where its hash says, and no entry is made; entries that there are win all
/// the same. With anything else, each new key gets an entry.
#[doc(alias = "CollegeDBConfig")]
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Allocation {
    /// Which of the shards.
    pub strategy: Strategy,
    /// What [`AllocationStrategy::Location`] goes near; without one it goes by hash.
    #[doc(alias = "targetRegion")]
    pub target_region: Option<Region>,
    /// Where shards are, by their names. A shard that is not listed is chosen by location only if none is.
    #[doc(alias = "shardLocations")]
    pub shard_locations: BTreeMap<String, ShardLocation>,
    /// The size in bytes at which a shard gets no new keys. Keys that it has go on.
    #[doc(alias = "maxDatabaseSize")]
    pub max_database_size: Option<u64>,
    /// What random choices follow from.
    pub seed: u64,
}

/// Which strategy decides.
#[doc(alias = "MixedShardingStrategy")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// One for all.
    Uniform(AllocationStrategy),
    /// One for writes and one for reads. That for reads never decides a home: with an entry the entry wins, and a key
    /// without one has its rows, if any, where its hash says.
    Mixed {
        /// Where a read looks for a key that has no entry. All strategies look where such a key's rows are.
        read: AllocationStrategy,
        /// How the home of a new key is chosen.
        write: AllocationStrategy,
    },
}

impl Default for Strategy {
    fn default() -> Self {
        Self::Uniform(AllocationStrategy::Hash)
    }
}

impl From<AllocationStrategy> for Strategy {
    fn from(strategy: AllocationStrategy) -> Self {
        Self::Uniform(strategy)
    }
}

impl Strategy {
    /// The strategy that chooses homes.
    #[must_use]
    pub fn for_writes(self) -> AllocationStrategy {
        match self {
            Self::Uniform(strategy)
            | Self::Mixed {
                write: strategy, ..
            } => strategy,
        }
    }
}

impl Allocation {
    /// Whether new keys get entries.
    pub(super) fn makes_entries(&self) -> bool {
        self.strategy.for_writes() != AllocationStrategy::Hash || self.max_database_size.is_some()
    }

    pub(super) fn allocator(&self) -> Allocator {
        Allocator {
            target: self.target_region,
            ..Allocator::new(self.seed)
        }
    }

    /// Refuses locations of shards that do not exist.
    pub(super) fn check(&self, shards: &[String]) -> Result<(), Error> {
        match self
            .shard_locations
            .keys()
            .find(|name| !shards.contains(name))
        {
            Some(shard) => Err(Error::UnknownShard {
                shard: shard.clone(),
            }),
            None => Ok(()),
        }
    }
}
