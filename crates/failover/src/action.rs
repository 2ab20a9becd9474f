//! What goes into the failover machine and what comes out of it.

use shardwright_registry::{Key, LeaseRecord, Revision, Stored, WriteOutcome};
use shardwright_topology::{Epoch, NodeId, ShardId, ShardRecord};

use crate::{Event, PromotionRefused, Reports, Written};

/// What happens at a coordinator.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "each is moved once and kept nowhere"
)]
pub enum Input {
    /// A lease was seen: its own, or that of a node. Others are passed over.
    Lease(Stored<LeaseRecord>),
    /// A shard's record was seen.
    Shard(Stored<ShardRecord>),
    /// What all nodes say of their copies was to be read; `None` if it could not be.
    Reports(Option<Reports>),
    /// A record is gone.
    Gone(Key),
    /// All records were shown once.
    Current,
    /// Its own lease was to be written.
    OwnLeaseWritten(WriteOutcome),
    /// A write of another record that it asked for was answered.
    Written {
        /// The key.
        key: Key,
        /// What became of it.
        written: Written,
    },
    /// Somebody wants a replica to take over a shard.
    Promote {
        /// Comes back with the answer.
        ticket: u64,
        /// The shard.
        shard: ShardId,
        /// The node that holds the replica.
        to: NodeId,
        /// Whether the loss of acknowledged writes is accepted.
        forced: bool,
    },
    /// The coordinator ends.
    Resign,
    /// Time has passed.
    Tick,
}

/// What a coordinator must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write its own lease if it is at `expected`, and report with [`Input::OwnLeaseWritten`].
    WriteOwnLease {
        /// The revision that it must have; `None` if it must have no value.
        expected: Option<Revision>,
        /// The new value.
        record: LeaseRecord,
    },
    /// Write the lease of a node if it is at `expected`, and report with [`Input::Written`].
    WriteLease {
        /// The key.
        key: Key,
        /// The revision that it must have; `None` if it must have no value.
        expected: Option<Revision>,
        /// The new value.
        record: LeaseRecord,
    },
    /// Write a shard's record if it is at `expected`, and report with [`Input::Written`].
    WriteShard {
        /// The key.
        key: Key,
        /// The revision that it must have.
        expected: Revision,
        /// The new value.
        record: Box<ShardRecord>,
    },
    /// Read a record, and show it.
    Read {
        /// Its key.
        key: Key,
    },
    /// Read what all nodes say of their copies, and report with [`Input::Reports`]. One read is under way at a time.
    ReadReports,
    /// Tell whoever listens.
    Emit(Event),
    /// Answer a promotion that somebody asked for.
    Answer {
        /// What the question carried.
        ticket: u64,
        /// The epoch at which the node is primary.
        answer: Result<Epoch, PromotionError>,
    },
}

/// Why a promotion that somebody asked for did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromotionError {
    /// Another coordinator leads. Ask that one.
    #[error("this coordinator does not lead{}", .leader.as_ref().map(|node| format!(", {node} does")).unwrap_or_default())]
    NotLeader {
        /// Who does, as it was last seen.
        leader: Option<NodeId>,
    },
    /// The shard does not exist, or was not seen yet.
    #[error("there is no shard {shard}")]
    UnknownShard {
        /// The shard.
        shard: ShardId,
    },
    /// The rules do not allow it.
    #[error(transparent)]
    Refused(#[from] PromotionRefused),
    /// The record is being changed by somebody else. Nothing changed by this call; ask again.
    #[error("somebody else changes shard {shard}, ask again")]
    Overtaken {
        /// The shard.
        shard: ShardId,
    },
    /// The store did not answer. It is not known whether the promotion happened; ask again, which does no harm.
    #[error("it is not known whether shard {shard} has a new primary, ask again")]
    Unknown {
        /// The shard.
        shard: ShardId,
    },
    /// The store could not be reached. Nothing changed; ask again.
    #[error("the registry could not be reached, shard {shard} is as it was")]
    Unavailable {
        /// The shard.
        shard: ShardId,
    },
    /// The coordinator was stopped.
    #[error("the coordinator was stopped")]
    Stopped,
}

impl PromotionError {
    /// Returns whether the same call may simply be repeated, later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overtaken { .. } | Self::Unknown { .. } | Self::Unavailable { .. } => true,
            Self::NotLeader { .. }
            | Self::UnknownShard { .. }
            | Self::Refused(_)
            | Self::Stopped => false,
        }
    }
}
