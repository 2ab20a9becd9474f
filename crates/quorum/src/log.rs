//! The replicated log: its records, their chain, and the copy of a member.

mod chain;
mod epoch_table;
mod hash;
mod record;

pub use self::{
    chain::{Log, NotAppended},
    epoch_table::EpochTable,
    hash::Hash,
    record::{BatchMember, ClientId, Kind, Point, Record},
};
