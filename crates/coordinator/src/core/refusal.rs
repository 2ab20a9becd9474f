//! Why a command was not carried out.

use shardwright_failover::replication::Refused;
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{NodeId, OperationId, Phase, ShardId};

/// Why a command was not carried out. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// This coordinator does not lead.
    #[error("this coordinator does not lead")]
    NotLeader {
        /// Who leads, as far as it knows.
        leader: Option<NodeId>,
    },
    /// Partitions exist already.
    #[error("{} of the partitions exist already, among them {}", .ids.len(), .ids[0])]
    Exists {
        /// Which.
        ids: Vec<ShardId>,
    },
    /// Partitions do not exist.
    #[error("{} of the partitions do not exist, among them {}", .ids.len(), .ids[0])]
    UnknownPartitions {
        /// Which.
        ids: Vec<ShardId>,
    },
    /// The command names a partition twice.
    #[error("the command names {id} twice")]
    Twice {
        /// Which.
        id: ShardId,
    },
    /// Partitions have another number of copies here.
    #[error("each partition has {copies} copies here")]
    Copies {
        /// How many.
        copies: u32,
    },
    /// There is no such shard.
    #[error("there is no shard {partition}")]
    UnknownShard {
        /// Its name.
        partition: PartitionId,
    },
    /// There is no such node.
    #[error("node {node} is not registered")]
    UnknownNode {
        /// Its name.
        node: NodeId,
    },
    /// The node may not be given shards: it is down or draining.
    #[error("node {node} is down or draining: it may not be given shards")]
    NotAccepting {
        /// The node.
        node: NodeId,
    },
    /// A node cannot take its own place.
    #[error("node {node} cannot take its own place")]
    SameNode {
        /// The node.
        node: NodeId,
    },
    /// The node's process may still run: it cannot be forgotten.
    #[error("node {node} is not down: only one that is can be forgotten")]
    NodeUp {
        /// The node.
        node: NodeId,
    },
    /// The node is registered, and its session has not got a lease yet.
    #[error("node {node} has no lease yet")]
    NotReady {
        /// The node.
        node: NodeId,
    },
    /// The node does not hold the shard.
    #[error("node {node} does not hold {partition}")]
    NotHolder {
        /// The node.
        node: NodeId,
        /// The shard.
        partition: PartitionId,
    },
    /// The node holds the shard already.
    #[error("node {node} holds {partition} already")]
    Holds {
        /// The node.
        node: NodeId,
        /// The shard.
        partition: PartitionId,
    },
    /// The node has the primary of the shard already: there is nothing to do.
    #[error("node {node} is the primary of {partition} already")]
    IsPrimary {
        /// The node.
        node: NodeId,
        /// The shard.
        partition: PartitionId,
    },
    /// The copy of the node is not known to be in sync: promoting it may lose what was acknowledged.
    #[error("the copy of {partition} on {node} is not known to be in sync")]
    NotInSync {
        /// The node.
        node: NodeId,
        /// The shard.
        partition: PartitionId,
    },
    /// Something else is being done with the shard.
    #[error("{partition} is being moved")]
    Busy {
        /// The shard.
        partition: PartitionId,
    },
    /// The shard takes part in a split, a merge or a move.
    #[error("{partition} takes part in operation {operation}")]
    Held {
        /// The shard.
        partition: PartitionId,
        /// The operation.
        operation: OperationId,
    },
    /// This coordinator was started without what carries splits and merges out.
    #[error("this coordinator carries out no splits, merges and moves")]
    NoOperations,
    /// This coordinator has just begun to lead and has yet to hear of nodes, or ceases to, or there is no shard yet.
    #[error("the leader has not taken up the operations yet")]
    NotTakenUp,
    /// There is no such move of a shard that commits on several members.
    #[error("there is no move {operation} of a shard that commits on several members")]
    UnknownOperation {
        /// Its name.
        operation: OperationId,
    },
    /// The shard has fewer copies than are needed beside those of the others.
    #[error("{shard} has too few copies to become one with shards that have more")]
    Apart {
        /// The shard.
        shard: ShardId,
    },
    /// The shard would have to move, and is pinned.
    #[error(
        "{shard} is pinned to where it is, and would have to move to become one with the others"
    )]
    Pinned {
        /// The shard.
        shard: ShardId,
    },
    /// A move that was to bring shards together has ended without effect.
    #[error("{operation}, which was to bring the shards together, ended without effect: {reason}")]
    NotGathered {
        /// The move.
        operation: OperationId,
        /// Why.
        reason: String,
    },
    /// The move is not where that can be done.
    #[error("operation {operation} is {phase}")]
    OtherPhase {
        /// The operation.
        operation: OperationId,
        /// How far it is.
        phase: Phase,
    },
    /// The shard commits on several members: a loss is accepted by its name.
    #[error("{partition} commits on several members, and cannot be forced without naming the loss")]
    LossNotNamed {
        /// The shard.
        partition: PartitionId,
    },
    /// The shard does not commit on several members.
    #[error("{partition} does not commit on several members")]
    NotReplicated {
        /// The shard.
        partition: PartitionId,
    },
    /// What looks after shards that commit on several members refuses.
    #[error(transparent)]
    Replication(#[from] Refused),
    /// The registry did not take the change in time; what became of it is not known.
    #[error("the registry did not confirm the change: it may happen yet")]
    Unconfirmed,
}

impl Refusal {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotLeader { .. } => "NOT_LEADER",
            Self::Exists { .. } => "EXISTS",
            Self::UnknownPartitions { .. } | Self::UnknownShard { .. } => "SHARD_NOT_FOUND",
            Self::Twice { .. } => "DUPLICATE",
            Self::Copies { .. } => "COPIES",
            Self::UnknownNode { .. } => "UNKNOWN_NODE",
            Self::NotAccepting { .. } => "NOT_ACCEPTING",
            Self::SameNode { .. } => "SAME_NODE",
            Self::NodeUp { .. } => "NODE_UP",
            Self::NotReady { .. } => "NODE_NOT_READY",
            Self::NotHolder { .. } => "NOT_HOLDER",
            Self::Holds { .. } | Self::IsPrimary { .. } => "HOLDS",
            Self::NotInSync { .. } => "NOT_IN_SYNC",
            Self::Busy { .. } => "BUSY",
            Self::Held { .. } => "IN_OPERATION",
            Self::NoOperations => "UNSUPPORTED",
            Self::NotTakenUp => "NOT_TAKEN_UP",
            Self::UnknownOperation { .. } => "OPERATION_NOT_FOUND",
            Self::OtherPhase { .. } => "TOO_LATE",
            Self::Pinned { .. } => "PINNED",
            Self::Apart { .. } | Self::NotGathered { .. } => "APART",
            Self::LossNotNamed { .. } => "LOSS_NOT_NAMED",
            Self::NotReplicated { .. } => "NOT_REPLICATED",
            Self::Replication(refused) => refused.code(),
            Self::Unconfirmed => "UNCONFIRMED",
        }
    }

    /// What to do about it, where that is not plain from the message.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Copies { .. } => Some("leave the number out; coordinators are started with it"),
            Self::NotLeader { .. } => Some("ask again: a leader is being elected"),
            Self::NotAccepting { .. } => Some("start the node, or let its drain end by a restart"),
            Self::NodeUp { .. } => Some("drain it, and stop its process first"),
            Self::NotReady { .. } => Some("ask again: it gets one when it answers a ping"),
            Self::IsPrimary { .. } => Some("there is nothing to do"),
            Self::NotInSync { .. } => {
                Some("wait until it has caught up, or force it and accept the loss")
            }
            Self::Busy { .. } => Some("ask again when the move is done"),
            Self::NoOperations => Some("ask a coordinator of a cluster of nodes that keep shards"),
            Self::NotTakenUp => Some("ask again a little later"),
            Self::Held { .. } => Some("ask again when it is over, or cancel it"),
            Self::OtherPhase { .. } => Some(
                "it is paused, resumed and cancelled before its commit, and reversed once it is done",
            ),
            Self::LossNotNamed { .. } => Some(
                "promote without force; if that is refused, accept the loss of the shard by name",
            ),
            Self::Pinned { .. } => Some("unpin it, or move a copy of it by hand"),
            Self::NotReplicated { .. } => Some("promote it without accepting a loss by name"),
            Self::Unconfirmed => Some("list the shards to see whether it happened"),
            _ => None,
        }
    }

    /// Whether the same command may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotLeader { .. }
            | Self::NotReady { .. }
            | Self::Busy { .. }
            | Self::Held { .. }
            | Self::NotTakenUp => true,
            Self::Replication(refused) => refused.is_retryable(),
            _ => false,
        }
    }
}
