//! A store in memory: for tests, for simulations, and for one process that needs no durability.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use futures_util::stream;
use tokio::sync::watch;

use crate::{
    Entry, Event, Key, Listing, Prefix, Revision, Store, StoreError, Watch, store_error::check_len,
};

/// A store that lives as long as its handles. A clone is another handle on the same values.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The last revision: what watchers wait for.
    latest: watch::Sender<Revision>,
    log_max: usize,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Key, (Revision, Vec<u8>)>,
    revision: Revision,
    /// The latest changes, in order of their revisions.
    log: VecDeque<Event>,
    /// The last change that is no longer in the log.
    trimmed: Revision,
}

/// How many changes are kept for watchers, unless told otherwise.
const LOG_MAX: usize = 10_000;

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::keeping(LOG_MAX)
    }

    /// Returns an empty store that keeps `changes` changes for watchers; 10,000 is the default.
    #[must_use]
    pub fn keeping(changes: usize) -> Self {
        let (latest, _) = watch::channel(Revision(0));
        let shared = Shared {
            state: Mutex::default(),
            latest,
            log_max: changes,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .expect("no call panics while it holds the values")
    }

    /// Makes one change if the key is at `expected`.
    fn change(
        &self,
        key: &Key,
        expected: Option<Revision>,
        value: Option<&[u8]>,
    ) -> Result<Revision, StoreError> {
        check_len(value.unwrap_or_default())?;
        let mut state = self.state();
        let found = state.entries.get(key);
        if found.map(|(revision, _)| *revision) != expected {
            let found = found.map(|(revision, value)| entry(key, *revision, value));
            return Err(StoreError::conflict(key, found));
        }
        let revision = Revision(state.revision.0 + 1);
        state.revision = revision;
        match value {
            Some(value) => state
                .entries
                .insert(key.clone(), (revision, value.to_vec())),
            None => state.entries.remove(key),
        };
        let event = Event {
            key: key.clone(),
            value: value.map(<[u8]>::to_vec),
            revision,
        };
        state.log.push_back(event);
        while state.log.len() > self.shared.log_max {
            let dropped = state.log.pop_front();
            state.trimmed = dropped.map_or(revision, |event| event.revision);
        }
        // While the values are locked: two announcements that overtook each other would let a watcher sleep.
        self.shared.latest.send_replace(revision);
        drop(state);
        Ok(revision)
    }

    /// Returns the changes after a revision that are below the prefix, and the revision that they reach.
    fn changes(
        &self,
        prefix: &Prefix,
        after: Revision,
    ) -> Result<(Vec<Event>, Revision), StoreError> {
        let state = self.state();
        if after < state.trimmed {
            return Err(StoreError::FellBehind { after });
        }
        let from = state.log.partition_point(|event| event.revision <= after);
        let wanted = state
            .log
            .range(from..)
            .filter(|event| prefix.holds(&event.key));
        Ok((wanted.cloned().collect(), state.revision.max(after)))
    }
}

fn entry(key: &Key, revision: Revision, value: &[u8]) -> Entry {
    Entry {
        key: key.clone(),
        value: value.to_vec(),
        revision,
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let state = self.state();
        Ok(state
            .entries
            .get(key)
            .map(|(revision, value)| entry(key, *revision, value)))
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError> {
        self.change(key, None, Some(value))
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError> {
        self.change(key, Some(expected), Some(value))
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError> {
        self.change(key, Some(expected), None).map(|_| ())
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        let state = self.state();
        let wanted = state.entries.iter().filter(|(key, _)| prefix.holds(key));
        let entries = wanted
            .map(|(key, (revision, value))| entry(key, *revision, value))
            .collect();
        Ok(Listing {
            entries,
            revision: state.revision,
        })
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        let (events, after) = self.changes(prefix, after)?;
        let watcher = Watcher {
            store: self.clone(),
            prefix: prefix.clone(),
            latest: self.shared.latest.subscribe(),
            ready: events.into(),
            after,
            failed: false,
        };
        Ok(Box::pin(stream::unfold(
            watcher,
            |mut watcher| async move {
                let item = watcher.next().await?;
                Some((item, watcher))
            },
        )))
    }
}

/// A reader of the log that waits at its end.
struct Watcher {
    store: MemoryStore,
    prefix: Prefix,
    latest: watch::Receiver<Revision>,
    ready: VecDeque<Event>,
    after: Revision,
    failed: bool,
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<Event, StoreError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.failed {
                return None;
            }
            let after = self.after;
            self.latest.wait_for(|latest| *latest > after).await.ok()?;
            match self.store.changes(&self.prefix, after) {
                Ok((events, reached)) => {
                    self.ready = events.into();
                    self.after = reached;
                }
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
