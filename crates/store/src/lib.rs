//! One SQLite shard file: one writer, several readers, write batches, snapshots, scans and hashes.
//!
//! A [`ShardFile`] is an SQLite file in WAL mode that says in its `_meta` table what it is. It lends
//! [`Reader`]s for single reads, [`Snapshot`]s for many reads of one state, and one [`Writer`].
//! Nothing waits except for a connection or a lock, and no longer than
//! [`Config::busy_timeout`]. Everything is synchronous and runs on the caller's thread.
//!
//! ```
//! use shardwright_store::{Config, Identity, ShardFile, Value};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("shard-0.db");
//! let file = ShardFile::create(&path, &Identity::new("shop", "shard-0"), &Config::default())?;
//!
//! let mut writer = file.writer()?;
//! writer.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)", ())?;
//! writer.execute("INSERT INTO users VALUES (?1, ?2)", &[Value::from(1), Value::from("Ada")])?;
//!
//! let name = file.reader()?.query_row(
//!     "SELECT name FROM users WHERE id = ?1",
//!     &[Value::from(1)],
//!     |row| row.get(0).to_value(),
//! )?;
//! assert_eq!(name, Some(Value::from("Ada")));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - A file that is missing, damaged, foreign or of another format is refused by name.
//! - A file that is being created is never taken for a complete one, whenever the process dies.
//! - A read sees every commit of this process that returned before it began.
//!
//! # Copies of a shard
//!
//! With the feature `capture`, which is off by default, a file can be one of several copies. One of them
//! runs statements: `Writer::execute_batch` leaves the transaction open and gives the `ChangeSet` of
//! its net changes, and `Writer::commit_at` commits it at a position in the shard's log. The others get
//! the same change set, and `Writer::apply` brings them to the same rows at the same position, or says
//! that they have gone apart. The outcomes of requests are stored in the same transaction, so
//! `Writer::find` tells on every copy whether a request was executed. `Snapshot::copy_to` and
//! `ShardFile::install` make a new copy from an old one, and a `Scrub` compares copies.
//!
//! SQLite has to be compiled with its preupdate hook for that. In a workspace that uses the feature,
//! `.cargo/config.toml` needs
//!
//! ```toml
//! [env]
//! LIBSQLITE3_FLAGS = "-DSQLITE_ENABLE_SESSION -DSQLITE_ENABLE_PREUPDATE_HOOK"
//! ```
//!
//! and the build says so where it is missing.
//!
//! # What this crate does not do
//!
//! It does not know keys, ranges or other shards, and it does not keep two processes from writing the
//! same file; SQLite's lock makes one wait for the other.

#[cfg(feature = "capture")]
mod aside;
mod batch;
#[cfg(feature = "capture")]
mod capture;
#[cfg(feature = "capture")]
mod changes;
mod check;
mod checkpoint;
mod clock;
mod commits;
mod config;
mod connection;
#[cfg(feature = "capture")]
mod copy;
mod create;
mod cursor;
#[cfg(feature = "capture")]
mod dedup;
mod describe;
mod digest;
mod error;
mod file;
mod flush;
mod function;
mod guard;
mod identity;
#[cfg(feature = "capture")]
mod install;
#[cfg(feature = "capture")]
mod join;
mod params;
#[cfg(feature = "capture")]
mod part;
mod pool;
mod reader;
#[cfg(feature = "capture")]
mod replica;
mod row;
#[cfg(feature = "capture")]
mod scrub;
mod session;
mod snapshot;
mod statement;
#[cfg(feature = "capture")]
mod still;
mod table;
mod value;
mod writer;

pub use crate::{
    batch::Batch,
    check::{Checkpoint, Checkpointed, Orphan, Thoroughness},
    config::{Access, Config, Expect, Mover, Synchronous},
    connection::Outcome,
    cursor::Cursor,
    describe::{Column, Description, Origin},
    digest::{Digest, RowDigest},
    error::{ConstraintKind, Error, Holder, Result},
    file::ShardFile,
    function::{Determinism, Function},
    identity::{Encoding, FORMAT, Identity, META_TABLE, SYSTEM_TABLES},
    params::Params,
    reader::Reader,
    row::Row,
    snapshot::{Interrupter, Snapshot},
    statement::{Sql, Statement},
    table::{KeyColumn, KeyRange, RowKey, Table},
    value::{Value, ValueRef},
    writer::{Decision, Executed, Fate, Member, Writer},
};
#[cfg(feature = "capture")]
pub use crate::{
    changes::{
        CHANGES_BYTES_MAX, CHANGES_VERSION, Change, ChangeSet, ChangedKey, ChangedTable, Changes,
        RowChange, Setting, Values,
    },
    copy::FileCopy,
    dedup::{Entry, Seen, Window, is_name, is_stream},
    error::{Difference, ReplicaError},
    join::{Both, Join},
    part::{DividedTable, Keeps, Part, PartCopy, Whole},
    replica::{Applied, Replica},
    scrub::{Scrub, ScrubPlace, ScrubSlice, Scrubbed},
    still::FileBytes,
    writer::Captured,
};
