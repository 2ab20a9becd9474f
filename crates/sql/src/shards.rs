//! What the engine asks of the shards: run a fragment, and hand over its rows.
//!
//! Merging and virtual tables see nothing but [`RowSource`], so the engine of the embedded database is the engine of
//! a gateway: there a source is the end of a channel, here it is a cursor of a local file.

use std::{fmt::Debug, sync::Arc};

use shardwright_store::{Batch, Value};

use crate::error::Error;

/// A place where rows live: a shard, or the catalog shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The shard at this index of the shard map.
    Shard(usize),
    /// The catalog shard, which holds global tables and a copy of the reference tables.
    Catalog,
}

/// A statement for one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    /// The SQL text.
    pub sql: Arc<str>,
    /// Its positional parameters.
    pub params: Vec<Value>,
}

/// The places of one keyspace, as one statement sees them.
///
/// Implementations must answer every fragment for one place from one snapshot of it, for the life of the value: a
/// statement that reads a shard twice sees the same rows.
pub trait Shards: Debug {
    /// How many shards there are, the catalog not counted.
    fn count(&self) -> usize;

    /// The name of a place.
    fn name(&self, place: Place) -> &str;

    /// Starts a fragment. Dropping the source cancels it.
    ///
    /// # Errors
    /// When the place cannot be reached or refuses the statement.
    fn run(&self, place: Place, fragment: &Fragment) -> Result<Box<dyn RowSource>, Error>;
}

/// The rows of a fragment, in batches.
pub trait RowSource: Debug {
    /// Fills `batch` with the next rows in place of what it held. Returns `false`, with an empty batch, after the end.
    ///
    /// # Errors
    /// When the place fails; the rows handed over so far are then worth nothing.
    fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, Error>;
}
