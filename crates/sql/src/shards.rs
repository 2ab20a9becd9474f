//! What the engine asks of the places where rows live, and all that it asks of them.
//!
//! The engine plans with schema and map alone. What a plan needs from outside goes through [`Places`]: a statement
//! for one place, a [unit](Places::write) of writes for one place, or a [transaction](PlaceTransaction) there. Reads of
//! several places that belong together go through [`Shards`], one value for each statement. Merging and virtual tables
//! see nothing but [`RowSource`].
//!
//! What goes in is text and values, and what comes out is rows, numbers and [`Fault`]s. So a place may be a file of
//! this process, as those of [`LocalPlaces`](crate::LocalPlaces) are, or be on another machine: the engine of the
//! embedded database is the engine of a gateway. Everything that is sent is `Serialize` and `Deserialize`, in a form
//! that suits compact encodings such as postcard.

mod apart;
mod call;
mod fault;
mod part;
mod places;

use std::{fmt::Debug, rc::Rc, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use shardwright_store::Value;
pub use shardwright_store::{Batch, Sql};

pub(crate) use self::part::{Parts, roll_call};
pub use self::{
    apart::{Apart, Stop},
    call::{Call, Ran, StatementId},
    fault::{Fault, FaultKind},
    places::{Enlisted, JointTransaction, PlaceTransaction, Places, Visit, Watch, Watching},
};
use crate::error::Error;

/// The key of a place's table `_meta` under which it keeps the number of the last broadcast that it has: of the last
/// change of the schema or of a reference table. Broadcasts are numbered from one without gaps, and reach every place
/// in their order. A place without the key has had none.
pub const BROADCAST_KEY: &str = "sql.broadcast";

/// The key of a place's table `_meta` under which it counts the announcements of broadcasts and their ends: it is [odd](is_announced)
/// while one stands. A place without the key has had none.
///
/// A broadcast is announced at every place before it is written down. From then until it is committed there or withdrawn, a
/// place must refuse whatever writes and carries the number of a schema, also the right one, with
/// [`FaultKind::SchemaChanged`], so that nothing gets in the way of what will happen. Reads go on.
pub const ANNOUNCED_KEY: &str = "sql.announced";

/// Whether an announcement stands, by what a place keeps under [`ANNOUNCED_KEY`].
#[must_use]
pub fn is_announced(kept: u64) -> bool {
    kept % 2 == 1
}

/// A place where rows live: a shard, or the catalog shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// The shard at this index of the shard map.
    Shard(usize),
    /// The catalog shard, which holds global tables and a copy of the reference tables.
    Catalog,
}

/// A statement for one place, which owns all that it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fragment {
    /// The SQL text.
    pub sql: Arc<str>,
    /// The values of its parameters, by position.
    pub params: Vec<Value>,
    /// The values of those that are given by name.
    pub named: Vec<(Arc<str>, Value)>,
}

/// The places of one keyspace, as one statement that reads sees them.
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

    /// Starts the same fragment at several places, in whose order the sources are. It is the last that is asked of these snapshots.
    ///
    /// Implementations that can should let all places work at the same time ([`Apart`]), and end with [`Error::OutOfTime`] a source whose
    /// next batch takes longer than `patience`.
    ///
    /// # Errors
    /// As [`run`](Shards::run).
    fn scatter(
        self: Rc<Self>,
        places: &[Place],
        fragment: &Fragment,
        _patience: Duration,
    ) -> Result<Vec<Box<dyn RowSource>>, Error> {
        places
            .iter()
            .map(|place| self.run(*place, fragment))
            .collect()
    }

    /// Returns the content of a place's snapshot, as a file that has no more to do with the place: none of the engine's notes of what is
    /// under way, and nothing by which the place would be taken for another copy of itself. The snapshot may be let go with that, so that
    /// no fragment runs on it any more.
    ///
    /// # Errors
    /// When the place cannot be reached, or gives no files.
    fn file(&self, place: Place) -> Result<Box<dyn ByteSource>, Error> {
        Err(Error::Unsupported {
            what: format!("a copy of the file of {}", self.name(place)),
            hint: "export the database, or copy its directory while nobody has it open",
        })
    }
}

/// The bytes of a file, in pieces.
pub trait ByteSource: Debug {
    /// How many bytes there are in all.
    fn size(&self) -> u64;

    /// Returns the next bytes, and none after the end.
    ///
    /// # Errors
    /// When the place fails; the bytes handed over so far are then worth nothing.
    fn next_bytes(&mut self) -> Result<Vec<u8>, Error>;
}

/// The rows of a fragment, in batches.
pub trait RowSource: Debug {
    /// Fills `batch` with the next rows in place of what it held. Returns `false`, with an empty batch, after the end.
    ///
    /// # Errors
    /// When the place fails; the rows handed over so far are then worth nothing.
    fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, Error>;
}
