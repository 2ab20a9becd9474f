//! How a shard file is opened.

use std::time::Duration;

use crate::function::Function;

/// How a shard file is opened. The same for all connections to it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether the file may be written.
    pub access: Access,
    /// The most readers and snapshots that may be in use at once. Connections are opened when they
    /// are first needed and kept. Rule of thumb: as many as threads that read, plus the snapshots.
    pub readers: usize,
    /// What a commit waits for.
    pub synchronous: Synchronous,
    /// Whether readers keep their read transaction open from one read to the next, which halves the
    /// cost of a keyed read. A reader still sees each commit of this process that came before its
    /// read began; a commit of another process it sees after at most `snapshot_age_max`.
    pub snapshot_reads: bool,
    /// How long a kept read transaction may serve. Only with `snapshot_reads`.
    pub snapshot_age_max: Duration,
    /// How many prepared statements each connection keeps.
    pub statement_cache: usize,
    /// Whether foreign keys are enforced.
    pub foreign_keys: bool,
    /// How long an operation waits for a lock, the writer or a reader before it is
    /// [`Error::Busy`](crate::Error::Busy).
    pub busy_timeout: Duration,
    /// The number of pages in the write-ahead log at which a commit moves them into the file.
    /// Larger makes commits cheaper and reads dearer.
    pub checkpoint_pages: u32,
    /// Who moves them where many have gathered; a thread unless told otherwise.
    pub mover: Mover,
    /// SQL functions that every connection has.
    pub functions: Vec<Function>,
    /// Statements that every new connection runs, such as `PRAGMA cache_size`.
    pub setup_sql: String,
    /// Whose file it must be.
    pub expect: Expect,
}

impl Default for Config {
    /// Read and write, durable against a power failure, foreign keys enforced.
    fn default() -> Self {
        Self {
            access: Access::ReadWrite,
            readers: 16,
            synchronous: Synchronous::Full,
            snapshot_reads: false,
            snapshot_age_max: Duration::from_millis(50),
            statement_cache: 128,
            foreign_keys: true,
            busy_timeout: Duration::from_secs(5),
            checkpoint_pages: 1000,
            mover: Mover::default(),
            functions: Vec::new(),
            setup_sql: String::new(),
            expect: Expect::default(),
        }
    }
}

/// Whether a file may be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// One writer and several readers.
    #[default]
    ReadWrite,
    /// Readers only; another process may write. SQLite needs to write its shared memory beside the
    /// file, so the directory must be writable unless another process has the file open.
    ReadOnly,
    /// Readers only, and nobody changes the file while it is open: no locks and no files beside it.
    /// The choice for read-only media and directories. A write-ahead log beside the file is ignored.
    Immutable,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Each commit is on disk before it returns.
    #[default]
    Full,
    /// A power failure may undo the last commits, never part of one. A crash of the process undoes none.
    Normal,
    /// A power failure may corrupt the file. For files that can be made again.
    Off,
}

impl Synchronous {
    pub(crate) fn keyword(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
            Self::Off => "OFF",
        }
    }
}

/// Who moves what has gathered in the write-ahead log into the file, where that is much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mover {
    /// A thread of its own: no commit waits for it.
    #[default]
    Thread,
    /// The commit that finds it. Then what the file and the log hold follows from what was done with them alone, as simulations need it.
    Commit,
}

/// What a file must say about itself to be opened. `None` accepts anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// The database it must belong to.
    pub database: Option<String>,
    /// The place in that database that it must hold.
    pub place: Option<String>,
}
