//! Many SQLite files as one database: planner, scatter and gather, adoption of existing files.
//!
//! A [`ShardedDatabase`] is a directory of SQLite files, the shards. A row of a sharded table lives on the shard that
//! owns its key; reference tables have a copy on every shard; global tables live on the catalog shard. A statement
//! that names its key runs on one shard, untouched. Any other SELECT is answered by every shard for its own rows where that is exact, and
//! otherwise over rows that are fetched from the shards, in a private SQLite; it has the answer that one file with all rows would
//! give. A statement that cannot have exactly that answer is refused, with a [code](Error::code) and a [hint](Error::hint).
//!
//! ```
//! use shardwright_sql::{CreateOptions, ShardedDatabase, Tier, Value};
//!
//! # let directory = tempfile::tempdir()?;
//! let db = ShardedDatabase::create(directory.path().join("shop"), &CreateOptions::default())?;
//! db.execute("CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT)", ())?;
//! db.execute(
//!     "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, total REAL)
//!      /* shardwright: shard_key=customer_id colocate_with=customers */",
//!     (),
//! )?;
//! db.run(7, "INSERT INTO customers VALUES (7, 'Ada')", ())?;
//! db.run(7, "INSERT INTO orders(customer_id, total) VALUES (7, 10.5), (7, 20)", ())?;
//!
//! // The join names the key, and equal keys share a shard.
//! let spent = "SELECT name, sum(total) FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = ?1";
//! let answer = db.execute(spent, &[Value::from(7)])?;
//! assert_eq!((answer.tier, answer.rows[0][1].as_f64()), (Tier::Single, Some(30.5)));
//!
//! // Without a key, every shard is asked.
//! let answer = db.execute("SELECT count(*) FROM orders", ())?;
//! assert_eq!((answer.tier, answer.first_value()), (Tier::Scatter, Some(&Value::from(2))));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! All that the engine asks of the places where rows live is in [`shards`]. The files of a directory are the usual
//! places; [`ShardedDatabase::over`] takes any others.
//!
//! # Guarantees
//!
//! - A SELECT answers as one SQLite file would, or is refused. It never answers from a part of the rows.
//! - A write is atomic, whether its rows are on one shard or on several, also after a crash; so is a transaction, whose
//!   statements may each be on another shard. A change of the schema or of a reference table reaches every place or none.
//! - [`ShardedDatabase::read_consistent`] sees such a commit on all of its shards or on none. Other reads see one state of
//!   each shard.
//! - Primary keys and UNIQUE constraints hold over all shards.
//! - One process writes; others may read.
//!
//! # What this crate does not do
//!
//! It has no server and no replication. The machines of a commit over several shards are in [`commit`]; here they are driven on
//! the files of one directory, and elsewhere the places [make it](shards::Places::join), or such a write is refused unless it is to be
//! made shard by shard. Foreign keys between rows of different shards are not enforced; adoption reports them.

pub mod adopt;
mod answer;
pub mod backup;
pub mod commit;
mod database;
pub mod error;
pub mod export;
mod gather;
pub mod health;
pub mod json;
pub mod key;
mod local;
mod meter;
mod placement;
mod plan;
mod scatter;
pub mod schema;
pub mod shards;
pub mod statement;

pub use crate::{
    answer::{Answer, Outcome, ResultColumn, ShardResult, Tier},
    database::{
        Access, Allocation, CATALOG, CommitGap, CreateOptions, Description, DirectoryEntry, Draft,
        Drift, DriftKind, Explanation, Layout, Limits, LookupForm, Options, Page, PlaceStanding,
        Prepared, ReadLevel, Reassigned, SchemaStanding, Session, ShardListing, ShardStats,
        ShardedDatabase, Strategy, Unresolved, WriteMode,
    },
    error::Error,
    key::Key,
    local::LocalPlaces,
    placement::{PlacedTable, Placement},
};
pub use shardwright_registry as registry;
pub use shardwright_store::{Encoding, Params, Row, Synchronous, Value, ValueRef};
