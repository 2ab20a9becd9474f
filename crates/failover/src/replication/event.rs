//! What happened to the copies of shards, and how a shard stands.

use std::collections::BTreeSet;

use shardwright_topology::{ConfigId, Epoch, Member, NodeId, ReplicaId, ShardId};

/// How a replicated shard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing was found out yet.
    #[default]
    Unknown,
    /// It never had a configuration, and there are too few nodes for one.
    Unassigned {
        /// How many copies can be reached.
        copies: usize,
        /// How many it is to have.
        factor: usize,
    },
    /// A configuration is being tried.
    Changing {
        /// Its epoch.
        epoch: Epoch,
    },
    /// Nobody serves it, and a new primary is about to be chosen.
    WithoutPrimary,
    /// It takes writes, and has all its copies.
    Whole,
    /// It takes writes with fewer copies than it is to have.
    UnderReplicated {
        /// How many members can be reached.
        copies: usize,
        /// How many it is to have.
        factor: usize,
    },
    /// It has a primary, and too few members can be reached to take writes.
    CannotCommit {
        /// How many can be reached.
        whole: usize,
        /// How many must hold a write.
        w: u32,
    },
    /// It is unavailable: too few whole copies can be reached to be sure that every acknowledged write is on one of them. An operator may
    /// accept the loss.
    NoRecoveryQuorum {
        /// How many can be reached.
        whole: usize,
        /// How many are needed.
        needed: usize,
        /// How many there are.
        members: usize,
    },
    /// It is unavailable: it could recover, and too few copies, or zones, are left for a commit.
    TooFewCopies {
        /// How many can be reached.
        whole: usize,
        /// How many must hold a write.
        w_min: u32,
    },
    /// A copy has seen the registry go back in time: nothing is decided until an operator has looked.
    Frozen,
}

impl Condition {
    /// All names that [`Condition::kind`] returns.
    pub const KINDS: [&str; 10] = [
        "unknown",
        "unassigned",
        "changing",
        "without-primary",
        "whole",
        "under-replicated",
        "cannot-commit",
        "no-recovery-quorum",
        "too-few-copies",
        "frozen",
    ];

    /// Returns the stable name of what is so, without its numbers.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unassigned { .. } => "unassigned",
            Self::Changing { .. } => "changing",
            Self::WithoutPrimary => "without-primary",
            Self::Whole => "whole",
            Self::UnderReplicated { .. } => "under-replicated",
            Self::CannotCommit { .. } => "cannot-commit",
            Self::NoRecoveryQuorum { .. } => "no-recovery-quorum",
            Self::TooFewCopies { .. } => "too-few-copies",
            Self::Frozen => "frozen",
        }
    }

    /// Returns whether the shard takes writes, as far as is known.
    #[must_use]
    pub fn is_available(&self) -> bool {
        matches!(self, Self::Whole | Self::UnderReplicated { .. })
    }
}

/// What a configuration is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The shard's first one.
    First,
    /// The primary is gone, or did not begin.
    Failover,
    /// Copies join or leave; the primary stays.
    Members,
    /// The primary was asked to hand over, or its node is drained.
    HandOver,
    /// An operator accepts the loss of acknowledged writes.
    Forced {
        /// Who.
        by: String,
    },
}

impl Purpose {
    /// Returns its stable name.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Failover => "failover",
            Self::Members => "members",
            Self::HandOver => "hand-over",
            Self::Forced { .. } => "forced",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// How a shard stands has changed.
    Condition {
        /// The shard.
        shard: ShardId,
        /// How it stood.
        from: Condition,
        /// How it stands.
        to: Condition,
    },
    /// A configuration is being tried.
    Attempt {
        /// The shard.
        shard: ShardId,
        /// The epoch.
        epoch: Epoch,
        /// The configuration.
        config_id: ConfigId,
        /// The node that is to be primary.
        primary: NodeId,
        /// What for.
        purpose: Purpose,
    },
    /// A configuration counts from now on.
    Activated {
        /// The shard.
        shard: ShardId,
        /// The epoch.
        epoch: Epoch,
        /// Who was primary.
        from: Option<NodeId>,
        /// Who is.
        primary: NodeId,
        /// The members.
        members: BTreeSet<Member>,
        /// The commit width.
        w: u32,
    },
    /// An operator accepted that acknowledged writes may be lost. This is to be kept.
    LossAccepted {
        /// The shard.
        shard: ShardId,
        /// The epoch at which it goes on.
        epoch: Epoch,
        /// How often that has happened to the shard.
        generation: u64,
        /// Who accepted it.
        by: String,
        /// The node that is to be primary.
        primary: NodeId,
        /// The members that can be reached: it goes on from these, or from the copy of the primary if there are none.
        left: BTreeSet<Member>,
        /// The members that could not be reached.
        given_up: BTreeSet<Member>,
    },
    /// A node was told to make a copy.
    CopyOrdered {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
        /// The copy.
        replica_id: ReplicaId,
    },
    /// A node was told to delete a copy that nobody needs.
    CopyGivenUp {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
        /// The copy.
        replica_id: ReplicaId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_names_is_that_of_the_conditions() {
        let (copies, factor, whole) = (1, 3, 1);
        let epoch = Epoch(2);
        let all = [
            Condition::Unknown,
            Condition::Unassigned { copies, factor },
            Condition::Changing { epoch },
            Condition::WithoutPrimary,
            Condition::Whole,
            Condition::UnderReplicated { copies, factor },
            Condition::CannotCommit { whole, w: 2 },
            Condition::NoRecoveryQuorum {
                whole,
                needed: 2,
                members: 3,
            },
            Condition::TooFewCopies { whole, w_min: 2 },
            Condition::Frozen,
        ];
        assert_eq!(all.map(|condition| condition.kind()), Condition::KINDS);
    }
}
