//! What happened: the items of the event stream, and the sources of metrics.

use serde::Serialize;
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{Epoch, Incarnation, NodeId};

/// Something that people want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Notice {
    /// A coordinator leads from now on.
    Leading {
        /// The coordinator.
        coordinator: NodeId,
        /// Its term.
        term: u64,
    },
    /// A coordinator has stopped leading.
    SteppedDown {
        /// The coordinator.
        coordinator: NodeId,
        /// Its term.
        term: u64,
    },
    /// A worker holds its lease: it may be given shards.
    NodeUp {
        /// The worker.
        node: NodeId,
        /// Its session.
        incarnation: Incarnation,
    },
    /// A worker's lease was ended: what it served goes to others.
    NodeDown {
        /// The worker.
        node: NodeId,
        /// Its session.
        incarnation: Incarnation,
        /// How many shards it held.
        shards: usize,
    },
    /// A shard has another primary, or its first.
    Assigned {
        /// The shard.
        #[serde(flatten)]
        partition: PartitionId,
        /// Who had it.
        from: Option<NodeId>,
        /// Who has it.
        to: NodeId,
        /// Whether that is because the one before is down.
        is_failover: bool,
        /// Since which epoch.
        epoch: Epoch,
    },
    /// A worker could not begin to serve a shard, or could not stop.
    CallbackFailed {
        /// The worker.
        node: NodeId,
        /// The shard.
        #[serde(flatten)]
        partition: PartitionId,
        /// At which epoch.
        epoch: Epoch,
        /// Why, as the worker says.
        error: String,
    },
    /// Partitions have fewer copies than they should, and no node may take more.
    UnderReplicated {
        /// How many.
        partitions: usize,
        /// One of them.
        #[serde(flatten)]
        example: PartitionId,
    },
    /// A node is down and no other holds a copy of what it was the primary of.
    NoReplica {
        /// The node.
        node: NodeId,
        /// How many shards.
        shards: usize,
    },
}

impl Notice {
    /// Returns what happened in one word, as the field `event` of its JSON says it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Leading { .. } => "leading",
            Self::SteppedDown { .. } => "stepped-down",
            Self::NodeUp { .. } => "node-up",
            Self::NodeDown { .. } => "node-down",
            Self::Assigned { .. } => "assigned",
            Self::CallbackFailed { .. } => "callback-failed",
            Self::UnderReplicated { .. } => "under-replicated",
            Self::NoReplica { .. } => "no-replica",
        }
    }
}
