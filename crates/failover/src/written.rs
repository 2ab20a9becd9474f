//! What became of a write that a machine asked for.

use shardwright_registry::{Error, Revision, StoreError, Stored};

/// What became of a write that a machine asked for. Its driver reports one for each, in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It happened, at this revision.
    Done(Revision),
    /// It did not happen: the key is not at the expected revision, or the store says so.
    Refused,
    /// It happened, or will, or not.
    Unknown,
    /// It did not happen: the store could not be reached, or the record not be written.
    Failed,
}

impl Written {
    /// Returns what an answer of the registry says.
    pub fn of<T>(answer: &Result<Stored<T>, Error>) -> Self {
        match answer {
            Ok(stored) => Self::Done(stored.revision),
            Err(Error::Store(StoreError::Conflict { .. })) => Self::Refused,
            Err(Error::Store(StoreError::Unknown { .. })) => Self::Unknown,
            Err(_) => Self::Failed,
        }
    }
}
