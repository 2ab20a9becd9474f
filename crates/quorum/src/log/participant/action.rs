//! What the driver of a copy has to do.

use shardwright_topology::{ConfigId, Epoch, Lsn, NodeId};

use super::Level;
use crate::log::{Fault, Point, Reply, Request, Ticket, Write};

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make this durable, in the order of the tickets, and report it. Many may become durable at once.
    Persist(Ticket, Write),
    /// Answer a request.
    Reply(u64, Reply),
    /// Ask another node.
    Send {
        /// The node.
        to: NodeId,
        /// What is asked.
        request: Request,
    },
    /// Apply the records up to and with this one, in their order.
    Apply(Lsn),
    /// Get a snapshot from a node and store it aside, unless one is being fetched; then report it.
    FetchSnapshot {
        /// The node.
        from: NodeId,
    },
    /// Let the snapshot that was stored aside be the data: the log begins after it.
    Install(Point),
    /// Make this pending configuration the active one, by compare-and-set on the shard's record, and report what the record says then.
    /// It is asked for again until that is known.
    Activate(ConfigId),
    /// Answer whoever submitted a record.
    Answer {
        /// Which.
        id: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// Answer a read, from the data once it has applied this; or refuse it: this copy is not the primary.
    ReadAt {
        /// Which.
        read: u64,
        /// The record.
        applied: Option<Lsn>,
    },
    /// Tell people.
    Report(Report),
}

/// What became of a submitted record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It reached the level.
    Reached {
        /// Its number.
        lsn: Lsn,
        /// The epoch it was appended at.
        epoch: Epoch,
        /// The level.
        level: Level,
    },
    /// It was not appended: this copy is not the primary.
    NotPrimary,
    /// It was not appended: too many wait. Try again later.
    Overloaded,
    /// It was not appended: the log has gone on since the record that it was to follow.
    Outrun {
        /// The last record.
        last: Lsn,
    },
    /// It is appended or not: ask the next primary with the same number.
    Indeterminate,
}

/// Something that people should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// This copy is the primary, and what it appends counts.
    Leading(Epoch),
    /// This copy is not the primary any more.
    SteppedDown(Epoch),
    /// The copy is set aside.
    Faulty(Fault),
    /// A member has seen a later epoch active than the registry: the registry went back in time. The attempt is given up.
    RegistryWentBack {
        /// What the registry says.
        registry: Epoch,
        /// What the member saw.
        seen: Epoch,
    },
    /// An operator accepted a loss, and this copy goes on with the newest log that it was shown. All after that may be lost.
    AcceptsLoss {
        /// The epoch that begins so.
        epoch: Epoch,
        /// How many copies showed their logs.
        copies: usize,
        /// Where the newest one ends.
        last: Lsn,
    },
    /// Two configurations claim an epoch: the registry went back in time.
    TwoConfigs(Epoch),
}
