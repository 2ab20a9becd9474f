//! The dashboard: all shards at a glance.

use serde::{Deserialize, Serialize};

use super::{ShardCount, Totals, ratio};

/// Counts older than this are stale, in milliseconds: five minutes.
const STALE_MS: u64 = 5 * 60 * 1000;

/// The largest shard over the smallest, below which shards are balanced.
const BALANCED_BELOW: f64 = 1.5;

/// All shards at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    /// Whether the database answers.
    pub healthy: bool,
    /// How many shards there are.
    pub total_shards: usize,
    /// What all shards have.
    pub total_keys: u64,
    /// What a shard has on average, rounded.
    pub avg_keys_per_shard: u64,
    /// What the largest shard has over what the smallest has, which counts as one if it has nothing; with two decimals.
    pub distribution_ratio: f64,
    /// Whether that is below 1.5.
    pub is_balanced: bool,
    /// How many counts are more than five minutes old.
    pub stale_shards: usize,
    /// Each shard.
    pub shard_details: Vec<ShardDetail>,
}

/// A shard of a [`Dashboard`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardDetail {
    /// What was counted, and when.
    #[serde(flatten)]
    pub shard: ShardCount,
    /// Its share of what all shards have, in percent, rounded; 0 if these have nothing.
    pub load_percentage: u64,
    /// Whether the count is more than five minutes old.
    pub is_stale: bool,
}

impl Dashboard {
    /// The dashboard of these counts at `now`, in milliseconds since 1970.
    #[must_use]
    #[doc(alias = "createMonitoringDashboard")]
    pub fn of(counts: &[ShardCount], healthy: bool, now: u64) -> Self {
        let totals = Totals::of(counts);
        let shard_details: Vec<ShardDetail> = counts
            .iter()
            .map(|shard| ShardDetail {
                load_percentage: rounded(ratio(shard.count, totals.all) * 100.0),
                is_stale: now.saturating_sub(shard.last_updated) > STALE_MS,
                shard: shard.clone(),
            })
            .collect();
        let distribution = ratio(totals.most, totals.least.max(1));
        Self {
            healthy,
            total_shards: counts.len(),
            total_keys: totals.all,
            avg_keys_per_shard: rounded(totals.average),
            distribution_ratio: (distribution * 100.0).round() / 100.0,
            is_balanced: distribution < BALANCED_BELOW,
            stale_shards: shard_details.iter().filter(|shard| shard.is_stale).count(),
            shard_details,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shares and averages of counts are not negative, and a cast saturates"
)]
fn rounded(value: f64) -> u64 {
    value.round() as u64
}
