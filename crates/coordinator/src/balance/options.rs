//! What may be asked of a plan.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use shardwright_rebalancer::Spread;
use shardwright_topology::{NodeId, ShardId};

/// By what a plan balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// What was measured; by the number of shards where nothing was.
    #[default]
    Load,
    /// The number of shards.
    Count,
}

/// What is asked of a plan. Whatever is left out is as the coordinators are set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// By what it balances.
    pub by: By,
    /// The share of nodes, in place of the weights that they have registered with. A node of weight 0 gives all that it has away.
    pub weights: BTreeMap<NodeId, u32>,
    /// Shards that stay where they are, beside those that are pinned anyway.
    pub pins: BTreeSet<ShardId>,
    /// Groups of shards no two of which are to share a node.
    pub apart: Vec<BTreeSet<ShardId>>,
    /// How far apart the copies of a shard are kept.
    pub spread: Option<Spread>,
    /// How many moves and hand-overs the plan has at most.
    pub moves_max: Option<usize>,
    /// How many bytes it copies at most.
    pub bytes_max: Option<u64>,
}
