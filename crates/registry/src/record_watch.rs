//! Everything that a store holds for this system, as one stream: what a coordinator mirrors.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    pin::Pin,
    sync::Arc,
};

use futures_util::{
    StreamExt,
    stream::{self, Stream},
};
use shardwright_topology::{NodeRecord, Operation, ShardRecord};

use crate::{
    Entry, Error, Event, Key, KeyspaceRecord, LeaseRecord, Prefix, Record, Revision, Store,
    StoreError, Stored, Watch, codec::decode,
};

/// One thing that a watcher of all records learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A node as it is now.
    Node(Stored<NodeRecord>),
    /// A keyspace as it is now.
    Keyspace(Stored<KeyspaceRecord>),
    /// A shard as it is now.
    Shard(Stored<ShardRecord>),
    /// An operation as it is now.
    Operation(Stored<Operation>),
    /// A lease as it is now.
    Lease(Stored<LeaseRecord>),
    /// A record that is gone.
    Deleted {
        /// Its key.
        key: Key,
        /// The change that removed it, or a later one.
        revision: Revision,
    },
    /// Everything up to this revision was shown. Comes after each listing.
    Listed(Revision),
}

/// A stream of everything that is known of the records, and of every change.
///
/// It begins with all records and [`Seen::Listed`]. When a watch below it ends, it lists again and shows what is new and what is
/// gone, so a mirror that takes in every item is never wrong for longer than the store is away. After an error the next call lists
/// again, so the caller decides how long to wait.
pub type RecordWatch = Pin<Box<dyn Stream<Item = Result<Seen, Error>> + Send>>;

/// Watches all records of a store. Keys that belong to no record type are passed over.
#[must_use]
pub fn watch_records(store: Arc<dyn Store>) -> RecordWatch {
    let watcher = Watcher {
        store,
        known: BTreeSet::new(),
        ready: VecDeque::new(),
        watch: None,
    };
    Box::pin(stream::unfold(watcher, |mut watcher| async move {
        let item = watcher.next().await;
        if item.is_err() {
            watcher.watch = None;
        }
        Some((item, watcher))
    }))
}

struct Watcher {
    store: Arc<dyn Store>,
    /// The keys of the records that were shown and not yet shown as deleted.
    known: BTreeSet<Key>,
    /// What was read and is yet to be shown.
    ready: VecDeque<Entry>,
    watch: Option<Following>,
}

/// A watch, and what ends the listing before it.
struct Following {
    gone: Vec<Key>,
    listed: Option<Revision>,
    revision: Revision,
    watch: Watch,
}

impl Watcher {
    async fn next(&mut self) -> Result<Seen, Error> {
        loop {
            while let Some(entry) = self.ready.pop_front() {
                let key = entry.key.clone();
                if let Some(seen) = read(entry)? {
                    self.known.insert(key);
                    return Ok(seen);
                }
            }
            let Some(following) = &mut self.watch else {
                self.list().await?;
                continue;
            };
            if let Some(key) = following.gone.pop() {
                self.known.remove(&key);
                let revision = following.revision;
                return Ok(Seen::Deleted { key, revision });
            }
            if let Some(revision) = following.listed.take() {
                return Ok(Seen::Listed(revision));
            }
            match following.watch.next().await {
                None | Some(Err(StoreError::FellBehind { .. })) => self.watch = None,
                Some(event) => {
                    if let Some(gone) = self.take(event?) {
                        return Ok(gone);
                    }
                }
            }
        }
    }

    fn take(&mut self, event: Event) -> Option<Seen> {
        let Event {
            key,
            value,
            revision,
        } = event;
        match value {
            Some(value) => {
                self.ready.push_back(Entry {
                    key,
                    value,
                    revision,
                });
                None
            }
            None if self.known.remove(&key) => Some(Seen::Deleted { key, revision }),
            None => None,
        }
    }

    async fn list(&mut self) -> Result<(), Error> {
        let listing = self.store.list(&Prefix::all()).await?;
        let there: BTreeSet<&Key> = listing.entries.iter().map(|entry| &entry.key).collect();
        let gone = self.known.iter().filter(|key| !there.contains(key));
        let gone = gone.cloned().collect();
        let watch = self.store.watch(&Prefix::all(), listing.revision).await?;
        self.ready = listing.entries.into();
        self.watch = Some(Following {
            gone,
            listed: Some(listing.revision),
            revision: listing.revision,
            watch,
        });
        Ok(())
    }
}

/// The record in an entry; `None` if its key belongs to no record type.
fn read(entry: Entry) -> Result<Option<Seen>, Error> {
    let (kind, _) = entry.key.as_str().split_once('/').unwrap_or_default();
    match kind {
        "node" => stored(entry, Seen::Node),
        "keyspace" => stored(entry, Seen::Keyspace),
        "shard" => stored(entry, Seen::Shard),
        "op" => stored(entry, Seen::Operation),
        "lease" => stored(entry, Seen::Lease),
        _ => Ok(None),
    }
}

fn stored<T: Record>(
    entry: Entry,
    seen: impl FnOnce(Stored<T>) -> Seen,
) -> Result<Option<Seen>, Error> {
    let Entry {
        key,
        value,
        revision,
    } = entry;
    match decode(&value) {
        Ok(value) => Ok(Some(seen(Stored {
            key,
            value,
            revision,
        }))),
        Err(source) => Err(Error::Format { key, source }),
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}
