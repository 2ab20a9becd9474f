//! What a workflow is told, and what it asks for.

use shardwright_topology::{NodeId, OperationId, Phase, Timestamp};

use crate::{Entry, Record, Reply, Request, StoreError, Version};

/// Tells a call from others of the same workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What happens to a workflow.
#[derive(Debug, Clone)]
pub enum Event {
    /// Time passed.
    Tick,
    /// The operation may begin: there is room for it.
    Admitted,
    /// How much the sources have, for the progress and the patience.
    Measured {
        /// Rows.
        rows: u64,
        /// Bytes.
        bytes: u64,
    },
    /// A store answered.
    Replied {
        /// Which call.
        call: CallId,
        /// What it said.
        outcome: Result<Reply, StoreError>,
    },
    /// The journal answered [`Action::Hold`] or [`Action::Resolve`].
    Owned {
        /// Which call.
        call: CallId,
        /// What it said.
        outcome: Owned,
    },
    /// The journal answered [`Action::Write`].
    Wrote {
        /// Which call.
        call: CallId,
        /// What it said.
        outcome: Written,
    },
    /// The journal answered [`Action::Read`], or the record was seen otherwise; `None` if the operation is no more.
    Read(Option<Box<Entry>>),
    /// The journal did not answer [`Action::Read`].
    Unread,
    /// Somebody wants the operation to wait.
    Pause,
    /// Somebody wants the operation to go on.
    Resume,
    /// Somebody wants the operation to have no effect.
    Cancel {
        /// Why.
        reason: String,
    },
}

/// What became of a change of who holds which shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owned {
    /// It is so.
    Done,
    /// It will never be so: another operation is there, or the shards have changed.
    Refused {
        /// Why.
        reason: String,
    },
    /// It may be so; try again.
    Failed,
}

/// What became of a change of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is written.
    Done(Version),
    /// Somebody else was faster; this is what is there.
    Conflict(Option<Box<Entry>>),
    /// It may be written, or not.
    Unknown,
}

/// What a workflow asks for.
#[derive(Debug, Clone)]
pub enum Action {
    /// Write the record at this version; answered by [`Event::Wrote`].
    Write {
        /// Which call.
        call: CallId,
        /// The version that it was decided on.
        expected: Version,
        /// The record.
        record: Box<Record>,
    },
    /// Read the record; answered by [`Event::Read`] or [`Event::Unread`].
    Read,
    /// Call a store; answered by [`Event::Replied`].
    Call(Call),
    /// Point the shards at the operation; answered by [`Event::Owned`].
    Hold {
        /// Which call.
        call: CallId,
        /// The operation.
        record: Box<Record>,
    },
    /// Write the decision into the shards; answered by [`Event::Owned`].
    Resolve {
        /// Which call.
        call: CallId,
        /// The operation.
        record: Box<Record>,
    },
    /// Send [`Event::Tick`] at that time, in place of the time asked for before.
    WakeAt(Timestamp),
    /// Tell people.
    Tell(Report),
}

/// A call of a store.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which call.
    pub id: CallId,
    /// The node whose store it is.
    pub node: NodeId,
    /// The operation.
    pub operation: OperationId,
    /// What is asked.
    pub request: Request,
}

/// What people may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The operation is in another phase.
    Phase(Phase),
    /// Writers are held back, because the copy does not catch up: they may be so many changes ahead.
    HeldBack {
        /// The number.
        ahead: u64,
    },
    /// A call failed and will be tried again.
    Failed {
        /// What went wrong.
        error: String,
    },
    /// The operation is aborted, or about to be.
    Aborting {
        /// Why.
        reason: String,
    },
}
