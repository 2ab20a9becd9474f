//! What processes say to each other, and what comes back to them.

use shardwright_failover::replication::Instruction;
use shardwright_quorum::log::{Point, Record, Reply, Request, Ticket};
use shardwright_testkit::sim::Pid;
use shardwright_topology::{ConfigId, OperationId, ShardId, Timestamp};

use crate::log::Image;

/// What processes say to each other.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Log {
        shard: ShardId,
        call: u64,
        request: Box<Request>,
    },
    LogReply {
        shard: ShardId,
        reply: Box<Reply>,
    },
    AskSnapshot {
        shard: ShardId,
    },
    Snapshot {
        shard: ShardId,
        point: Point,
        image: Image,
    },
    /// What operations ask of a node.
    Ask {
        call: u64,
        body: Vec<u8>,
    },
    Answer {
        call: u64,
        body: Option<Vec<u8>>,
    },
}

/// What comes back to a process, or is planned.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    Tick,
    Follow,
    /// The answer to what a task wished for.
    Task(u64),
    /// A request was not answered.
    Call(u64),
    Synced(ShardId, u32, usize, Ticket),
    Stored(ShardId, u32, Point),
    Recreate(ShardId, u32),
    /// A part is to be made.
    Made(ShardId, u64),
    CutLate(ShardId, Box<Record>),
    Append(ShardId, u64),
    Activate(ShardId, ConfigId),
    Activating(ShardId, ConfigId),
    Told(Box<Instruction>),
    Try(ShardId, u64),
    Read(ShardId, u64),
    Look,
    Wake(u64, Timestamp),
    /// Somebody writes or reads.
    Client,
    /// The copies are looked after.
    Attend,
    /// Somebody wants an operation, or wants it to wait or to end.
    Disturb,
    /// A party of an operation crashes.
    Strike(OperationId, usize),
    Restart(Pid),
}
