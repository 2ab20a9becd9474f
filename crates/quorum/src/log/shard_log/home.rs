//! Where a copy is kept, and where it is announced.

use std::{
    fmt::{self, Debug},
    io,
    path::Path,
};

use async_trait::async_trait;
use shardwright_topology::{Incarnation, Member, ReplicaId, ShardId};

use crate::log::{BoxError, Durable, StateError, StateMachine, Storage, storage::is_no_room};

/// Where a copy is kept. Its methods are called one at a time, on threads that may wait.
pub trait Home: Debug + Send + 'static {
    /// The data.
    type State: StateMachine;

    /// Opens what is kept, or begins an empty copy with the id `fresh`. What an earlier call returned is dropped by then.
    ///
    /// Implementations must see to it that there is room for some writes.
    ///
    /// # Errors
    /// [`OpenError`]: nothing changed.
    fn open(&mut self, fresh: ReplicaId) -> Result<Opened<Self::State>, OpenError>;

    /// Puts away all that is kept, so that the next [`Home::open`] begins an empty copy, and returns what is left of the log if it can be
    /// read. Nothing is removed: people may want to look at it.
    ///
    /// # Errors
    /// [`OpenError`]: it is called again.
    fn set_aside(&mut self) -> Result<Option<Durable>, OpenError>;

    /// Returns a directory for snapshots of other copies. It belongs to the copy: putting that away takes it along.
    fn directory(&self) -> &Path;
}

/// What was kept of a copy.
pub struct Opened<S> {
    /// Takes the next writes.
    pub storage: Box<dyn Storage>,
    /// All writes so far.
    pub durable: Durable,
    /// The data.
    pub state: S,
}

impl<S: Debug> Debug for Opened<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Opened");
        shown.field("replica_id", &self.durable.replica_id);
        shown.field("state", &self.state).finish_non_exhaustive()
    }
}

/// Why a copy could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no room to go on. It is tried again.
    #[error("no room for the copy: {0}")]
    NoRoom(#[source] io::Error),
    /// It cannot be read now. It is tried again.
    #[error("the copy cannot be opened")]
    Failed(#[source] BoxError),
    /// Something that was durable is missing or damaged. The copy is set aside.
    #[error("the copy is damaged")]
    Damaged(#[source] BoxError),
}

impl From<StateError> for OpenError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::NoRoom(source) => Self::NoRoom(source),
            StateError::Unusable(source) => Self::Failed(source),
            StateError::Diverged(source) | StateError::Failed(source) => Self::Damaged(source),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        if is_no_room(&error) {
            Self::NoRoom(error)
        } else {
            Self::Failed(error.into())
        }
    }
}

/// Where copies are announced: the way to those who make configurations.
#[async_trait]
pub trait Registrar: Debug + Send + Sync + 'static {
    /// Announces a copy that is about to run, and returns the number of this opening. It is called again whenever the copy is opened.
    ///
    /// Implementations must return a number that no opening on this node ever had, in this process or another one.
    ///
    /// # Errors
    /// Whatever hindered it: it is called again.
    async fn register(&self, shard: &ShardId, copy: &Member) -> Result<Incarnation, BoxError>;
}
