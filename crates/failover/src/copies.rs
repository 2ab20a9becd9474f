//! What nodes say of the copies that they hold, so that a promotion can choose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_registry::Record;
use shardwright_topology::{Epoch, Lsn, NodeId, ShardId};

/// What a node says of one copy that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// The epoch that the copy follows. What was said at an earlier epoch is not in sync at a later one.
    pub epoch: Epoch,
    /// Up to where it holds the log of the shard.
    pub position: Lsn,
    /// Whether it holds every write that the primary of that epoch acknowledges: the primary waits for it.
    pub in_sync: bool,
}

/// What a node says of all its copies of one keyspace: `copy/<keyspace>/<node>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// The node.
    pub node: NodeId,
    /// Its copies. A shard that is not among them was not reported.
    pub copies: BTreeMap<ShardId, Copy>,
}

impl Record for Copies {
    const KIND: &'static str = "report of copies";
    const VERSION: u64 = 1;
}
