//! Everything that can happen in one step.

use crate::{
    record::{Lsn, NodeId},
    state::Message,
};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Some coordinator makes a new attempt (C1).
    Attempt {
        primary: NodeId,
        members: Vec<NodeId>,
    },
    /// The primary named by the attempt of this index hears of it, and fences itself (P1).
    Begin(usize),
    /// As [`Begin`](Self::Begin), but the primary is the active one already.
    SamePrimary(usize),
    /// A candidate's fence reaches a member.
    Fence {
        candidate: NodeId,
        member: NodeId,
    },
    FenceAck(NodeId, Message),
    /// The active primary that the attempt of this index recovers from gives way to it, before that is durable.
    GiveWay(usize),
    /// A candidate adopts the newest log, and appends its epoch-start record (P2, P3).
    Adopt(NodeId),
    Write(NodeId),
    /// A primary sends its whole log; shorter ones were sent before.
    Send(NodeId),
    Append(NodeId, Message),
    AppendAck(NodeId, Message),
    /// P4.
    Activate(NodeId),
    /// P5.
    Commit(NodeId),
    /// A process dies and starts again, its disk intact.
    Restart(NodeId),
    /// A disk keeps only so many records.
    Lose(NodeId, Lsn),
    BarrierBegin(NodeId),
    BarrierAnswer {
        primary: NodeId,
        member: NodeId,
    },
    BarrierEnd(NodeId),
    /// One node's clock advances.
    Tick(NodeId),
    PingAll(NodeId),
    Ping(NodeId, Message),
    Pong(NodeId, Message),
    /// A read under a lease from state applied up to a position.
    LeasedRead(NodeId, Lsn),
    /// A client's write reaches a primary, perhaps again.
    Deliver(NodeId, u8),
    /// A client is told that its write failed, as its deadline has passed or its transaction could not end.
    Deny(NodeId, u8),
    /// Outcomes of old writes are forgotten.
    Expire(NodeId),
    Operation(OperationStep),
    /// A node's copy of what a child begins with loses its writes, and nobody notices.
    Damage(NodeId),
}

/// One step of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OperationStep {
    /// A primary appends where the child begins.
    Base(NodeId),
    /// A node filters its own copy there.
    Filter(NodeId),
    /// The operation's record is touched: primaries may seal.
    Touch,
    Seal(NodeId),
    /// A node tells what its child holds at the seal.
    Report(NodeId),
    /// The operation is committed, and the child serves what this node's child holds.
    Commit(NodeId),
    Abort,
    Unseal(NodeId),
    /// The operation is cleaned up after it was aborted.
    Finish,
    /// A client's write reaches the child, perhaps after a parent.
    Deliver(u8),
    Neighbour(NeighbourStep),
}

/// One step of a merge's second parent, or of the copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NeighbourStep {
    Write,
    /// Outcomes of old writes are forgotten.
    Expire,
    Seal,
    Unseal,
    /// The merged shard takes a snapshot.
    Copy,
    /// The position of a snapshot is asked for when it was taken already.
    Position,
}
