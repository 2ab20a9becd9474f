//! Homes for keys.

use std::collections::BTreeMap;

use rand::RngCore;
use serde::{Deserialize, Serialize};
use shardwright_hashing::{
    Region,
    allocation::{
        AllocationStrategy, Allocator, Candidate, KeyHash, Random, RoundRobin, ShardLocation,
    },
};
use shardwright_topology::ShardId;

use super::{
    Directory, Error,
    change::change,
    home::{BUCKET_KEYS_MAX, Bucket, KEY_MAX, Place},
    record::Turn,
};

/// A request for the home of a key.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocate {
    /// The key.
    pub primary_key: String,
    /// How to choose; the default of the directory, unless given.
    pub strategy: Option<Strategy>,
    /// What the key is needed for; to write, unless given.
    #[serde(default)]
    pub operation_type: Operation,
    /// The shards to choose from; all that are registered, unless given.
    pub available_shards: Option<Vec<ShardId>>,
    /// Where the key is used, for the strategy by location.
    pub target_region: Option<Region>,
    /// Where shards are, for the strategy by location.
    #[serde(default)]
    pub shard_locations: BTreeMap<ShardId, Whereabouts>,
}

/// A strategy, or one for each kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Strategy {
    /// The same for all.
    Same(AllocationStrategy),
    /// One for each.
    Mixed {
        /// Where a read of a key without a home looks first.
        read: AllocationStrategy,
        /// What decides the home of a key.
        write: AllocationStrategy,
    },
}

impl Default for Strategy {
    fn default() -> Self {
        Self::Same(AllocationStrategy::RoundRobin)
    }
}

impl Strategy {
    /// Returns the strategy for an operation.
    #[must_use]
    pub fn for_operation(self, operation: Operation) -> AllocationStrategy {
        match (self, operation) {
            (Self::Same(strategy), _)
            | (Self::Mixed { read: strategy, .. }, Operation::Read)
            | (
                Self::Mixed {
                    write: strategy, ..
                },
                Operation::Write,
            ) => strategy,
        }
    }
}

/// What a key is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// To be read: where to look first. A read decides no key's home.
    Read,
    /// To be written.
    #[default]
    Write,
}

/// Where a shard is: a region, or a region and a priority.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Whereabouts {
    /// Of priority 1.
    Region(Region),
    /// With a priority.
    Location {
        /// The region.
        region: Region,
        /// See [`ShardLocation::priority`].
        priority: Option<f64>,
    },
}

impl From<Whereabouts> for ShardLocation {
    fn from(whereabouts: Whereabouts) -> Self {
        match whereabouts {
            Whereabouts::Region(region) => region.into(),
            Whereabouts::Location { region, priority } => Self {
                region,
                priority: priority.unwrap_or(1.0),
            },
        }
    }
}

/// The home of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allocation {
    /// The shard.
    pub shard: ShardId,
    /// Whether every later request gets the same answer. False for a read of a key that has no home.
    pub recorded: bool,
}

impl Directory {
    /// Returns the home of a key, and decides it if it has none and the operation is a write.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::NoShards`], [`Error::Full`] or [`Error::Registry`].
    pub async fn allocate(&self, request: &Allocate, now_ms: u64) -> Result<Allocation, Error> {
        let key = request.primary_key.as_str();
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(Error::NoKey);
        }
        let place = Place::of(key);
        let buckets = self.records::<Bucket>("directory/home/");
        let bucket = buckets.get(&place.bucket).await?;
        if let Some(shard) = bucket.and_then(|bucket| bucket.value.homes.get(&place.key).cloned()) {
            return Ok(Allocation {
                shard,
                recorded: true,
            });
        }
        let registered = self.shards().await?;
        let shards = match &request.available_shards {
            Some(shards) if !shards.is_empty() => shards,
            _ => &registered,
        };
        let chosen = &shards[self.choose(request, shards).await?];
        if request.operation_type == Operation::Read {
            return Ok(Allocation {
                shard: chosen.clone(),
                recorded: false,
            });
        }
        let shard = self.settle(&place, chosen).await?;
        if !registered.contains(&shard) {
            self.add_shard(&shard, now_ms).await?;
        }
        Ok(Allocation {
            shard,
            recorded: true,
        })
    }

    /// Returns the index of one of the shards.
    async fn choose(&self, request: &Allocate, shards: &[ShardId]) -> Result<usize, Error> {
        let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return Err(Error::NoShards);
        }
        let strategy = request.strategy.unwrap_or(self.default_strategy);
        let strategy = strategy.for_operation(request.operation_type);
        let turn = match (strategy, request.operation_type) {
            (AllocationStrategy::RoundRobin, Operation::Write) => self.pass_turn(count).await?,
            (AllocationStrategy::RoundRobin, Operation::Read) => {
                let stored = self.list::<Turn>().get(super::TURN).await?;
                Turn::round_robin(stored.as_ref().map(|stored| &stored.value)).turn()
            }
            (
                AllocationStrategy::Hash
                | AllocationStrategy::Random
                | AllocationStrategy::Location,
                _,
            ) => 0,
        };
        let candidates: Vec<Candidate> = shards
            .iter()
            .map(|shard| Candidate {
                location: request
                    .shard_locations
                    .get(shard)
                    .map(|place| (*place).into()),
            })
            .collect();
        let mut allocator = Allocator {
            target: request.target_region,
            // What CollegeDB's clients compute themselves when no coordinator answers.
            hash: KeyHash::String,
            round_robin: RoundRobin::starting_at(turn),
            random: Random::new(self.rng().next_u64()),
        };
        let chosen = allocator.choose(strategy, &request.primary_key, &candidates);
        chosen.ok_or(Error::NoShards)
    }

    /// Makes a shard the home of a key that has none, and returns its home.
    async fn settle(&self, place: &Place, chosen: &ShardId) -> Result<ShardId, Error> {
        let _turn = self.turn(&place.bucket).await;
        let buckets = self.records::<Bucket>("directory/home/");
        // An equal value of somebody else gives the key the same home, so the record needs no author.
        change(&buckets, &place.bucket, self.draw(), |current| {
            let mut bucket = current.cloned().unwrap_or_default();
            if let Some(shard) = bucket.homes.get(&place.key) {
                return Ok((None, shard.clone()));
            }
            if bucket.homes.len() >= BUCKET_KEYS_MAX {
                return Err(Error::Full);
            }
            bucket.homes.insert(place.key.clone(), chosen.clone());
            Ok((Some(bucket), chosen.clone()))
        })
        .await
    }
}
