//! What can go wrong between a caller and the owner of a shard.

use shardwright_topology::{Epoch, NodeId, ShardId};

use crate::BoxError;

/// A request that did not give an answer.
///
/// [`Error::outcome`] says whether anything may have happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No map has arrived since the router was made. Nothing happened.
    #[error("no shard map has arrived yet, follow a registry or set a map first")]
    NoMap,
    /// The map has no such shard. Nothing happened.
    #[error(
        "the map has no shard {shard}: check the name; it may have been split or merged, so route by tenant again"
    )]
    UnknownShard {
        /// The shard.
        shard: ShardId,
    },
    /// The shards of the keyspace have names only, so a tenant has none. Nothing happened.
    #[error("the shards of this keyspace have no ranges, so a tenant has no shard: call by shard")]
    NoTenants,
    /// Nobody owns the shard, and nobody came to own it in time. Nothing happened.
    #[error("shard {shard} has no owner: wait until it is assigned, or assign it, and try again")]
    NoOwner {
        /// The shard.
        shard: ShardId,
    },
    /// The shard is on another node, and a closure cannot go there. Nothing happened.
    #[error("shard {shard} is not local, {owner} owns it: call a method of it there")]
    NotLocal {
        /// The shard.
        shard: ShardId,
        /// The node that owns it.
        owner: NodeId,
    },
    /// The epoch of the request has ended. Nothing happened; route again and repeat.
    #[error(
        "shard {shard} is at {current}, the request carried {presented}: route again and repeat"
    )]
    StaleEpoch {
        /// The shard.
        shard: ShardId,
        /// The epoch of its owner.
        current: Epoch,
        /// The epoch of the request.
        presented: Epoch,
    },
    /// The shard is being handed over. Nothing happened; repeat in a moment.
    #[error("shard {shard} is being handed over at {epoch}: repeat in a moment")]
    CutOver {
        /// The shard.
        shard: ShardId,
        /// The epoch that ends.
        epoch: Epoch,
    },
    /// The node owns the shard on paper, and must not serve it: its lease has ended. Nothing happened.
    #[error(
        "shard {shard} may not be served at {epoch} now, the lease of its node has ended: repeat in a moment"
    )]
    NotServing {
        /// The shard.
        shard: ShardId,
        /// The epoch.
        epoch: Epoch,
    },
    /// A node has no address, so it was never registered or is gone. Nothing happened.
    #[error("node {node} has no address: register it, or wait for it to return")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// The owner could not be reached before the deadline. Nothing happened.
    #[error("node {node} owns shard {shard} and cannot be reached: check that it runs, and repeat")]
    Unreachable {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The deadline passed; [`Outcome`] says whether the method may have run, and may still run.
    #[error("{method} on shard {shard} ended at its deadline, {}", advice(*outcome))]
    TimedOut {
        /// The shard.
        shard: ShardId,
        /// The method.
        method: String,
        /// What is known.
        outcome: Outcome,
    },
    /// The request was sent, and no answer came. The method may have run, and may still run.
    #[error("no answer of {method} on shard {shard}, {}", advice(Outcome::Unknown))]
    Interrupted {
        /// The shard.
        shard: ShardId,
        /// The method.
        method: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The other side refused the caller. Nothing happened.
    #[error("not authorised by {node}: give this node the token that the others have")]
    NotAuthorized {
        /// The node that refused.
        node: NodeId,
    },
    /// The request is larger than the transport takes. Nothing happened.
    #[error(
        "a payload of {size} bytes is above the limit of {limit}: send it in parts, or raise the limit"
    )]
    PayloadTooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest that is taken.
        limit: usize,
    },
    /// The method ran, and its answer is larger than the transport takes.
    #[error(
        "{method} ran, and its answer of {size} bytes is above the limit of {limit}: answer in parts, or raise the limit"
    )]
    AnswerTooLarge {
        /// The method.
        method: String,
        /// The size of the answer in bytes.
        size: usize,
        /// The largest that is taken.
        limit: usize,
    },
    /// The owner answers as many requests as it takes at once. Nothing happened; repeat in a moment.
    #[error("node {node} has more requests than it takes at once: repeat in a moment")]
    Overloaded {
        /// The node.
        node: NodeId,
    },
    /// No method can have that name, whatever the transport. Nothing happened.
    #[error("{method:?} is no name of a method: use 1 to 255 visible ASCII characters")]
    InvalidMethod {
        /// The name.
        method: String,
    },
    /// The owner has no handler of that name. Nothing happened.
    #[error("node {node} has no handler for {method}: register one there, or check the name")]
    UnknownMethod {
        /// The node.
        node: NodeId,
        /// The method.
        method: String,
    },
    /// The owner cannot read the request. Nothing happened.
    #[error("node {node} cannot read the request ({what}): run the same release on both")]
    Incompatible {
        /// The node.
        node: NodeId,
        /// What it cannot read.
        what: String,
    },
    /// The handler ran and failed; what it did before is its own business.
    #[error("{method} on shard {shard} failed: {message}")]
    HandlerFailed {
        /// The shard.
        shard: ShardId,
        /// The method.
        method: String,
        /// What the handler said.
        message: String,
    },
}

/// What is known of a request that gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The method did not run, and will not.
    NotRun,
    /// The method may have run, wholly or in part, and may still run.
    Unknown,
    /// The method ran.
    Ran,
}

fn advice(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotRun => "and nothing happened: repeat it, or give it more time",
        Outcome::Unknown => "and its outcome is unknown: find out before you repeat it",
        Outcome::Ran => "after it ran",
    }
}

impl Error {
    /// Returns the name of the kind of error, which no release changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoMap => "NO_MAP",
            Self::UnknownShard { .. } => "SHARD_NOT_FOUND",
            Self::NoTenants => "NO_TENANTS",
            Self::NoOwner { .. } => "NO_OWNER",
            Self::NotLocal { .. } => "NOT_LOCAL",
            Self::StaleEpoch { .. } => "STALE_EPOCH",
            Self::CutOver { .. } => "CUT_OVER",
            Self::NotServing { .. } => "NOT_SERVING",
            Self::UnknownNode { .. } => "UNKNOWN_NODE",
            Self::Unreachable { .. } => "UNREACHABLE",
            Self::TimedOut {
                outcome: Outcome::NotRun,
                ..
            } => "TIMED_OUT",
            Self::TimedOut { .. } | Self::Interrupted { .. } => "INDETERMINATE",
            Self::NotAuthorized { .. } => "NOT_AUTHORIZED",
            Self::PayloadTooLarge { .. } => "PAYLOAD_TOO_LARGE",
            Self::AnswerTooLarge { .. } => "ANSWER_TOO_LARGE",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::InvalidMethod { .. } => "INVALID_METHOD",
            Self::UnknownMethod { .. } => "UNKNOWN_METHOD",
            Self::Incompatible { .. } => "INCOMPATIBLE",
            Self::HandlerFailed { .. } => "HANDLER_FAILED",
        }
    }

    /// Returns what is known of the method that was called.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::TimedOut { outcome, .. } => *outcome,
            Self::Interrupted { .. } => Outcome::Unknown,
            Self::AnswerTooLarge { .. } | Self::HandlerFailed { .. } => Outcome::Ran,
            Self::NoMap
            | Self::UnknownShard { .. }
            | Self::NoTenants
            | Self::NoOwner { .. }
            | Self::NotLocal { .. }
            | Self::StaleEpoch { .. }
            | Self::CutOver { .. }
            | Self::NotServing { .. }
            | Self::UnknownNode { .. }
            | Self::Unreachable { .. }
            | Self::NotAuthorized { .. }
            | Self::PayloadTooLarge { .. }
            | Self::Overloaded { .. }
            | Self::InvalidMethod { .. }
            | Self::UnknownMethod { .. }
            | Self::Incompatible { .. } => Outcome::NotRun,
        }
    }

    /// Returns whether the same request may simply be repeated later: nothing happened, and time may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoMap
            | Self::NoOwner { .. }
            | Self::StaleEpoch { .. }
            | Self::CutOver { .. }
            | Self::NotServing { .. }
            | Self::UnknownNode { .. }
            | Self::Unreachable { .. }
            | Self::Overloaded { .. } => true,
            Self::TimedOut { outcome, .. } => *outcome == Outcome::NotRun,
            Self::UnknownShard { .. }
            | Self::NoTenants
            | Self::NotLocal { .. }
            | Self::Interrupted { .. }
            | Self::NotAuthorized { .. }
            | Self::PayloadTooLarge { .. }
            | Self::AnswerTooLarge { .. }
            | Self::InvalidMethod { .. }
            | Self::UnknownMethod { .. }
            | Self::Incompatible { .. }
            | Self::HandlerFailed { .. } => false,
        }
    }
}
