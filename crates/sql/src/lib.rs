//! Many SQLite files as one database: planner, scatter and gather, adoption of existing files.

pub mod adopt;
mod answer;
mod database;
pub mod error;
pub mod export;
mod gather;
pub mod key;
mod local;
mod plan;
pub mod schema;
pub mod shards;
pub mod statement;

pub use crate::{
    answer::{Answer, Outcome, ResultColumn, ShardResult, Tier},
    database::{
        Access, CATALOG, CreateOptions, Explanation, Layout, Limits, Options, Prepared, Session,
        ShardListing, ShardedDatabase, WriteMode,
    },
    error::Error,
    key::Key,
};
pub use shardwright_store::{Encoding, Params, Row, Synchronous, Value, ValueRef};
