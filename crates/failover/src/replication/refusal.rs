//! Why something that an operator asked for is not done.

use shardwright_topology::{AttemptRefused, Epoch, NodeId, ShardId};

/// Why something that an operator asked for is not done. Nothing changed, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Another coordinator leads. Ask that one.
    #[error("this coordinator does not lead")]
    NotLeading,
    /// The shard does not exist, or was not seen yet.
    #[error("there is no shard {shard}")]
    UnknownShard {
        /// The shard.
        shard: ShardId,
    },
    /// The shard never had a configuration. It gets its first one as soon as there are nodes.
    #[error("shard {shard} has no members yet, start nodes")]
    Unassigned {
        /// The shard.
        shard: ShardId,
    },
    /// Another configuration is being tried. Ask again when that is over.
    #[error("shard {shard} is about to change at {epoch}, ask again")]
    Changing {
        /// The shard.
        shard: ShardId,
        /// The epoch.
        epoch: Epoch,
    },
    /// The node holds no copy that counts. Choose a member.
    #[error("node {node} is no member of shard {shard}, choose one")]
    NotMember {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// The node holds a copy that counts already. Promote it, or choose another one.
    #[error("node {node} is a member of shard {shard} already, choose another one")]
    IsMember {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// The node cannot be given a copy: it is not up, gives away what it has, or keeps no copies. Choose another one.
    #[error(
        "node {node} cannot be given a copy of shard {shard}, choose one that is up and keeps copies"
    )]
    CannotTake {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// With a copy on that node, the shard would be in fewer zones than a write is to be in. Choose a node in another zone.
    #[error(
        "with a copy on node {node}, shard {shard} would be in {zones} zones instead of {needed}, choose a node in another one"
    )]
    TooFewZones {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
        /// In how many zones it would be.
        zones: u32,
        /// In how many it must be.
        needed: u32,
    },
    /// The node is not up, or its copy is not whole. Choose another one.
    #[error("node {node} is not up with a whole copy of shard {shard}, choose another one")]
    NotUp {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// The copy is too far behind to take over without a pause. Wait for it, or choose another one.
    #[error(
        "the copy of shard {shard} on node {node} is {} behind, wait or choose another one",
        .lag.map_or_else(|| "an unknown number of records".to_owned(), |lag| format!("{lag} records"))
    )]
    NotInSync {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
        /// By how many records; `None` if it has not answered its primary.
        lag: Option<u64>,
    },
    /// Too few whole copies can be reached: an acknowledged write may be on none of them. Bring one back, or accept the loss by name.
    #[error(
        "shard {shard} needs {needed} of {members} members to recover, {whole} can be reached: bring one back, or accept the loss of shard {shard} by name"
    )]
    NoRecoveryQuorum {
        /// The shard.
        shard: ShardId,
        /// How many are needed.
        needed: usize,
        /// How many can be reached.
        whole: usize,
        /// How many there are.
        members: usize,
    },
    /// The loss of another shard was accepted. Name the shard that is to be forced.
    #[error("the loss of shard {accepted} was accepted, not that of shard {shard}")]
    OtherShard {
        /// The shard.
        shard: ShardId,
        /// The one that was named.
        accepted: ShardId,
    },
    /// No loss has to be accepted: enough members can be reached. Promote without it.
    #[error("shard {shard} can recover without a loss, promote without accepting one")]
    NoLossNeeded {
        /// The shard.
        shard: ShardId,
    },
    /// Too few copies would hold a write. Start nodes; copies are made on them, and then ask again.
    #[error(
        "shard {shard} would have {copies} copies, {w_min} must hold a write: start nodes and ask again"
    )]
    TooFewCopies {
        /// The shard.
        shard: ShardId,
        /// How many there would be.
        copies: usize,
        /// How many must hold a write.
        w_min: u32,
    },
    /// The registry went back in time, as a copy has seen. An operator has to look at it first.
    #[error("the registry went back in time, shard {shard} is frozen until that is looked at")]
    Frozen {
        /// The shard.
        shard: ShardId,
    },
    /// The record does not take the new configuration.
    #[error(transparent)]
    Attempt(#[from] AttemptRefused),
    /// Something else came first, or the attempt failed: another primary was chosen. Ask again.
    #[error("shard {shard} changed otherwise, ask again")]
    Overtaken {
        /// The shard.
        shard: ShardId,
    },
    /// The store could not be reached. Ask again.
    #[error("the registry could not be reached, shard {shard} is as it was")]
    Unavailable {
        /// The shard.
        shard: ShardId,
    },
}

impl Refused {
    /// Returns the stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotLeading => "NOT_LEADER",
            Self::UnknownShard { .. } => "SHARD_NOT_FOUND",
            Self::Unassigned { .. } => "UNASSIGNED",
            Self::Changing { .. } => "BUSY",
            Self::NotMember { .. } => "NOT_HOLDER",
            Self::IsMember { .. } => "HOLDS",
            Self::CannotTake { .. } => "NOT_ACCEPTING",
            Self::TooFewZones { .. } => "TOO_FEW_ZONES",
            Self::NotUp { .. } => "NOT_UP",
            Self::NotInSync { .. } => "NOT_IN_SYNC",
            Self::NoRecoveryQuorum { .. } => "NO_RECOVERY_QUORUM",
            Self::OtherShard { .. } => "OTHER_SHARD",
            Self::NoLossNeeded { .. } => "NO_LOSS_NEEDED",
            Self::TooFewCopies { .. } => "TOO_FEW_COPIES",
            Self::Frozen { .. } => "FROZEN",
            Self::Attempt(_) => "REFUSED",
            Self::Overtaken { .. } => "OVERTAKEN",
            Self::Unavailable { .. } => "REGISTRY_UNAVAILABLE",
        }
    }

    /// Returns whether the same call may simply be repeated, later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unassigned { .. }
            | Self::Changing { .. }
            | Self::NotInSync { .. }
            | Self::TooFewCopies { .. }
            | Self::Overtaken { .. }
            | Self::Unavailable { .. } => true,
            Self::NotLeading
            | Self::UnknownShard { .. }
            | Self::NotMember { .. }
            | Self::IsMember { .. }
            | Self::CannotTake { .. }
            | Self::TooFewZones { .. }
            | Self::NotUp { .. }
            | Self::NoRecoveryQuorum { .. }
            | Self::OtherShard { .. }
            | Self::NoLossNeeded { .. }
            | Self::Frozen { .. }
            | Self::Attempt(_) => false,
        }
    }
}
