//! How the leader balances.

use std::{num::NonZeroUsize, time::Duration};

use shardwright_elastic::{BalancePolicy, MergeCriteria, SplitCriteria};
use shardwright_rebalancer::{
    Limits, LoadPolicy, Patience, ReplicatedPolicy, Spread, execution::Pace,
};

use super::Automatic;

/// With fewer rows the median of a shard says little about those to come.
const ROWS_MIN: usize = 100;

/// More rows in one shard take minutes to be read when it is split again.
const ROWS_MAX: usize = 10_000_000;

/// So many rows are split, whatever is done with them: twice what a merge may make.
const ROWS_SPLIT: usize = 2 * ROWS_MAX;

/// How the leader balances, and when it acts by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What the leader does by itself as long as nobody has said what it is to do. Default: nothing.
    pub automatic: Automatic,
    /// How often whoever acts by itself looks. Default 60 s.
    pub interval: Duration,
    /// Which copies and primaries go where. Default: within a fifth of the shares, and copies of one shard in different zones.
    pub policy: ReplicatedPolicy,
    /// When shards are split and merged, and what sizes bound those that are asked for. Nothing of it moves shards.
    pub shards: BalancePolicy,
    /// How many shards are left when the leader merges by itself. Default 2.
    pub shards_min: usize,
    /// How long moves wait for the cluster to calm down, when nobody asked for them.
    pub patience: Patience,
    /// How many moves are under way at once, and how often each is tried. Default: 5 in all, and 2 with any one node.
    pub pace: Pace,
    /// How many bytes are copied in a second, for estimates. Default 50 MB.
    pub bytes_per_second: u64,
    /// From how many requests in a second those to a shard count. Default 10: what is next to idle moves nothing.
    pub requests_min: u64,
    /// From how many thousandths of a processor its work counts. Default 10.
    pub cpu_min: u64,
}

impl Default for Settings {
    fn default() -> Self {
        // Rows are smaller than the documents that the defaults are made for.
        let shards = BalancePolicy {
            split: SplitCriteria {
                min_keys: ROWS_MIN,
                ..SplitCriteria::default()
            },
            merge: MergeCriteria {
                max_merged_keys: ROWS_MAX,
                ..MergeCriteria::default()
            },
            split_keys: Some(ROWS_SPLIT),
            ..BalancePolicy::default()
        };
        let some = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self {
            automatic: Automatic::Off,
            interval: Duration::from_secs(60),
            policy: ReplicatedPolicy {
                copies: LoadPolicy {
                    spread: Spread::Zones,
                    ..LoadPolicy::default()
                },
                ..ReplicatedPolicy::default()
            },
            shards_min: 2,
            patience: Patience::default(),
            pace: Pace {
                limits: Limits {
                    in_flight_max: some(5),
                    per_node_max: some(2),
                },
                ..Pace::default()
            },
            bytes_per_second: shards.bytes_per_second,
            shards,
            requests_min: 10,
            cpu_min: 10,
        }
    }
}
