//! What happened: the items of the event stream, and the sources of metrics.

use serde::Serialize;
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{
    Epoch, Incarnation, NodeId, OperationId, OperationKind, Phase, ReplicaId,
};

use crate::protocol::TroubleKind;

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
    /// A shard that commits on several members stands otherwise than before.
    ShardCondition {
        /// The shard.
        #[serde(flatten)]
        partition: PartitionId,
        /// How it stood.
        from: &'static str,
        /// How it stands.
        to: &'static str,
    },
    /// Another configuration of such a shard is being tried.
    Attempt {
        /// The shard.
        #[serde(flatten)]
        partition: PartitionId,
        /// At which epoch.
        epoch: Epoch,
        /// Who is to be primary.
        to: NodeId,
        /// What for.
        purpose: &'static str,
    },
    /// A configuration of such a shard counts from now on.
    Activated {
        /// The shard.
        #[serde(flatten)]
        partition: PartitionId,
        /// Since which epoch.
        epoch: Epoch,
        /// Who was primary.
        from: Option<NodeId>,
        /// Who is.
        to: NodeId,
        /// The nodes of its members.
        members: Vec<NodeId>,
        /// How many of them hold a write before it counts.
        w: u32,
    },
    /// An operator accepted that acknowledged writes of such a shard may be lost.
    LossAccepted {
        /// The shard.
        #[serde(flatten)]
        partition: PartitionId,
        /// At which epoch it goes on.
        epoch: Epoch,
        /// How often that has happened to the shard.
        generation: u64,
        /// Who accepted it.
        by: String,
        /// Who is to be primary.
        to: NodeId,
        /// The nodes of the members that it goes on from, if any.
        left: Vec<NodeId>,
        /// The nodes of the members that could not be reached.
        given_up: Vec<NodeId>,
    },
    /// A node was told to make a copy of such a shard.
    CopyOrdered {
        /// The shard.
        #[serde(flatten)]
        partition: PartitionId,
        /// The node.
        node: NodeId,
        /// The copy.
        replica: ReplicaId,
    },
    /// A node was told to delete a copy of such a shard that nobody needs.
    CopyGivenUp {
        /// The shard.
        #[serde(flatten)]
        partition: PartitionId,
        /// The node.
        node: NodeId,
        /// The copy.
        replica: ReplicaId,
    },
    /// A copy of such a shard does not work. The others go on.
    CopyFailed {
        /// The shard.
        #[serde(flatten)]
        partition: PartitionId,
        /// Where the copy is.
        node: NodeId,
        /// What kind of trouble it is.
        kind: TroubleKind,
        /// What the worker says of it.
        error: String,
    },
    /// A node has a copy of such a shard that works again, and has caught up.
    CopyBack {
        /// The shard.
        #[serde(flatten)]
        partition: PartitionId,
        /// The node.
        node: NodeId,
    },
    /// A split, a merge or a move of shards began.
    OperationBegun {
        /// The operation.
        operation: OperationId,
        /// What it does.
        what: OperationKind,
        /// Why.
        reason: String,
    },
    /// An operation is in another phase.
    OperationPhase {
        /// The operation.
        operation: OperationId,
        /// The phase.
        phase: Phase,
    },
    /// An operation could not do something, and tries it again.
    OperationRetried {
        /// The operation.
        operation: OperationId,
        /// What went wrong.
        error: String,
    },
    /// An operation is about to end without effect.
    OperationAborting {
        /// The operation.
        operation: OperationId,
        /// Why.
        reason: String,
    },
    /// Writers of a shard are held back, because a copy of it does not catch up.
    WritersHeldBack {
        /// The operation that copies it.
        operation: OperationId,
        /// How many changes they may be ahead.
        ahead: u64,
    },
    /// What was left of an operation that is over was removed.
    OperationCollected {
        /// The operation.
        operation: OperationId,
    },
    /// The leader decided by itself on a split, a merge, a move or a hand-over.
    RebalanceDecided {
        /// What.
        step: String,
        /// Why.
        reason: String,
        /// Whether it only says so, and does nothing.
        dry_run: bool,
    },
    /// A plan of moves is carried out from here on.
    RebalanceBegun {
        /// Its name.
        plan: String,
        /// How many moves and hand-overs it has.
        moves: usize,
        /// Whether the leader decided on it by itself.
        automatic: bool,
    },
    /// A step that was decided on, or a move of a plan, was refused or failed.
    RebalanceRefused {
        /// What.
        step: String,
        /// Why not.
        error: String,
    },
    /// Nothing is left to do of a plan of moves.
    RebalanceEnded {
        /// Its name.
        plan: String,
        /// How many moves are done.
        done: usize,
        /// How many are not, and are not tried again.
        undone: usize,
    },
    /// Somebody wants the leader to act by itself, or not to.
    Automatic {
        /// What it is to do.
        mode: &'static str,
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
            Self::ShardCondition { .. } => "shard-condition",
            Self::Attempt { .. } => "attempt",
            Self::Activated { .. } => "activated",
            Self::LossAccepted { .. } => "loss-accepted",
            Self::CopyOrdered { .. } => "copy-ordered",
            Self::CopyGivenUp { .. } => "copy-given-up",
            Self::CopyFailed { .. } => "copy-failed",
            Self::CopyBack { .. } => "copy-back",
            Self::OperationBegun { .. } => "operation-begun",
            Self::OperationPhase { .. } => "operation-phase",
            Self::OperationRetried { .. } => "operation-retried",
            Self::OperationAborting { .. } => "operation-aborting",
            Self::WritersHeldBack { .. } => "writers-held-back",
            Self::OperationCollected { .. } => "operation-collected",
            Self::RebalanceDecided { .. } => "rebalance-decided",
            Self::RebalanceBegun { .. } => "rebalance-begun",
            Self::RebalanceRefused { .. } => "rebalance-refused",
            Self::RebalanceEnded { .. } => "rebalance-ended",
            Self::Automatic { .. } => "automatic",
        }
    }
}
