//! What nodes say of the copies that they hold, so that a promotion can choose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_registry::{Record, Revision};
use shardwright_topology::{Epoch, Incarnation, Lsn, NodeId, ShardId};

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

/// What one process of a node says of all its copies of one keyspace: `copy/<keyspace>/<node>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// The node.
    pub node: NodeId,
    /// Its process. What it said says nothing of what a later process holds.
    pub incarnation: Incarnation,
    /// Its copies. A shard that is not among them was not reported.
    pub copies: BTreeMap<ShardId, Copy>,
}

/// What all nodes say of their copies, as one listing of the store shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reports {
    /// What each node says.
    pub copies: BTreeMap<NodeId, Copies>,
    /// Every report up to this revision is among them.
    pub revision: Revision,
}

impl Reports {
    /// Returns what one process of a node says of its copy of a shard. What an earlier one said is over.
    #[must_use]
    pub fn of(&self, node: &NodeId, incarnation: Incarnation, shard: &ShardId) -> Option<Copy> {
        let copies = self.copies.get(node);
        let copies = copies.filter(|copies| copies.incarnation == incarnation)?;
        copies.copies.get(shard).copied()
    }
}

impl Record for Copies {
    const KIND: &'static str = "report of copies";
    const VERSION: u64 = 1;
}
