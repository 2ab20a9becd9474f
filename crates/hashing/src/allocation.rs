//! Allocation: a home for a key that has none, for keyspaces that remember the home of each key.
//!
//! Unlike a [strategy](crate::strategy), the answer depends on what else is going on (whose turn it is, which shards
//! are full), so it is asked once per key and the choice is recorded.

mod location;
mod random;
mod round_robin;

pub use self::{
    location::{Candidate, ShardLocation, nearest},
    random::Random,
    round_robin::RoundRobin,
};

use std::{fmt, str::FromStr};

use crate::{Error, Region, hash_to_shard, string_hash_to_shard};

/// How a key that has no home gets one.
#[doc(alias = "ShardingStrategy")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum AllocationStrategy {
    /// By the hash of the key.
    #[default]
    Hash,
    /// Each shard in its turn.
    RoundRobin,
    /// Any shard, with equal probability.
    Random,
    /// The shard nearest to a region.
    Location,
}

impl AllocationStrategy {
    /// Every strategy.
    pub const ALL: [Self; 4] = [Self::Hash, Self::RoundRobin, Self::Random, Self::Location];

    /// Returns the name, for example `round-robin`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::Location => "location",
        }
    }
}

impl fmt::Display for AllocationStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AllocationStrategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|strategy| strategy.name() == name)
            .ok_or_else(|| Error::UnknownStrategy {
                name: name.to_owned(),
            })
    }
}

/// The hash by which keys are allocated and ties are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyHash {
    /// Position modulo the number of shards: [`hash_to_shard`].
    #[default]
    Sha256,
    /// CollegeDB's: [`string_hash_to_shard`].
    String,
}

impl KeyHash {
    /// Returns one of `shards` for a key.
    ///
    /// # Panics
    /// If `shards` is 0.
    #[must_use]
    pub fn shard(self, key: &str, shards: u32) -> u32 {
        match self {
            Self::Sha256 => hash_to_shard(key, shards),
            Self::String => string_hash_to_shard(key, shards),
        }
    }
}

/// Chooses homes for keys by any of the strategies, and remembers what they need from one key to the next.
///
/// ```
/// use shardwright_hashing::{
///     Region,
///     allocation::{AllocationStrategy, Allocator, Candidate, ShardLocation},
/// };
///
/// let shards = [
///     Candidate::at(ShardLocation { region: Region::Wnam, priority: 2.0 }),
///     Candidate::at(ShardLocation { region: Region::Enam, priority: 1.0 }),
/// ];
/// let mut allocator = Allocator { target: Some(Region::Wnam), ..Allocator::new(42) };
/// assert_eq!(allocator.choose(AllocationStrategy::Location, "user-west-123", &shards), Some(0));
/// assert_eq!(allocator.choose(AllocationStrategy::RoundRobin, "a", &shards), Some(0));
/// assert_eq!(allocator.choose(AllocationStrategy::RoundRobin, "b", &shards), Some(1));
/// ```
#[derive(Debug, Clone)]
pub struct Allocator {
    /// The region that [`AllocationStrategy::Location`] goes near; without one it goes by hash.
    pub target: Option<Region>,
    /// The hash that allocates keys and breaks ties.
    pub hash: KeyHash,
    /// Whose turn it is.
    pub round_robin: RoundRobin,
    /// The source of chance.
    pub random: Random,
}

impl Allocator {
    /// Returns an allocator without a target region, by SHA-256, whose random choices follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            target: None,
            hash: KeyHash::default(),
            round_robin: RoundRobin::default(),
            random: Random::new(seed),
        }
    }

    /// Returns the index of the shard that becomes the home of `key`; `None` without candidates.
    pub fn choose(
        &mut self,
        strategy: AllocationStrategy,
        key: &str,
        candidates: &[Candidate],
    ) -> Option<usize> {
        let count = u32::try_from(candidates.len()).expect("there are fewer than 2^32 shards");
        if count == 0 {
            return None;
        }
        let index = match strategy {
            AllocationStrategy::Hash => self.hash.shard(key, count),
            AllocationStrategy::RoundRobin => self.round_robin.next(count),
            AllocationStrategy::Random => self.random.below(count),
            AllocationStrategy::Location => {
                return nearest(self.target, candidates, |tied| self.hash.shard(key, tied));
            }
        };
        Some(index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_read_by_name() {
        for strategy in AllocationStrategy::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }
        let name = "roundrobin".to_owned();
        assert_eq!(
            "roundrobin".parse::<AllocationStrategy>(),
            Err(Error::UnknownStrategy { name })
        );
    }

    #[test]
    fn either_hash_allocates_as_it_is_pinned() {
        let shards = [Candidate::default(); 10];
        let mut allocator = Allocator::new(0);
        assert_eq!(
            allocator.choose(AllocationStrategy::Hash, "tenant-123", &shards),
            Some(3)
        );
        allocator.hash = KeyHash::String;
        assert_eq!(
            allocator.choose(AllocationStrategy::Hash, "user-456", &shards),
            Some(3)
        );
    }

    #[test]
    fn there_is_no_home_without_shards() {
        for strategy in AllocationStrategy::ALL {
            assert_eq!(
                Allocator::new(0).choose(strategy, "key", &[]),
                None,
                "{strategy}"
            );
        }
    }
}
