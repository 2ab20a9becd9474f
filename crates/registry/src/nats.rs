//! A store in NATS JetStream: for the processes of several machines.
//!
//! Values are in a key-value bucket as NATS's own tools make it, so that they can be looked at. A revision is a sequence of the
//! bucket's stream. What JetStream does that a store must not is made good here: a change that is refused without reason is tried
//! again, writers that met keep apart, a read that is older than what this handle wrote is repeated, calls outlast the election of
//! a stream leader, and a watch that fell silent is started again.

mod api;
mod connection;
mod deliveries;
mod doctor;
mod layout;
mod listing;
mod open;
mod options;
mod order;
mod patience;
mod watching;
mod written;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use tokio::runtime::Handle;

use self::{
    api::{Api, Failure, Held},
    order::Order,
    patience::{Pace, Patience, pause, timed},
    written::Written,
};
pub use self::{
    connection::{NatsConnection, NatsConnectionError, NatsTls},
    options::{NatsError, NatsOptions},
};
use crate::{
    Entry, Key, Listing, Prefix, Revision, Store, StoreError, Watch, store_error::check_len,
};

/// A store in a bucket of NATS JetStream. A clone is another handle on the same connection.
///
/// It is opened within a tokio runtime, which must go on for as long as the store is used; any executor may drive its calls.
/// Reads are hints, as everywhere: what matters is decided by a compare-and-set.
#[derive(Clone)]
pub struct NatsStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    api: Api,
    options: NatsOptions,
    written: Mutex<Written>,
    pace: Mutex<Pace>,
    /// Where the servers check a sequence only before they replicate.
    order: Option<Order>,
    runtime: Handle,
}

impl fmt::Debug for NatsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsStore")
            .field("bucket", &self.inner.options.bucket)
            .finish_non_exhaustive()
    }
}

impl NatsStore {
    /// Does some work on the runtime that the connection needs: here if the caller is on one.
    async fn on_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        if Handle::try_current().is_ok() {
            return work.await;
        }
        let done = self.inner.runtime.spawn(work).await;
        done.unwrap_or(Err(StoreError::Closed))
    }
}

/// How often a read that seems too old, for all that is known, is repeated.
const REREADS_MAX: u32 = 4;

impl Inner {
    fn patience(&self) -> Patience {
        Patience::new(self.options.deadline)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        let written = self.written.lock();
        written.expect("no call panics while it notes what it wrote")
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        let pace = self.pace.lock();
        pace.expect("no call panics while it notes its pace")
    }

    /// Reads a key, deletions included, no older than what this handle wrote.
    async fn read(&self, key: &Key, patience: &mut Patience) -> Result<Option<Held>, StoreError> {
        let subject = self.api.layout.subject(key);
        loop {
            let failure = match self.api.last(&subject).await {
                Ok(held) => {
                    let revision = held.as_ref().map_or(Revision(0), |held| held.revision);
                    if let Some(order) = &self.order {
                        order.saw(revision);
                    }
                    if self.written().of(key) <= revision {
                        return Ok(held);
                    }
                    Failure::Unavailable("the servers answer with old values".to_owned())
                }
                Err(failure) => failure,
            };
            self.outlast(failure, patience).await?;
        }
    }

    /// Waits after a failure of something that changes nothing, if it may pass.
    async fn outlast(&self, failure: Failure, patience: &mut Patience) -> Result<(), StoreError> {
        let passes = match &failure {
            Failure::Unanswered(_) | Failure::Unavailable(_) | Failure::NotFound(_) => true,
            Failure::WrongSequence(_) | Failure::Refused(_) => false,
        };
        if passes && patience.wait().await {
            return Ok(());
        }
        Err(StoreError::Unavailable(failure.into()))
    }

    async fn append(
        &self,
        key: &Key,
        expected: Revision,
        value: Option<&[u8]>,
    ) -> Result<Revision, Failure> {
        match &self.order {
            Some(order) => order.append(&self.api, key, expected, value).await,
            None => self.api.append(key, expected, None, value).await,
        }
    }

    /// Appends to a key that is at `expected`; 0 if it was never written, or is deleted.
    async fn change(
        &self,
        key: &Key,
        expected: Revision,
        value: Option<&[u8]>,
    ) -> Result<Revision, StoreError> {
        check_len(value.unwrap_or_default())?;
        let mut patience = self.patience();
        let mut rereads = 0;
        let mut at = expected;
        loop {
            let (outcome, took) = timed(self.append(key, at, value)).await;
            match outcome {
                Ok(revision) => {
                    self.written().add(key, revision);
                    self.pace().won(key, took);
                    return Ok(revision);
                }
                Err(Failure::Unanswered(source)) => {
                    let key = key.clone();
                    return Err(StoreError::Unknown { key, source });
                }
                Err(Failure::WrongSequence(_)) => {}
                Err(failure) => {
                    self.outlast(failure, &mut patience).await?;
                    continue;
                }
            }
            // Before the read, so that what the loser decides on is fresh.
            let wait = self.pace().lost(key);
            pause(wait).await;
            let found = self.read(key, &mut patience).await?;
            match Self::judge(key, expected, found) {
                Verdict::Conflict(error) => return Err(error),
                Verdict::Again(next) => at = next,
                Verdict::Old(error) => {
                    rereads += 1;
                    if rereads == REREADS_MAX {
                        return Err(error);
                    }
                }
            }
            if !patience.wait().await {
                let text = "a change is refused although nothing came before it".into();
                return Err(StoreError::Unavailable(text));
            }
        }
    }

    /// Changes what is at a revision that somebody was told. None was told 0: that creates.
    async fn replace(
        &self,
        key: &Key,
        expected: Revision,
        value: Option<&[u8]>,
    ) -> Result<Revision, StoreError> {
        if expected == Revision(0) {
            let found = self.read(key, &mut self.patience()).await?;
            let found = found.and_then(|held| entry(key, held));
            return Err(StoreError::conflict(key, found));
        }
        self.change(key, expected, value).await
    }

    /// Says what a refusal means, given what was read after it.
    fn judge(key: &Key, expected: Revision, found: Option<Held>) -> Verdict {
        let revision = found.as_ref().map_or(Revision(0), |held| held.revision);
        let live = found.and_then(|held| entry(key, held));
        let conflict = |live| StoreError::conflict(key, live);
        match live {
            // A refusal of the right sequence, or a deletion to create over.
            None if expected == Revision(0) => Verdict::Again(revision),
            Some(_) if revision == expected => Verdict::Again(expected),
            live if revision < expected => Verdict::Old(conflict(live)),
            live => Verdict::Conflict(conflict(live)),
        }
    }
}

/// What a refused change means.
enum Verdict {
    /// Something else is there.
    Conflict(StoreError),
    /// Nothing speaks against the change: try at this sequence.
    Again(Revision),
    /// What was read is older than what the caller knows, or the caller is wrong.
    Old(StoreError),
}

/// The entry of a key; `None` for a deletion.
fn entry(key: &Key, held: Held) -> Option<Entry> {
    Some(Entry {
        key: key.clone(),
        value: held.value?,
        revision: held.revision,
    })
}

#[async_trait]
impl Store for NatsStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let (inner, key) = (self.inner.clone(), key.clone());
        self.on_runtime(async move {
            let found = inner.read(&key, &mut inner.patience()).await?;
            Ok(found.and_then(|held| entry(&key, held)))
        })
        .await
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError> {
        let (inner, key, value) = (self.inner.clone(), key.clone(), value.to_vec());
        self.on_runtime(async move { inner.change(&key, Revision(0), Some(&value)).await })
            .await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError> {
        let (inner, key, value) = (self.inner.clone(), key.clone(), value.to_vec());
        self.on_runtime(async move { inner.replace(&key, expected, Some(&value)).await })
            .await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError> {
        let (inner, key) = (self.inner.clone(), key.clone());
        self.on_runtime(async move { inner.replace(&key, expected, None).await.map(drop) })
            .await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        let (inner, prefix) = (self.inner.clone(), prefix.clone());
        self.on_runtime(async move { inner.list(&prefix).await })
            .await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        let (inner, prefix) = (self.inner.clone(), prefix.clone());
        self.on_runtime(async move { inner.watch(prefix, after).await })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a refusal of a change at `expected` means when the key is found at `found`, live or deleted.
    fn judged(expected: u64, found: Option<(u64, bool)>) -> String {
        let key = Key::new("a").expect("a key");
        let held = found.map(|(revision, live)| Held {
            subject: "$KV.b.a".to_owned(),
            revision: Revision(revision),
            value: live.then(Vec::new),
        });
        match Inner::judge(&key, Revision(expected), held) {
            Verdict::Conflict(error) => error.to_string(),
            Verdict::Again(revision) => format!("again at {revision}"),
            Verdict::Old(_) => "old".to_owned(),
        }
    }

    #[test]
    fn a_refusal_for_which_nothing_speaks_is_tried_again() {
        assert_eq!(judged(7, Some((7, true))), "again at r7");
        assert_eq!(judged(0, None), "again at r0");
        assert_eq!(judged(0, Some((5, false))), "again at r5");
    }

    #[test]
    fn what_came_first_is_a_conflict_that_says_what_it_is() {
        let at = |text: &str| format!("a is not at the expected revision: {text}");
        assert_eq!(judged(7, Some((9, true))), at("it is at r9"));
        assert_eq!(judged(7, Some((9, false))), at("it has no value"));
        assert_eq!(judged(0, Some((5, true))), at("it is at r5"));
    }

    #[test]
    fn what_is_older_than_the_caller_knows_is_read_again() {
        assert_eq!(judged(7, Some((5, true))), "old");
        assert_eq!(judged(7, None), "old");
    }

    #[test]
    fn a_read_may_not_be_older_than_what_was_written_here() {
        let mut written = Written::default();
        let key = |text: &str| Key::new(text).expect("a key");
        written.add(&key("a/1"), Revision(7));
        written.add(&key("a/1"), Revision(5));
        written.add(&key("b/1"), Revision(9));
        assert_eq!(written.of(&key("a/1")), Revision(7));
        assert_eq!(written.of(&key("c")), Revision(0));
        let prefix = Prefix::new("a/").expect("a prefix");
        assert_eq!(written.below(&prefix), Revision(7));
        assert_eq!(written.below(&Prefix::all()), Revision(9));
    }
}
