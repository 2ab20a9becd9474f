//! The journal: where operations are written down before they do anything, by compare-and-set.

mod memory;
mod registry;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use shardwright_registry::BoxError;
use shardwright_topology::{OperationId, ShardId};

pub use self::{memory::MemoryJournal, registry::RegistryJournal};
use crate::{Part, Record};

/// The version of a stored operation, which a change of it must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// An operation as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The operation.
    pub record: Record,
    /// What a change of it must name.
    pub version: Version,
}

/// A call to a journal that did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The operation is not as the caller expected it. Nothing changed; decide again on what was found.
    #[error("somebody else changed the operation first")]
    Conflict {
        /// The operation as it is; `None` if it is no more.
        found: Option<Box<Entry>>,
    },
    /// Another operation holds a shard. Nothing changed for that shard.
    #[error("shard {shard} takes part in operation {holder}")]
    Held {
        /// The shard.
        shard: ShardId,
        /// The operation that holds it.
        holder: OperationId,
    },
    /// A shard is not what the operation takes it for: it is gone, or owns other keys. Plan again.
    #[error("shard {shard} is not as it was when the operation was planned")]
    Stale {
        /// The shard.
        shard: ShardId,
    },
    /// The operation cannot be kept in this journal.
    #[error("shard {shard} owns keys that this journal cannot describe")]
    Unsupported {
        /// The shard.
        shard: ShardId,
    },
    /// The shard commits on several members. It is moved by a change of them, and merged only with shards that do so too.
    #[error(
        "shard {shard} commits on several members: it is not moved by an operation, nor merged with one that does not"
    )]
    Replicated {
        /// The shard.
        shard: ShardId,
    },
    /// The shards are where they cannot become one, and cannot be brought together. Nothing changed for the shards.
    #[error("the shards cannot be brought together: {reason}")]
    Apart {
        /// Why.
        reason: Arc<str>,
    },
    /// It is not known whether the change happened. Read the operation again.
    #[error("it is not known whether the operation has changed")]
    Unknown(#[source] BoxError),
    /// The journal cannot be reached. Nothing changed.
    #[error("the journal is not available")]
    Unavailable(#[source] BoxError),
    /// What the journal holds cannot be read.
    #[error("the journal cannot be read")]
    Damaged(#[source] BoxError),
}

impl JournalError {
    /// Returns whether the same call may simply be repeated, later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::Unavailable(_) => true,
            Self::Conflict { .. }
            | Self::Held { .. }
            | Self::Stale { .. }
            | Self::Unsupported { .. }
            | Self::Replicated { .. }
            | Self::Apart { .. }
            | Self::Damaged(_) => false,
        }
    }
}

/// Where operations and the ownership of shards are written down.
///
/// Several processes may use one journal at once: of two changes of an operation that were decided on the same version, at most one happens.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync {
    /// Returns the operations that are not removed, in the order of their names.
    async fn list(&self) -> Result<Vec<Entry>, JournalError>;

    /// Returns an operation; `None` if it is not there. It may lag behind a change that somebody else just made.
    async fn get(&self, id: &OperationId) -> Result<Option<Entry>, JournalError>;

    /// Returns whether an operation that [`Journal::get`] does not find is kept elsewhere, by those who have another keyspace in the same stores. What
    /// it fills is no orphan. Default no.
    async fn is_foreign(&self, id: &OperationId) -> Result<bool, JournalError> {
        let _ = id;
        Ok(false)
    }

    /// Stores an operation that has the version `expected`, or that does not exist if that is `None`.
    ///
    /// Implementations must store it before they return, and must do so in one step as far as the phase is concerned.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] with what is there instead: nothing changed. [`JournalError::Unknown`]: read it again.
    async fn put(
        &self,
        record: &Record,
        expected: Option<Version>,
    ) -> Result<Version, JournalError>;

    /// Removes an operation that has ended.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] if somebody changed it meanwhile, [`JournalError::Unavailable`] as long as something is left of it that nobody else
    /// would know.
    async fn remove(&self, id: &OperationId, expected: Version) -> Result<(), JournalError>;

    /// Returns the operations of which only is left what they were to do: whoever wrote it died before it began, or while it was removed. One that is
    /// just being written down may be among them. Default none.
    async fn orphans(&self) -> Result<Vec<OperationId>, JournalError> {
        Ok(Vec::new())
    }

    /// Removes what is left of an operation that is not there. Default nothing.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] if it is there.
    async fn forget(&self, id: &OperationId) -> Result<(), JournalError> {
        let _ = id;
        Ok(())
    }

    /// Returns the shards that own keys now: of an operation its sources until it commits, and its targets from then on.
    async fn shards(&self) -> Result<Vec<Part>, JournalError>;

    /// Returns whether a shard moves by a change of the members that have copies of it, and not to a new shard. Default no.
    async fn is_moved_by_members(&self, shard: &ShardId) -> Result<bool, JournalError> {
        let _ = shard;
        Ok(false)
    }

    /// Points the sources at the operation and notes the targets. Again changes nothing.
    ///
    /// # Errors
    /// [`JournalError::Held`] if another operation has one of the sources, [`JournalError::Stale`] if one is not as planned,
    /// [`JournalError::Replicated`] if the operation is not for such shards,
    /// [`JournalError::Apart`] if they are not in one place and cannot be brought there, [`JournalError::Unavailable`] as long as that is under way,
    /// [`JournalError::Conflict`] if the operation is not [planned](shardwright_topology::Phase::Planned) any more.
    async fn hold(&self, record: &Record) -> Result<(), JournalError>;

    /// Writes the decision of a decided operation into its shards and lets go of them. Again changes nothing.
    async fn resolve(&self, record: &Record) -> Result<(), JournalError>;
}
