//! What a manager refuses, and what can fail.

use std::time::Duration;

use shardwright_topology::{InvalidName, NodeId, OperationId, Phase, Position, ShardId};

use crate::{ConfigError, InvalidLayout, InvalidWork, JournalError, SplitError, StoreError};

/// A call of a manager that did not do what was asked.
///
/// What is refused has changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A text names nothing.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The shards of the journal make no layout.
    #[error(transparent)]
    Layout(#[from] InvalidLayout),
    /// The shards of an operation do not fit each other.
    #[error(transparent)]
    Work(#[from] InvalidWork),
    /// No shard has that name, or it was split, merged or moved since.
    #[error("there is no shard {shard}")]
    UnknownShard {
        /// The name.
        shard: String,
    },
    /// The key is outside of all shards.
    #[error("the key belongs to no shard")]
    NoOwner,
    /// No node has that name.
    #[error("there is no node {node}")]
    UnknownNode {
        /// The name.
        node: NodeId,
    },
    /// The shard is on that node already.
    #[error("shard {shard} is on node {node} already")]
    AlreadyThere {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// The shard commits on several members: a change of them moves it, and no operation does.
    #[error("shard {shard} commits on several members, and is not moved by an operation")]
    Unsupported {
        /// The shard.
        shard: ShardId,
    },
    /// The shard has too few keys. [`Force`](crate::Gating::Force) it, if it is to be split nevertheless.
    #[error("shard {shard} has {keys} keys, a split needs {needed}")]
    TooFewKeys {
        /// The shard.
        shard: ShardId,
        /// How many it has.
        keys: usize,
        /// How many it would need.
        needed: usize,
    },
    /// The shard owns too little to be divided, or all its keys are the same place, or the cut is not inside of it.
    #[error("shard {shard} cannot be divided there")]
    Indivisible {
        /// The shard.
        shard: ShardId,
    },
    /// The cut lies between two ranges of the shard, and divides none of them: the parts would be no neighbours. Take one inside of a range.
    #[error(
        "shard {shard} has no keys to be divided at {at}: nothing from {from} up to {to} is its own"
    )]
    CutInGap {
        /// The shard.
        shard: ShardId,
        /// The cut.
        at: Position,
        /// Where the range before ends.
        from: Position,
        /// Where the next range starts.
        to: Position,
    },
    /// A merge takes two shards or more, each once.
    #[error("a merge takes at least two different shards")]
    MergeOfOne,
    /// The shards are no neighbours.
    #[error("shard {shard} is no neighbour of the others")]
    NotNeighbours {
        /// One that is apart.
        shard: ShardId,
    },
    /// The shard would have too many keys. [`Force`](crate::Gating::Force) it, if they are to be merged nevertheless.
    #[error("the shards have {keys} keys together, {allowed} are allowed")]
    TooLarge {
        /// How many it would have.
        keys: usize,
        /// How many are allowed.
        allowed: usize,
    },
    /// Too few shards would be left. [`Force`](crate::Gating::Force) it, if they are to be merged nevertheless.
    #[error("{left} shards would be left, {needed} are needed")]
    TooFewShards {
        /// How many would be left.
        left: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The shard takes part in an operation. Wait for it to end, or cancel it.
    #[error("shard {shard} takes part in operation {operation}")]
    InOperation {
        /// The shard.
        shard: ShardId,
        /// The operation.
        operation: OperationId,
    },
    /// The node has no room: more is there than it may have.
    #[error("node {node} has room for {room} bytes, the shard has {bytes}")]
    NoCapacity {
        /// The node.
        node: NodeId,
        /// How many bytes there is room for.
        room: u64,
        /// How many the shard has.
        bytes: u64,
    },
    /// The store of a shard does not say what is needed. Nothing has begun.
    #[error("node {node} has said nothing of shard {shard} within {within:?}")]
    Silent {
        /// The shard.
        shard: ShardId,
        /// Where it is.
        node: NodeId,
        /// For how long it was asked: [`Settings::call_timeout`](crate::Settings::call_timeout), or
        /// [`Settings::reading_timeout`](crate::Settings::reading_timeout) for what takes reading all of the shard.
        within: Duration,
    },
    /// The journal does not say whether the operation was written down. Its shards stay reserved, and that is found out: then it runs, and is
    /// among the [operations](crate::ElasticShardManager::operations).
    #[error("it is not known yet whether operation {operation} was written down")]
    Unsettled {
        /// The operation.
        operation: OperationId,
    },
    /// The plan was made for shards that are no more as they were. Plan again.
    #[error("the plan was made before shard {shard} changed")]
    StalePlan {
        /// The shard.
        shard: ShardId,
    },
    /// There is no such operation, or its record was removed.
    #[error("there is no operation {operation}")]
    UnknownOperation {
        /// The name.
        operation: OperationId,
    },
    /// The operation is past the point at which that can be done.
    #[error("operation {operation} is {phase}")]
    TooLate {
        /// The operation.
        operation: OperationId,
        /// Its phase.
        phase: Phase,
    },
    /// The operation ended without effect.
    #[error("operation {operation} was aborted: {reason}")]
    Aborted {
        /// The operation.
        operation: OperationId,
        /// Why.
        reason: String,
    },
    /// The shard changes hands, or its writers are held back, for longer than the caller wants to wait. Try again.
    #[error("the shard of the key takes no writes at this moment")]
    Busy,
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A store of one's own failed.
    #[error(transparent)]
    Ops(#[from] SplitError),
    /// The runtime that carries operations out has ended.
    #[error("the manager is shutting down")]
    Closed,
}

impl Error {
    /// Returns whether the same call may simply be repeated, later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy | Self::InOperation { .. } | Self::Silent { .. } => true,
            Self::Journal(error) => error.is_retryable(),
            Self::Store(error) => error.is_retryable(),
            Self::Ops(error) => matches!(error, SplitError::Unavailable(_)),
            Self::Config(_)
            | Self::Name(_)
            | Self::Layout(_)
            | Self::Work(_)
            | Self::UnknownShard { .. }
            | Self::NoOwner
            | Self::UnknownNode { .. }
            | Self::AlreadyThere { .. }
            | Self::Unsupported { .. }
            | Self::TooFewKeys { .. }
            | Self::Indivisible { .. }
            | Self::CutInGap { .. }
            | Self::MergeOfOne
            | Self::NotNeighbours { .. }
            | Self::TooLarge { .. }
            | Self::TooFewShards { .. }
            | Self::NoCapacity { .. }
            | Self::Unsettled { .. }
            | Self::StalePlan { .. }
            | Self::UnknownOperation { .. }
            | Self::TooLate { .. }
            | Self::Aborted { .. }
            | Self::Closed => false,
        }
    }
}
