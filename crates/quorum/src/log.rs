//! The replicated log of a shard: what was acknowledged is on a majority of its copies, in one order, whoever fails.
//!
//! The registry says which copies are the members of a shard, and which one is the primary, at which epoch; the log decides what
//! counts. A new primary fences the members before, adopts the newest of their logs, and commits nothing until it holds a record of
//! its own epoch on a majority and the registry has made its configuration the active one (Vertical Paxos II with Raft's rules for
//! logs). Clocks decide nothing but whether a read needs a round of questions.
//!
//! - [`Participant`] is a copy as a pure machine, member and primary in one; [`Replica`] is the member in it, [`Log`] its records.
//! - [`ShardLog`] runs one: a task, a thread that makes writes durable, a thread that applies them to a [`StateMachine`].
//! - [`segments`] keeps what is durable in files, and takes damage for damage, never for absence.
//! - [`peer`] has the connections between nodes, which prove to one another that they hold the cluster's token.
//!
//! Each [`Record`] covers all before it by its hash, so two logs with the same last [`Point`] are the same log:
//!
//! ```
//! use std::sync::Arc;
//! use shardwright_quorum::{log::{Kind, Log, NotAppended, Record}, topology::Epoch};
//!
//! let mut log = Log::default();
//! let first = Arc::new(Record::after(log.last(), Epoch(1), Kind::Epoch, vec![], vec![]));
//! log.extend(&[Arc::clone(&first)])?;
//! assert_eq!(log.last(), first.point());
//! assert_eq!(log.extend(&[first]), Err(NotAppended::Detached(log.last().lsn)));
//! # Ok::<_, NotAppended>(())
//! ```
//!
//! # Guarantees
//!
//! - A record that was acknowledged at [`Level::Quorum`] or [`Level::All`] survives the loss of any minority of the copies at any moment,
//!   and of more only if an operator accepts that by the shard's name, which every later acknowledgement shows.
//! - One process appends at an epoch, and none of an earlier epoch commits anything once a later one is active.
//! - A read at either [`ReadLevel`] sees every record that was acknowledged before it was asked for.
//! - A copy that may have lost something takes no part until it begins anew under another id. Full and broken disks stop the copy, never
//!   the process.

mod chain;
mod directory;
mod epoch_table;
mod hash;
mod message;
mod participant;
pub mod peer;
mod record;
mod replica;
pub mod shard_log;
mod snapshot;
mod state_machine;
mod storage;
mod tally;

pub use self::storage::segments;
pub use self::{
    chain::{Log, NotAppended},
    epoch_table::EpochTable,
    hash::Hash,
    message::{Answer, Append, Ask, Ballot, FenceAck, Reply, Request, Stamp},
    participant::{
        Action, Event, Follower, Level, Outcome, Participant, ReadLevel, Report, Settings,
        Submission,
    },
    record::{BatchMember, ClientId, Kind, Point, Record},
    replica::{Durable, Fault, Replica, Ticket, Unclean, Write},
    storage::{Storage, StorageError},
    tally::Tally,
};
pub use self::{
    shard_log::ShardLog,
    snapshot::Snapshot,
    state_machine::{BoxError, StateError, StateMachine},
};
