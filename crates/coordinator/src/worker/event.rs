//! What a worker's machine is told, and what it wants done.

use std::time::Duration;

use shardwright_rebalancer::PartitionId;
use shardwright_topology::{Incarnation, NodeId};

use crate::protocol::{Assignment, CopyInstruction, Ping, Pong, VERSION};

/// What a worker is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// A coordinator registered this process under a session.
    Registered {
        /// The session.
        incarnation: Incarnation,
        /// For how long to wait for a ping before the worker registers anew.
        patience: Duration,
    },
    /// A coordinator pings. The answer comes as [`Action::Answer`].
    Ping(Ping),
    /// A callback has ended.
    Finished {
        /// The shard.
        partition: PartitionId,
        /// Which callback.
        call: Call,
        /// Why it failed, if it did.
        result: Result<(), String>,
    },
    /// The service says how far its copy of a shard is.
    Progress {
        /// The shard.
        partition: PartitionId,
        /// How far, in whatever the service counts.
        position: Option<u64>,
        /// Whether the copy has all that was acknowledged.
        in_sync: Option<bool>,
    },
    /// The process is to end: coordinators are told, until others have what it holds.
    Leave,
    /// The process ends: everything is to stop, and nothing to begin.
    Stop,
    /// Time has passed.
    Tick,
}

/// Which callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The one that begins to serve.
    Serve,
    /// The one that stops.
    Delete,
}

/// What a worker wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answer the ping.
    Answer(Result<Pong, PingRefused>),
    /// Run a callback, and report its end.
    Run {
        /// The shard, with its role and epoch.
        assignment: Assignment,
        /// Which callback.
        call: Call,
    },
    /// Do this with copies of shards that commit on several members.
    Instruct(Vec<CopyInstruction>),
    /// Register: there is no session, or it is over.
    Register,
    /// Everything is given to others: a worker that leaves may go.
    Drained,
}

/// A ping that a worker does not follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PingRefused {
    /// It is for another worker, or another session of this one.
    #[error("it is for {meant} of {node}, which has {}", session_text(.found))]
    WrongSession {
        /// This worker.
        node: NodeId,
        /// The session that was meant.
        meant: Incarnation,
        /// Its session, if it has one.
        found: Option<Incarnation>,
    },
    /// Another coordinator leads by now.
    #[error("term {seen} has begun")]
    OldTerm {
        /// The highest term that was seen.
        seen: u64,
    },
    /// Another version of the messages.
    #[error("version {found} of the messages is not understood, this is version {VERSION}")]
    Version {
        /// The version of the ping.
        found: u32,
    },
}

fn session_text(found: &Option<Incarnation>) -> String {
    found.map_or_else(|| "no session".to_owned(), |found| found.to_string())
}

impl PingRefused {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongSession { .. } => "WRONG_SESSION",
            Self::OldTerm { .. } => "OLD_TERM",
            Self::Version { .. } => "UNKNOWN_VERSION",
        }
    }
}
