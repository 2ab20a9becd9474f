//! What a failover tells: for people, metrics and handlers.

use shardwright_topology::{Epoch, NodeId, ShardId};

use crate::{PromotionRefused, StepDownReason};

/// What a failover tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// This coordinator leads now.
    Leading {
        /// Its term.
        term: u64,
    },
    /// This coordinator leads no more.
    Deposed {
        /// The term that ended.
        term: u64,
    },
    /// A node may have failed: it is silent for half of the time-out.
    NodeSuspected {
        /// The node.
        node: NodeId,
    },
    /// A node is down, and its lease has ended: it serves nothing, even if it still runs.
    NodeDown {
        /// The node.
        node: NodeId,
        /// The shards whose primary it was.
        shards: Vec<ShardId>,
    },
    /// A node that was down is back.
    NodeUp {
        /// The node.
        node: NodeId,
    },
    /// A replica took over.
    Promoted {
        /// The shard.
        shard: ShardId,
        /// The former primary.
        from: NodeId,
        /// The new one.
        to: NodeId,
        /// The epoch from which on it counts.
        epoch: Epoch,
        /// Whether acknowledged writes may be lost.
        lossless: bool,
    },
    /// A shard whose primary is down has nobody to take over. Told once for each epoch; the coordinator goes on trying.
    NoReplica {
        /// The shard.
        shard: ShardId,
        /// Why.
        reason: PromotionRefused,
    },
    /// A node serves a shard no more.
    SteppedDown {
        /// The shard.
        shard: ShardId,
        /// The epoch at which it was served.
        epoch: Epoch,
        /// Why.
        reason: StepDownReason,
    },
}
