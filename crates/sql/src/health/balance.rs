//! The monitor of balance: which shards differ from the average.

use serde::{Deserialize, Serialize};

use super::{ShardCount, Totals};

/// Counts older than this are stale, in milliseconds: an hour.
const STALE_MS: u64 = 60 * 60 * 1000;

/// A shard that differs from the average by more than this share of it is imbalanced.
const DEVIATION: f64 = 0.2;

/// Which shards differ from the average.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    /// What all shards have.
    pub total_keys: u64,
    /// What a shard has on average.
    pub avg_keys_per_shard: f64,
    /// Whether every shard is within a fifth of the average.
    pub balance: bool,
    /// Whether no count is more than an hour old.
    pub fresh_stats: bool,
    /// The shards that are further from the average.
    pub imbalanced: Vec<String>,
    /// All shards.
    pub shards: Vec<ShardCount>,
}

impl Balance {
    /// What these counts say at `now`, in milliseconds since 1970.
    #[must_use]
    #[doc(alias = "monitorShardHealth")]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a deviation of counts needs no more than 52 bits"
    )]
    pub fn of(counts: &[ShardCount], now: u64) -> Self {
        let totals = Totals::of(counts);
        let is_far = |shard: &&ShardCount| {
            (shard.count as f64 - totals.average).abs() > DEVIATION * totals.average
        };
        let far = counts.iter().filter(is_far);
        let imbalanced: Vec<String> = far.map(|shard| shard.binding.clone()).collect();
        Self {
            total_keys: totals.all,
            avg_keys_per_shard: totals.average,
            balance: imbalanced.is_empty(),
            fresh_stats: counts
                .iter()
                .all(|shard| now.saturating_sub(shard.last_updated) <= STALE_MS),
            imbalanced,
            shards: counts.to_vec(),
        }
    }
}
