//! What a statement gives back.

use std::fmt;

use serde::{Deserialize, Serialize};
use shardwright_store::Value;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name: the alias, or what SQLite makes up.
    pub name: String,
    /// The declared type, if it comes straight from a column of a table.
    pub declared_type: Option<String>,
}

/// The outcome of a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The columns of the rows; empty for a statement without rows.
    pub columns: Vec<ResultColumn>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
    /// How many rows were inserted, updated or deleted, on all places together.
    pub changes: u64,
    /// The rowid of the last inserted row on the last place written.
    pub last_insert_rowid: Option<i64>,
    /// The places that were touched, by name.
    pub places: Vec<String>,
    /// How the statement ran.
    pub tier: Tier,
    /// Why it ran that way, for people.
    pub reason: String,
}

/// How a statement ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// On one place, untouched.
    Single,
    /// On several places, each of which answers for its own rows; the answers are merged.
    Scatter,
    /// On several places, rows fetched from each and the statement run over them.
    Gather,
    /// On the schema alone.
    Schema,
    /// On every place, the same statement on each.
    Broadcast,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Scatter => "scatter",
            Self::Gather => "gather",
            Self::Schema => "schema",
            Self::Broadcast => "broadcast",
        })
    }
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// How many rows were inserted, updated or deleted.
    pub changes: u64,
    /// The rowid of the last inserted row.
    pub last_insert_rowid: Option<i64>,
}

/// The outcome on one shard of a call that runs on all of them.
#[derive(Debug)]
pub struct ShardResult<T> {
    /// The shard's name.
    pub shard: String,
    /// What it answered; a failed shard never looks like one without rows.
    pub result: Result<T, crate::Error>,
}
