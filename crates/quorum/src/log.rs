//! The replicated log: its records, their chain, and the machine of a copy that is a member or the primary.

mod chain;
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
