//! The contract of what the records of a log change.

use std::{fmt::Debug, io, io::Read, sync::Arc};

use super::{Point, Record, Snapshot, storage::is_no_room};

/// An error of a state machine, whose type is its own affair.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the records of a log change: the data of one copy.
///
/// Its methods are called one at a time, on a thread that may wait. Implementations must give equal data for equal records on every copy.
pub trait StateMachine: Debug + Send + 'static {
    /// Returns the last record whose change no crash takes back; [`Point::default`] before the first.
    ///
    /// Implementations must store it together with the data, so that a crash leaves both or neither.
    fn applied(&self) -> Point;

    /// Applies records that are committed, each once and in their order: the first one follows the last one applied, or the snapshot
    /// installed. After the return whoever reads the data sees them; they may become durable later.
    ///
    /// # Errors
    /// [`StateError`]: the copy stops. Its data is never used again, or read anew from what is durable.
    fn apply(&mut self, records: &[Arc<Record>]) -> Result<(), StateError>;

    /// Makes durable what was applied: [`StateMachine::applied`] returns the last record then. Called now and then, so that the log need
    /// not grow for ever. One whose `apply` makes everything durable has nothing to do.
    ///
    /// # Errors
    /// As [`StateMachine::apply`].
    fn save(&mut self) -> Result<(), StateError> {
        Ok(())
    }

    /// Returns the data as it is now, with the last record applied. It is read while other records are applied, or not at all.
    ///
    /// # Errors
    /// As [`StateMachine::apply`].
    fn snapshot(&mut self) -> Result<Snapshot, StateError>;

    /// Replaces the data, durably, by the content of a snapshot of another copy that reaches `base`. After a crash the data is
    /// the old one or the new one; then it is called again.
    ///
    /// # Errors
    /// As [`StateMachine::apply`].
    fn install(&mut self, base: Point, content: &mut dyn Read) -> Result<(), StateError>;
}

/// Why a state machine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// There is no room. The copy stops until there is.
    #[error("no room for the data: {0}")]
    NoRoom(#[source] io::Error),
    /// A record does not fit the data: the copies have diverged. The copy is set aside.
    #[error("a record does not fit the data")]
    Diverged(#[source] BoxError),
    /// The data cannot be used now, and nothing says that it is damaged: the process has no file descriptors left, say. The copy stops, and
    /// is opened again.
    #[error("the data cannot be used now")]
    Unusable(#[source] BoxError),
    /// The data can be neither read nor written. The copy is set aside.
    #[error("the data cannot be used")]
    Failed(#[source] BoxError),
}

impl From<io::Error> for StateError {
    fn from(error: io::Error) -> Self {
        if is_no_room(&error) {
            Self::NoRoom(error)
        } else {
            Self::Failed(error.into())
        }
    }
}
