//! The replicated log: its records, their chain, and the copy of a member.

mod chain;
mod epoch_table;
mod hash;
mod message;
mod record;
mod replica;
mod tally;

pub use self::{
    chain::{Log, NotAppended},
    epoch_table::EpochTable,
    hash::Hash,
    message::{Answer, Append, Ask, Ballot, FenceAck, Reply, Request},
    record::{BatchMember, ClientId, Kind, Point, Record},
    replica::{Action, Durable, Event, Replica, Ticket, Write},
    tally::Tally,
};
