//! The contract of stores that stream their changes: what an operation needs of the places where shards are.

mod request;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use shardwright_registry::BoxError;
use shardwright_topology::{Lsn, OperationId, ShardId};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

pub use self::request::{Reply, Request, perform};
use crate::{Cut, Extent, ShardMetrics};

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// What became of a key: its new value, or that it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The place of the change in the order of the shard's changes.
    pub position: Lsn,
    /// The key.
    pub key: Vec<u8>,
    /// The whole new value; `None` if the key was removed.
    pub value: Option<Vec<u8>>,
}

/// How much a call may return: whichever is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Rows or changes.
    pub rows: usize,
    /// Bytes of keys and values. One row is returned whatever its size.
    pub bytes: usize,
}

/// Some rows of a shard, in the order of their keys, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The key after which the page begins; `None` for the first.
    pub after: Option<Vec<u8>>,
    /// The rows.
    pub rows: Vec<Row>,
    /// The last key that was looked at: the next page begins after it. `None` if there are no more.
    pub next: Option<Vec<u8>>,
    /// Every change up to here is in the page, and none after it.
    pub position: Lsn,
}

/// Changes of a shard, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The position after which they begin.
    pub after: Lsn,
    /// The changes.
    pub changes: Vec<RowChange>,
    /// Every change up to here that was asked for is among them.
    pub through: Lsn,
    /// The position of the shard's last change.
    pub head: Lsn,
}

/// How much of a source a target has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The last key that was copied; `None` before the first page.
    pub cursor: Option<Vec<u8>>,
    /// Whether all pages were copied.
    pub complete: bool,
    /// The latest position of a page: before changes up to here are applied, the target may hold rows of different moments.
    pub high: Lsn,
    /// Every change up to here was applied; before the first, the position after which changes are to be applied.
    pub applied: Lsn,
}

/// The sum of some rows: equal rows give equal digests, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    /// How many rows.
    pub rows: u64,
    /// How many bytes of keys and values.
    pub bytes: u64,
    /// The sum of the rows' hashes: 128 bits of XXH3 of the value, with the key's as the seed.
    pub hash: u128,
}

/// A digest, and when it was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestAt {
    /// The position of the last change that is in it.
    pub position: Lsn,
    /// The digest.
    pub digest: Digest,
    /// Whether no write can be missing from the position, so that the same position later means the same rows. Otherwise they are compared again
    /// before the commit, also if the position has not changed.
    pub counts_all: bool,
}

/// How far writers may be ahead of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// What every target has applied: earlier changes are not asked for again.
    pub acknowledged: Lsn,
    /// How many changes there may be after it before writers have to wait; `None` if they need not.
    pub ahead: Option<u64>,
}

/// A call to a store that did not do what was asked. Nothing changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The shard is not here.
    #[error("there is no shard {shard} here")]
    Unknown {
        /// The shard.
        shard: ShardId,
    },
    /// The shard was removed, and its name is never used again.
    #[error("shard {shard} was removed")]
    Removed {
        /// The shard.
        shard: ShardId,
    },
    /// The operation has let go of the shard already.
    #[error("operation {operation} has let go of shard {shard}")]
    Ended {
        /// The shard.
        shard: ShardId,
        /// The operation.
        operation: OperationId,
    },
    /// The shard belongs to another operation, or to none.
    #[error("operation {operation} does not hold shard {shard}")]
    NotHeld {
        /// The shard.
        shard: ShardId,
        /// The operation that asked.
        operation: OperationId,
    },
    /// The shard is being filled, and has no rows of its own yet.
    #[error("shard {shard} is being filled")]
    Importing {
        /// The shard.
        shard: ShardId,
    },
    /// The shard takes no writes until an operation is decided. Wait, and find out who owns the key then.
    #[error("shard {shard} is sealed")]
    Sealed {
        /// The shard.
        shard: ShardId,
    },
    /// Writers are ahead of a copy. Try again in a moment.
    #[error("shard {shard} is being copied, writes have to wait")]
    Busy {
        /// The shard.
        shard: ShardId,
    },
    /// The key belongs to another shard.
    #[error("the key does not belong to shard {shard}")]
    Foreign {
        /// The shard.
        shard: ShardId,
    },
    /// The shard has rows that were not written as its store requires, so that the operation may lack some. It ends without effect.
    #[error("shard {shard} differs from what was written to it under guards")]
    Unguarded {
        /// The shard.
        shard: ShardId,
    },
    /// The changes that were asked for are no longer kept: the operation ends without effect.
    #[error(
        "changes of shard {shard} after {after} are no longer kept: more was written meanwhile than there is room for, begin again"
    )]
    Trimmed {
        /// The shard.
        shard: ShardId,
        /// The position.
        after: Lsn,
    },
    /// The store cannot be reached, or failed in a way that may pass.
    #[error("the store is not available")]
    Unavailable(#[source] Arc<BoxError>),
    /// The store failed in a way that does not pass.
    #[error("the store failed")]
    Failed(#[source] Arc<BoxError>),
}

impl StoreError {
    /// Returns what failed, and why.
    pub(crate) fn with_causes(&self) -> String {
        let mut said = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(why) = cause {
            said.push_str(": ");
            said.push_str(&why.to_string());
            cause = why.source();
        }
        said
    }

    /// Returns whether the same call may simply be repeated, later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Busy { .. } => true,
            Self::Unknown { .. }
            | Self::Removed { .. }
            | Self::Ended { .. }
            | Self::NotHeld { .. }
            | Self::Importing { .. }
            | Self::Sealed { .. }
            | Self::Foreign { .. }
            | Self::Unguarded { .. }
            | Self::Trimmed { .. }
            | Self::Failed(_) => false,
        }
    }
}

/// The shards of one node, as far as operations are concerned: what they read and write.
///
/// How users read and write rows is the store's own affair; it must refuse their writes as [`StoreError`] says while a shard is being filled or
/// sealed, and order all writes of a shard by positions that grow by one with each.
///
/// All calls may come late, twice, from a coordinator that was replaced long ago, and several at once. Every method says what an implementation
/// must do about that, and `conformance::run_all` asks it. What a call changes must be durable when it returns.
#[async_trait]
pub trait ShardStore: fmt::Debug + Send + Sync {
    /// Creates an empty shard that an operation fills. Again changes nothing, also when it is filled or open.
    ///
    /// # Errors
    /// [`StoreError::Removed`] if it was dropped; [`StoreError::NotHeld`] if it exists otherwise.
    async fn create(
        &self,
        operation: &OperationId,
        shard: &ShardId,
        extent: &Extent,
    ) -> Result<(), StoreError>;

    /// Begins to keep a shard's changes for an operation, and returns the position after which they are kept. Again returns the same.
    ///
    /// # Errors
    /// [`StoreError::Ended`] after [`ShardStore::release`]: an operation does not come back.
    async fn follow(&self, operation: &OperationId, shard: &ShardId) -> Result<Lsn, StoreError>;

    /// Returns rows of a shard that are in an extent, in the order of their keys, after a key.
    ///
    /// A page must show the rows of one moment. Two pages need not show the same one: with all changes after the position at which
    /// [`ShardStore::follow`] began, in their order, they make the shard of a later moment, because a change has the whole row.
    async fn scan(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Option<&[u8]>,
        batch: Batch,
    ) -> Result<Page, StoreError>;

    /// Returns changes of a shard's keys that are in an extent, after a position and up to another one.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] if they are not kept.
    async fn changes(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Lsn,
        up_to: Option<Lsn>,
        batch: Batch,
    ) -> Result<Changes, StoreError>;

    /// Returns how much of a source a target has, and begins with the position `from` if it has nothing.
    ///
    /// # Errors
    /// [`StoreError::NotHeld`] once the target is open: whatever a coordinator still copies would overwrite newer rows.
    async fn imported(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        from: Lsn,
    ) -> Result<Import, StoreError>;

    /// Stores a page of a source in a target, if the target has everything before it and nothing after it; else changes nothing. Returns how much
    /// the target has now.
    ///
    /// # Errors
    /// As [`ShardStore::imported`].
    async fn import(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        page: Page,
    ) -> Result<Import, StoreError>;

    /// Applies changes of a source to a target, if all pages are there and everything before the changes was applied, and nothing after; else changes
    /// nothing. Rows and position must change in one step. Returns how much the target has now.
    ///
    /// # Errors
    /// As [`ShardStore::imported`].
    async fn apply(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        changes: Changes,
    ) -> Result<Import, StoreError>;

    /// Returns the digest of the rows of a shard that are in an extent, with the position of its last change.
    async fn digest(&self, shard: &ShardId, extent: &Extent) -> Result<DigestAt, StoreError>;

    /// Returns the digest of what a target has of a source, with the position up to which the source's changes were applied.
    ///
    /// # Errors
    /// As [`ShardStore::imported`].
    async fn digest_of_import(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        extent: &Extent,
    ) -> Result<DigestAt, StoreError>;

    /// Bounds how far a shard's writers may be ahead of a copy, for a while that the store chooses: longer than a second, and not for ever, because
    /// whoever asked may be gone.
    ///
    /// # Errors
    /// As [`ShardStore::follow`].
    async fn pace(
        &self,
        operation: &OperationId,
        shard: &ShardId,
        pace: Pace,
    ) -> Result<(), StoreError>;

    /// Ends the writes of a shard, and returns the position of the last one. Again returns the same.
    ///
    /// No write that was acknowledged may come after that position, and none before it may be missing from it; transactions that are open are
    /// ended or waited for.
    ///
    /// # Errors
    /// [`StoreError::Ended`] after [`ShardStore::release`], or the late call of a coordinator that does not know of the abort
    /// would end the writes for ever. [`StoreError::NotHeld`] if another operation sealed it.
    async fn seal(&self, operation: &OperationId, shard: &ShardId) -> Result<Lsn, StoreError>;

    /// Lets go of a source after an abort: it takes writes again, and keeps no changes for the operation. Again changes nothing.
    async fn release(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError>;

    /// Lets a target take reads and writes, after the commit. Again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotHeld`] if the operation does not fill it.
    async fn open(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError>;

    /// Removes a shard for good: a source that the operation sealed, or a target that it fills. Again changes nothing, also for a shard that never existed.
    ///
    /// # Errors
    /// [`StoreError::NotHeld`] for any other shard: it may have been given rows that are nowhere else.
    async fn remove(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError>;

    /// Returns the shards that are being filled, with the operations that fill them: what a crash may have left.
    async fn importing(&self) -> Result<Vec<(ShardId, OperationId)>, StoreError>;

    /// Returns how much a shard has and does.
    async fn metrics(&self, shard: &ShardId) -> Result<ShardMetrics, StoreError>;

    /// Returns how much each of these shards has and does, in their order, for whoever looks at many of them again and again: a little late is soon
    /// enough. As [`ShardStore::metrics`] of one after the other, unless a store knows a cheaper way.
    async fn metrics_of(&self, shards: &[ShardId]) -> Vec<Result<ShardMetrics, StoreError>> {
        let mut metrics = Vec::with_capacity(shards.len());
        for shard in shards {
            metrics.push(self.metrics(shard).await);
        }
        metrics
    }

    /// Returns the cut that divides the rows of a shard in halves; `None` if they cannot be divided.
    async fn median(&self, shard: &ShardId) -> Result<Option<Cut>, StoreError>;
}

impl Digest {
    /// Returns the digest of one row.
    #[must_use]
    pub fn of(key: &[u8], value: &[u8]) -> Self {
        Self {
            rows: 1,
            bytes: (key.len() + value.len()) as u64,
            hash: xxh3_128_with_seed(value, xxh3_64(key)),
        }
    }

    /// Returns the digest of these rows and others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            bytes: self.bytes + other.bytes,
            hash: self.hash.wrapping_add(other.hash),
        }
    }
}

impl Import {
    /// Returns the state of a target that has nothing of a source whose changes are kept after `from`.
    #[must_use]
    pub fn begun(from: Lsn) -> Self {
        Self {
            cursor: None,
            complete: false,
            high: from,
            applied: from,
        }
    }

    /// Returns whether the target was, at the position that it has applied, equal to the source.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.complete && self.high <= self.applied
    }

    /// Returns the state after a page; `None` if the page does not follow.
    #[must_use]
    pub fn after_page(&self, page: &Page) -> Option<Self> {
        let follows = !self.complete && self.cursor == page.after;
        follows.then(|| Self {
            cursor: page.next.clone(),
            complete: page.next.is_none(),
            high: self.high.max(page.position),
            applied: self.applied,
        })
    }

    /// Returns the state after changes; `None` if the changes do not follow.
    #[must_use]
    pub fn after_changes(&self, changes: &Changes) -> Option<Self> {
        let follows = self.complete && self.applied == changes.after;
        follows.then(|| Self {
            applied: self.applied.max(changes.through),
            ..self.clone()
        })
    }
}
