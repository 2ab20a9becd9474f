//! What happens to a copy of a log.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shardwright_topology::{ConfigId, Lsn, Member, NodeId, ShardRecord, Timestamp};

use crate::log::{BatchMember, Kind, Point, Reply, Request, Ticket};

/// What happens to a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something is asked; `call` comes back with the answer.
    Request {
        /// The node that asks.
        from: NodeId,
        /// Names the request to the driver.
        call: u64,
        /// What is asked.
        request: Request,
    },
    /// A member or a learner answered.
    Reply {
        /// Its node.
        from: NodeId,
        /// The answer.
        reply: Reply,
    },
    /// All writes up to this one are durable.
    Persisted(Ticket),
    /// A write failed: what is durable is unknown. It is never retried; once the fault is gone, the copy is opened again by
    /// [`Participant::reopen`](super::Participant::reopen), with what is read back if there was no room, else under a new id.
    PersistFailed,
    /// The registry showed the shard's record, now or a while ago.
    Shard {
        /// The record.
        record: Box<ShardRecord>,
        /// In which zone each node is, as far as it is known.
        zones: BTreeMap<NodeId, String>,
    },
    /// The registry confirmed that this configuration is the active one, or was: its record said so after a change or a read.
    Activated(ConfigId),
    /// The registry has another configuration pending or active than this one, whose activation was asked for.
    Superseded(ConfigId),
    /// These copies are to be kept up to date although they do not count.
    Learners(BTreeSet<Member>),
    /// Somebody reads the log, and has come so far: the records after that are kept, for so long, if this copy is or becomes the primary. Only the
    /// last one counts.
    Hold {
        /// The last record that is not needed.
        after: Lsn,
        /// How long the others are.
        lasting: Duration,
    },
    /// Some want records to be appended, in this order. They become durable in one write.
    Submit(Vec<Submission>),
    /// Somebody wants to read what is committed.
    Read {
        /// Names the read to the driver.
        read: u64,
        /// How it is made sure that nothing is missing.
        level: ReadLevel,
    },
    /// The data holds, durably, what the records up to this one say.
    Applied(Lsn),
    /// A snapshot that was asked for is stored aside, durably, and reaches this place.
    SnapshotStored(Point),
    /// Some time passed.
    Tick,
}

/// A record that is to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Names it to the driver.
    pub id: u64,
    /// What the record does.
    pub kind: Kind,
    /// The writes of clients in it.
    pub members: Vec<BatchMember>,
    /// Its content.
    pub payload: Vec<u8>,
    /// The record that it has to follow, if its content was made from the data as that left it.
    pub after: Option<Lsn>,
    /// What is waited for.
    pub level: Level,
    /// Until when.
    pub deadline: Timestamp,
}

/// What somebody waits for who appends a record. Whether a record is committed does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// It is durable on the primary, and may yet be lost at a failover.
    One,
    /// It is committed.
    Quorum,
    /// It is committed and durable on every member.
    All,
}

/// How a read makes sure that it sees every acknowledged write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadLevel {
    /// By the lease of the primary if it has one, else as [`ReadLevel::Consistent`].
    Leased,
    /// By asking the members.
    Consistent,
}
