//! What coordinators and nodes say to one another of operations.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_topology::{KeyRange, Lsn, NodeId, OperationId, Position, ShardId};

use crate::shard::split::{BaseState, SourceRecord};

/// A question to the node of a shard's primary, or to one of its members.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    /// The shard that it is about.
    pub(super) shard: PartitionId,
    pub(super) ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Is the primary there?
    Ready,
    /// Keep aside what the targets of an operation are to begin with: again, if others lack what this one has.
    Cut { operation: OperationId, again: bool },
    /// How far is this member with what it keeps aside for a target?
    Base {
        operation: OperationId,
        target: ShardId,
    },
    /// How much of a source is there?
    Imported {
        operation: OperationId,
        source: ShardId,
    },
    /// What was written since?
    Changes {
        range: KeyRange,
        after: Lsn,
        up_to: Option<Lsn>,
        count: usize,
        bytes: usize,
    },
    /// Take in what a source has written.
    Apply {
        operation: OperationId,
        source: ShardId,
        after: Lsn,
        through: Lsn,
        records: Vec<SourceRecord>,
    },
    /// What do the rows of a range sum up to?
    Digest { range: KeyRange },
    /// What do they, of what was taken in?
    DigestOfImport {
        operation: OperationId,
        source: ShardId,
        range: KeyRange,
    },
    /// End the writes.
    Seal { operation: OperationId },
    /// Let writes go on.
    Release { operation: OperationId },
    /// Remove the copy on this node: the operation is decided.
    Remove { operation: OperationId },
    /// How much is there?
    Metrics,
    /// Where are the halves?
    Median,
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Said {
    Done,
    Position(Lsn),
    Base(BaseState),
    Imported(Lsn),
    Changes {
        records: Vec<(Lsn, SourceRecord)>,
        through: Lsn,
        head: Lsn,
    },
    Digest {
        position: Lsn,
        rows: u64,
        bytes: u64,
        hash: u128,
    },
    Metrics {
        bytes: u64,
        rows: u64,
        /// In a second.
        reads: f64,
        writes: f64,
        /// The part of a processor.
        cpu: f64,
    },
    Median(Option<Position>),
}

/// Why it was not done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// This node does not have the primary.
    NotPrimary { hint: Option<NodeId> },
    /// It may be done in a moment.
    Later(String),
    /// No member keeps aside what is needed: the source has to be cut again.
    NoBase,
    /// The operation has let go of the shard.
    Ended,
    /// Another operation has it, or none.
    NotHeld,
    /// The records are not kept any more.
    Trimmed,
    /// It cannot be done.
    Failed(String),
}

pub(super) type Answer = Result<Said, Refusal>;

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("writing plain values to memory cannot fail")
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}
