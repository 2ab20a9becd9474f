//! What a gateway asks of the node that has a copy of a shard, and what it is answered.
//!
//! One request over HTTP each, in [postcard](https://postcard.jamesmunns.com/wire-format). A transaction, and a snapshot that is read more than
//! once, are sessions: the first answer names one, and what follows carries its number.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_hashing::Position;
use shardwright_quorum::log::{ClientId, Level};
use shardwright_sql::{
    Value,
    commit::{self, CommitId, Message, Party, Ticket},
    shards::{Fault, Fragment, Ran, StatementId, Watching},
};
use shardwright_topology::{Epoch, Lsn, NodeId};

use crate::shard::{Identity, Token};

/// The version of these messages; another one is refused.
pub(super) const VERSION: u16 = 1;

/// A request for one shard.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) shard: PartitionId,
    /// How long the answer is waited for, in milliseconds.
    pub(super) within_ms: u64,
    pub(super) ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Run a statement that reads, on data that is fresh enough.
    Read {
        basis: Basis,
        freshness: Freshness,
        fragment: Fragment,
        /// The number of the statement, if it will read the same snapshot again, and perhaps others here at the same time.
        keep: Option<u64>,
        /// How long the snapshot is used at most, in milliseconds.
        lasts_ms: u64,
    },
    /// Make all of these writes or none.
    Write {
        basis: Basis,
        number: Number,
        unit: Vec<Fragment>,
        level: CommitLevel,
    },
    /// Say what became of a write, without making it: it is known, or has not happened and never will.
    Recall { number: Number },
    /// Begin a transaction.
    Begin {
        basis: Basis,
        number: Number,
        notes: Notes,
        level: CommitLevel,
    },
    /// Say how large the file is.
    Size,
    /// Go on in a session.
    Session { session: u64, step: Step },
    /// Begin the part of this shard in a commit over several shards, once those before it have ended.
    Enlist {
        id: CommitId,
        basis: Basis,
        number: Number,
        notes: Notes,
        level: CommitLevel,
    },
    /// Hear what is said about a commit over several shards.
    Commit(Message),
    /// List what is left of commits over several shards.
    Commits,
}

impl Ask {
    /// Returns whether only the primary may answer. What goes on in a session does so where that began.
    pub(super) fn needs_primary(&self) -> bool {
        match self {
            Self::Read { freshness, .. } => {
                !matches!(freshness, Freshness::Any | Freshness::AtLeast(_))
            }
            Self::Write { .. }
            | Self::Recall { .. }
            | Self::Begin { .. }
            | Self::Size
            | Self::Enlist { .. }
            | Self::Commit(_)
            | Self::Commits => true,
            Self::Session { .. } => false,
        }
    }
}

/// What is to happen in a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Step {
    /// Run a statement in a transaction.
    Run(Fragment),
    /// Run one that is no part of what is remembered of the transaction.
    Aside(Fragment),
    /// Keep a transaction open, although nothing is run in it: other shards are asked meanwhile.
    Stay,
    /// Commit a transaction.
    Commit,
    /// Run another statement on a snapshot.
    Open(Fragment),
    /// Give the next rows of a statement.
    More(u32),
    /// Forget the session: a transaction is undone.
    End,
    /// Keep the content of a snapshot as a file that is no copy of the shard, and let the snapshot go.
    Detach,
    /// Give some bytes of that file, from there on.
    Bytes(u64),
}

/// What the plan of a statement rests on: where it is not so, nothing is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Basis {
    /// The number of the last change that reached every shard.
    pub(super) schema: Option<u64>,
    /// The epoch of the keyspace's writer, if it is the one who asks.
    pub(super) writer: Option<u64>,
}

/// How fresh the data of a read has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Freshness {
    Leased,
    Consistent,
    Any,
    AtLeast(Point),
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) enum CommitLevel {
    One,
    #[default]
    Quorum,
    All,
}

/// A place in the history of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) epoch: u64,
    pub(super) lsn: u64,
}

/// Which write of which client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Number {
    pub(super) client: [u8; 16],
    pub(super) sequence: u64,
    /// Where its key is, if it has one only: the shard that owns the position remembers it then, whatever the shards are split or merged
    /// to. Of others, one shard remembers what they did, and the others [that they did it](super::outcome_elsewhere).
    pub(super) position: Option<u64>,
}

/// What is noted of the rows that a transaction writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Notes {
    Any,
    Nothing,
    These(String),
}

/// What came of a request.
pub(super) type Answer = Result<Said, Refusal>;

/// What a shard says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Said {
    /// Rows of a statement that reads.
    Rows(Rows),
    /// What was written, and where in the history of the shard.
    Wrote { ran: Vec<Ran>, at: Point },
    /// A transaction has begun.
    Begun { session: u64 },
    /// A transaction with this number has happened before, and each of its statements did this.
    Known { ran: Vec<Ran>, at: Point },
    /// A statement in a transaction ran.
    Ran(Ran),
    /// A number of bytes.
    Size(u64),
    /// There is nothing to say.
    Done,
    /// A part has begun: its statements run in a session.
    Enlisted { ticket: Ticket, session: u64 },
    /// The part that was to be prepared is.
    Prepared,
    /// A commit is decided, and this shard shows it, as of there.
    Decided { at: Point },
    /// The part of a commit has taken effect, or is dropped, as of there.
    Resolved { at: Point },
    /// What is asked about a commit over several shards is refused.
    Refused {
        ticket: Option<Ticket>,
        refusal: commit::Refusal,
    },
    /// What is left of commits over several shards.
    Commits(Vec<Leftover>),
    /// Bytes of a file, and none after its end.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// What is left of a commit over several shards at one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leftover {
    pub(super) id: CommitId,
    /// Who decides.
    pub(super) first: Party,
    pub(super) participants: Vec<Party>,
    /// Who has not said that its part is resolved, if this shard has decided; `None` if it waits for the decision itself.
    pub(super) missing: Option<Vec<Party>>,
}

/// Some rows of a statement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Rows {
    pub(super) rows: Vec<Vec<Value>>,
    /// Under which number the next ones are had, if there are any.
    pub(super) more: Option<u32>,
    /// The session of the snapshot, if it is kept.
    pub(super) session: Option<u64>,
    /// What was read at least.
    pub(super) at: Point,
    /// How many records are known to be committed that were not read.
    pub(super) lag: u64,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// Nothing was run: another node has the primary.
    NotPrimary { hint: Option<NodeId> },
    /// Nothing was run: the same again, a little later.
    Later,
    /// Nothing was run: the schema has another number here.
    SchemaChanged,
    /// Nothing was run: there is a later writer.
    NotWriter,
    /// The session is gone, and what was not committed is undone.
    NoSession,
    /// It is not known whether it was, or will be, carried out.
    Indeterminate,
    /// Nothing of it has happened, for this reason. `ended` if a transaction is over with it.
    Fault { fault: Fault, ended: bool },
    /// Nothing was run: a change is about to reach every shard, and until then this one is not written to.
    Announced,
    /// Nothing was run: the shard is about to be replaced by others, unless it is opened again.
    Sealed,
    /// The part of a commit over several shards is undone, for this reason.
    Aborted(commit::Refusal),
}

impl From<Watching<'_>> for Notes {
    fn from(watching: Watching<'_>) -> Self {
        match watching {
            Watching::Any => Self::Any,
            Watching::Nothing => Self::Nothing,
            Watching::These(watch) => Self::These(watch.script.to_string()),
        }
    }
}

impl From<Token> for Point {
    fn from(token: Token) -> Self {
        Self {
            epoch: token.epoch.0,
            lsn: token.lsn.0,
        }
    }
}

impl From<Point> for Token {
    fn from(point: Point) -> Self {
        Self {
            epoch: Epoch(point.epoch),
            lsn: Lsn(point.lsn),
        }
    }
}

impl From<CommitLevel> for Level {
    fn from(level: CommitLevel) -> Self {
        match level {
            CommitLevel::One => Self::One,
            CommitLevel::Quorum => Self::Quorum,
            CommitLevel::All => Self::All,
        }
    }
}

impl From<StatementId> for Number {
    fn from(statement: StatementId) -> Self {
        Self {
            client: statement.client,
            sequence: statement.sequence,
            position: None,
        }
    }
}

impl Number {
    pub(super) fn identity(self) -> Identity {
        Identity {
            client: ClientId(self.client),
            sequence: self.sequence,
        }
    }

    /// Returns the number of a write that the position of one key has led to its shard.
    pub(super) fn of_key(self, position: Position) -> Self {
        Self {
            position: Some(position.0),
            ..self
        }
    }

    pub(super) fn positions(self) -> Vec<Position> {
        self.position.map(Position).into_iter().collect()
    }
}

/// Returns the bytes of a message.
pub(super) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_stdvec(&(VERSION, message)).expect("memory has no limit that a message reaches")
}

/// Returns a message from its bytes; `None` if they are not one of this version.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (version, rest) = postcard::take_from_bytes::<u16>(bytes).ok()?;
    if version != VERSION {
        return None;
    }
    let (message, rest) = postcard::take_from_bytes(rest).ok()?;
    rest.is_empty().then_some(message)
}
