//! What the directory stores.

use serde::{Deserialize, Serialize};
use shardwright_hashing::allocation::RoundRobin;
use shardwright_registry::Record;
use shardwright_topology::ShardId;

/// How many shards can be registered.
pub const SHARDS_MAX: usize = 1_000;

/// The last number of a sequence: the largest that JavaScript counts to.
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;

/// What is known of a registered shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ShardCount {
    /// Its name.
    pub binding: ShardId,
    /// How many keys it has, as it was told.
    pub count: u64,
    /// When that was told: milliseconds since the beginning of 1970.
    pub last_updated: u64,
}

impl ShardCount {
    pub(super) fn new(binding: ShardId, now_ms: u64) -> Self {
        Self {
            binding,
            count: 0,
            last_updated: now_ms,
        }
    }
}

/// The registered shards.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShardList {
    pub(super) shards: Vec<ShardCount>,
    /// Tells this value from an equal one of somebody else.
    pub(super) writer: u64,
}

impl Record for ShardList {
    const KIND: &'static str = "list of shards";
    const VERSION: u64 = 1;
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Turn {
    pub(super) next: u32,
    pub(super) writer: u64,
}

impl Turn {
    pub(super) fn round_robin(current: Option<&Self>) -> RoundRobin {
        RoundRobin::starting_at(current.map_or(0, |turn| turn.next))
    }
}

impl Record for Turn {
    const KIND: &'static str = "turn";
    const VERSION: u64 = 1;
}

/// A sequence and its last number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sequence {
    pub(super) name: String,
    pub(super) value: u64,
    pub(super) writer: u64,
}

impl Record for Sequence {
    const KIND: &'static str = "sequence";
    const VERSION: u64 = 1;
}
