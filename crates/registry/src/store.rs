//! The contract of a store: few small values, each changed by compare-and-set, and a stream of changes.

use std::{fmt, pin::Pin, sync::Arc};

use async_trait::async_trait;
use futures_core::Stream;

use crate::{Key, Prefix, StoreError};

/// The largest value, in bytes: what every backend takes.
pub const VALUE_MAX: usize = 512 * 1024;

/// The version of a value, which a change of it must name: one counter for the whole store, so that a later change of any
/// key has a higher one.
///
/// Never compared with an epoch.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// A value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// The value.
    pub value: Vec<u8>,
    /// The change that made it.
    pub revision: Revision,
}

/// The values below a prefix, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The values.
    pub entries: Vec<Entry>,
    /// Every change up to this revision is in `entries`. A watch after it misses nothing.
    pub revision: Revision,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: Key,
    /// The new value; `None` if the key was deleted.
    pub value: Option<Vec<u8>>,
    /// The revision that the change got.
    pub revision: Revision,
}

/// A stream of changes; see [`Store::watch`].
pub type Watch = Pin<Box<dyn Stream<Item = Result<Event, StoreError>> + Send>>;

/// Few small values that several processes change by compare-and-set.
///
/// Implementations must pass `conformance::run_all`. Any executor may drive the futures. Dropping the future of a change
/// leaves it unknown whether the change happens.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Returns the value of a key.
    ///
    /// It may lag behind a change that somebody else just made: a read that matters is decided by a compare-and-set. A backend
    /// must return what this handle itself changed last, or something later.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError>;

    /// Stores the value of a key that has none, and returns its revision.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the key has a value: nothing changed.
    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError>;

    /// Replaces the value that has revision `expected`, and returns the new revision.
    ///
    /// Implementations must do so in one step: of two calls with one expected revision, at most one succeeds.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the key has another revision or no value: nothing changed.
    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError>;

    /// Removes the value that has revision `expected`. A value created later has a higher revision than any before.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the key has another revision or no value: nothing changed.
    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError>;

    /// Returns all values below a prefix.
    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError>;

    /// Returns the changes below a prefix after a revision, in the order of their revisions, without end.
    ///
    /// What a listing at `after` shows, changed by the events, is what a later listing shows: there is no gap. Of several changes of
    /// one key, a backend may leave out all but the last. A stream may end, and it ends after an error: list again, and
    /// watch from there.
    ///
    /// # Errors
    /// Also as an item of the stream: [`StoreError::FellBehind`] if the changes after that revision are no longer kept.
    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError>;
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        (**self).get(key).await
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError> {
        (**self).create(key, value).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError> {
        (**self).compare_and_set(key, expected, value).await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError> {
        (**self).delete(key, expected).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        (**self).list(prefix).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        (**self).watch(prefix, after).await
    }
}
