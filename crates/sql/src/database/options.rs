//! How a database is created and opened.

use std::time::Duration;

use shardwright_store::{Encoding, Synchronous};
use shardwright_topology::Halts;

use super::CommitGap;
use crate::schema::Undeclared;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether this process writes. One process at a time may.
    pub access: Access,
    /// What a commit waits for.
    pub synchronous: Synchronous,
    /// The most readers of one shard at once.
    pub readers: usize,
    /// Whether readers keep their snapshot open from one read to the next, which halves the cost of a keyed read.
    /// A write of this process is seen at once all the same.
    pub snapshot_reads: bool,
    /// What a write to several shards does.
    pub write_mode: WriteMode,
    /// What a read of several shards sees.
    pub read_level: ReadLevel,
    /// How far a statement that gathers rows may go.
    pub limits: Limits,
    /// How long a statement waits for a lock.
    pub busy_timeout: Duration,
    /// How many shards a call on all shards asks at once.
    pub concurrency: usize,
    /// How long a change that has to reach every place is tried again, once it is written down and a place fails: the
    /// pauses between the attempts, all together.
    pub finish_timeout: Duration,
    /// How long a transaction over several shards may hold a shard that another one waits for: the recovery time-out.
    pub commit_hold: Duration,
    /// Who is told of the moments between the durable writes of a commit over several shards. By default nobody.
    pub commit_halts: Halts<CommitGap>,
}

impl Default for Options {
    /// For reading and writing, durable against a power failure, writes to several shards all or nothing.
    fn default() -> Self {
        Self {
            access: Access::ReadWrite,
            synchronous: Synchronous::Full,
            readers: 16,
            snapshot_reads: false,
            write_mode: WriteMode::Atomic,
            read_level: ReadLevel::PerShard,
            limits: Limits::default(),
            busy_timeout: Duration::from_secs(5),
            concurrency: 8,
            finish_timeout: Duration::from_secs(10),
            commit_hold: Duration::from_secs(10),
            commit_halts: Halts::default(),
        }
    }
}

/// Whether a process writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// It may write, and no other process may.
    #[default]
    ReadWrite,
    /// It only reads.
    ReadOnly,
}

/// What a statement that writes to several shards does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteMode {
    /// It commits on all of them or on none, also after a crash. Where the places have no way to do that it is refused.
    #[default]
    Atomic,
    /// It is refused.
    Single,
    /// It commits on one shard after the other; a failure leaves it committed on those before.
    BestEffort,
}

/// What a read of several shards sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadLevel {
    /// One state of each shard. A commit over several shards may be in one of them and not yet in another.
    #[default]
    PerShard,
    /// One state of each shard, and every commit over several shards in all of its shards or in none. It costs two
    /// small reads of each shard, and is tried again while a commit is under way.
    Consistent,
}

/// How far a statement that reads may go before it is stopped. Time is for what gathers rows from several places, or reads the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows fetched.
    pub rows: u64,
    /// Bytes of values fetched.
    pub bytes: u64,
    /// Time.
    pub time: Duration,
}

impl Default for Limits {
    /// 50 million rows, 8 GiB, ten minutes: enough for any table that one machine should answer from.
    fn default() -> Self {
        Self {
            rows: 50_000_000,
            bytes: 8 << 30,
            time: Duration::from_secs(600),
        }
    }
}

/// How a database is created.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// The number of shards, from 1 to [`CreateOptions::MOST_SHARDS`].
    pub shards: usize,
    /// The text encoding of the files.
    pub encoding: Encoding,
    /// What a table becomes that nobody declared.
    pub undeclared: Undeclared,
    /// How it is then opened.
    pub options: Options,
}

impl CreateOptions {
    /// The most shards of one directory; each holds several files open.
    pub const MOST_SHARDS: usize = 1024;
}

impl Default for CreateOptions {
    /// Eight shards, UTF-8.
    fn default() -> Self {
        Self {
            shards: 8,
            encoding: Encoding::Utf8,
            undeclared: Undeclared::PrimaryKey,
            options: Options::default(),
        }
    }
}
