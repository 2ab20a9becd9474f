//! What clients write to a shard, and what they are told.

use std::{sync::Arc, time::Duration};

use shardwright_hashing::Position;
use shardwright_quorum::log::{ClientId, Level};
use shardwright_store::{Error as StoreError, Member};
use shardwright_topology::{Epoch, Lsn, NodeId};

use super::{
    Ended,
    alarm::Alarm,
    part::{Preparation, Role},
};

/// What happens on a shard entirely or not at all: some statements, one after the other.
///
/// It may run more than once, and then only the last run counts: implementations must do nothing but use what they are given.
pub trait Transaction: Send + 'static {
    /// Runs it, and returns what the client is to be answered, in whatever form. A retry is answered with the same.
    ///
    /// # Errors
    /// Whatever a statement fails with; then nothing of it has happened, and the client is told.
    fn run(&mut self, member: &mut Member<'_>) -> Result<Vec<u8>, StoreError>;

    /// Returns how what it did in its last run is to be kept as a part of a commit over several shards, lasting and not visible; `None` if
    /// it is to happen.
    fn preparation(&mut self) -> Option<Preparation> {
        None
    }
}

impl<F> Transaction for F
where
    F: FnMut(&mut Member<'_>) -> Result<Vec<u8>, StoreError> + Send + 'static,
{
    fn run(&mut self, member: &mut Member<'_>) -> Result<Vec<u8>, StoreError> {
        self(member)
    }
}

/// The number that a client gave a write. A retry has the same, and happens at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The client.
    pub client: ClientId,
    /// Which of its writes.
    pub sequence: u64,
}

/// A write to a shard.
pub struct Write {
    /// What happens.
    pub transaction: Box<dyn Transaction>,
    /// Which write it is; without it, one whose outcome is unknown must not be tried again.
    pub identity: Option<Identity>,
    /// Where its keys are, so that a retry is recognized after a split too.
    pub positions: Vec<Position>,
    /// What is waited for.
    pub level: Level,
    /// How long.
    pub within: Duration,
    /// Whether nothing else may happen in the same batch.
    pub(super) exclusive: bool,
    /// What is noted of the rows that it writes.
    pub(super) watching: Watching,
    /// How long it may run, if that is less than it is waited for.
    pub(super) lasting: Option<Duration>,
    /// What ends it, and which member of its batch it is.
    pub(super) alarm: Option<(Arc<Alarm>, usize)>,
    /// What it is in a commit over several shards.
    pub(super) role: Role,
}

/// What the temporary triggers of the primary's connection note while a transaction runs. They never are part of what is replicated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Watching {
    /// Whatever they do.
    #[default]
    Any,
    /// Nothing: there are none.
    Nothing,
    /// What those of this script note.
    These(Arc<str>),
}

impl Write {
    /// Returns a write without a number, acknowledged once it is committed, within ten seconds.
    pub fn new(transaction: impl Transaction) -> Self {
        Self {
            transaction: Box::new(transaction),
            identity: None,
            positions: Vec::new(),
            level: Level::Quorum,
            within: Duration::from_secs(10),
            exclusive: false,
            watching: Watching::Any,
            lasting: None,
            alarm: None,
            role: Role::Plain,
        }
    }

    /// Runs it, unless its batch has no time any more.
    pub(super) fn run(&mut self, member: &mut Member<'_>) -> Result<Vec<u8>, StoreError> {
        match &self.alarm {
            Some((alarm, number)) if !alarm.begin(*number) => Err(StoreError::Interrupted),
            _ => self.transaction.run(member),
        }
    }

    /// Waits for another level, and for so long.
    #[must_use]
    pub fn until(self, level: Level, within: Duration) -> Self {
        Self {
            level,
            within,
            ..self
        }
    }

    /// Gives it a number, and says where its keys are.
    #[must_use]
    pub fn identified(self, identity: Identity, positions: Vec<Position>) -> Self {
        Self {
            identity: Some(identity),
            positions,
            ..self
        }
    }
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Write")
            .field("identity", &self.identity)
            .field("positions", &self.positions)
            .field("level", &self.level)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// A place in the history of a shard. Whoever reads no earlier than there sees all that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The epoch of the record there.
    pub epoch: Epoch,
    /// Its number.
    pub lsn: Lsn,
}

/// A write that reached the level that was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What the transaction returned.
    pub outcome: Vec<u8>,
    /// Where it is in the history of the shard.
    pub token: Token,
    /// Whether it had happened before, and only its outcome was looked up.
    pub repeated: bool,
}

/// Why a write is not known to have happened.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// It did not happen: SQLite refused it.
    #[error(transparent)]
    Refused(Arc<StoreError>),
    /// It did not happen: this node does not have the primary. Ask the one that does.
    #[error("this node does not have the primary, {} may", .hint.as_ref().map_or("nobody known", NodeId::as_str))]
    NotPrimary {
        /// The node of the primary, as the registry said last.
        hint: Option<NodeId>,
    },
    /// It did not happen: too much waits. Try again later.
    #[error("too much waits for this shard")]
    Overloaded,
    /// It did not happen in time. Try again later.
    #[error("the write did not begin in time")]
    Late,
    /// It did not happen: the transaction ended by itself before.
    #[error(transparent)]
    Ended(Ended),
    /// It did not happen: its changes take more room than one record may. Write less at once.
    #[error("the changes take {bytes} bytes, more than {max}")]
    TooLarge {
        /// Their size.
        bytes: usize,
        /// The largest size.
        max: usize,
    },
    /// It did not happen: the copy on this node is out of order. Ask another node.
    #[error("the copy on this node does not run")]
    NotRunning,
    /// It did not happen now, and may have happened long ago: its outcome is not kept any more.
    #[error("what became of this write is not kept any more")]
    Forgotten,
    /// It happened or not, or will. Ask again with the same number; without one, look.
    #[error("it is not known whether the write is committed")]
    Indeterminate,
}

impl WriteError {
    /// Returns whether the same write may be given again. Where it is unknown what became of it, only one with a number.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotPrimary { .. }
            | Self::Overloaded
            | Self::Late
            | Self::NotRunning
            | Self::Indeterminate => true,
            // What was said in it is gone: its author has to begin again.
            Self::Ended(_) => false,
            Self::Refused(error) => error.is_retryable(),
            Self::TooLarge { .. } | Self::Forgotten => false,
        }
    }
}
