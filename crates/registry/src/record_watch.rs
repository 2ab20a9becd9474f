//! Everything that a store holds for this system, as one stream: what a coordinator mirrors.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::Arc,
};

use futures_util::{
    StreamExt,
    stream::{self, Stream},
};
use shardwright_topology::{NodeRecord, Operation, RegisteredCopies, ShardRecord};

use crate::{
    Entry, Error, Event, Key, KeyspaceRecord, LeaseRecord, PinRecord, Prefix, Revision, Store,
    StoreError, Stored, Watch, records::stored,
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
    /// The copies that a node vouches for, as they are now.
    Copies(Stored<RegisteredCopies>),
    /// Where somebody has put a shard, as it is now.
    Pin(Stored<PinRecord>),
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
/// gone, so a mirror that takes in every item is never wrong for longer than the store is away. Revisions of one key only grow, also
/// when a listing lags behind what was shown before.
///
/// [`Error::Format`] stands for one record that cannot be read, and the stream goes on behind it. After any other error the next call
/// lists again, so the caller decides how long to wait.
pub type RecordWatch = Pin<Box<dyn Stream<Item = Result<Seen, Error>> + Send>>;

/// Watches all records of a store. Keys that belong to no record type are passed over.
#[must_use]
pub fn watch_records(store: Arc<dyn Store>) -> RecordWatch {
    watch_below(store, Prefix::all())
}

/// Watches the records below a prefix, as [`watch_records`] does.
#[must_use]
pub fn watch_below(store: Arc<dyn Store>, prefix: Prefix) -> RecordWatch {
    let watcher = Watcher {
        store,
        prefix,
        known: BTreeMap::new(),
        reached: Revision(0),
        ready: VecDeque::new(),
        changes: None,
    };
    Box::pin(stream::unfold(watcher, |mut watcher| async move {
        let item = watcher.next().await;
        Some((item, watcher))
    }))
}

struct Watcher {
    store: Arc<dyn Store>,
    prefix: Prefix,
    changes: Option<Watch>,
    /// The keys that were shown as present, and the revision of each.
    known: BTreeMap<Key, Revision>,
    /// Every change up to here was shown, or a later one of its key. A listing may lag behind that.
    reached: Revision,
    ready: VecDeque<Result<Seen, Error>>,
}

impl Watcher {
    async fn next(&mut self) -> Result<Seen, Error> {
        loop {
            if let Some(seen) = self.ready.pop_front() {
                return seen;
            }
            let Some(changes) = &mut self.changes else {
                self.start().await?;
                continue;
            };
            match changes.next().await {
                Some(Ok(event)) => {
                    let revision = event.revision;
                    self.take(event);
                    self.reached = self.reached.max(revision);
                }
                None | Some(Err(StoreError::FellBehind { .. })) => self.changes = None,
                Some(Err(error)) => {
                    self.changes = None;
                    return Err(error.into());
                }
            }
        }
    }

    /// Lists everything, shows what is new, and follows from there.
    async fn start(&mut self) -> Result<(), StoreError> {
        let listing = self.store.list(&self.prefix).await?;
        let changes = self.store.watch(&self.prefix, listing.revision).await?;
        let mut gone = self.known.clone();
        for Entry {
            key,
            value,
            revision,
        } in listing.entries
        {
            gone.remove(&key);
            self.take(Event {
                key,
                value: Some(value),
                revision,
            });
        }
        for (key, shown) in gone {
            // A listing that lags does not show what was created after it.
            if shown <= listing.revision {
                self.take(Event {
                    key,
                    value: None,
                    revision: listing.revision,
                });
            }
        }
        self.reached = self.reached.max(listing.revision);
        self.ready.push_back(Ok(Seen::Listed(self.reached)));
        self.changes = Some(changes);
        Ok(())
    }

    /// Shows a change that was not shown yet.
    fn take(&mut self, event: Event) {
        let Event {
            key,
            value,
            revision,
        } = event;
        if revision <= self.reached {
            return;
        }
        let Some(value) = value else {
            if self.known.remove(&key).is_some() {
                self.ready.push_back(Ok(Seen::Deleted { key, revision }));
            }
            return;
        };
        let entry = Entry {
            key: key.clone(),
            value,
            revision,
        };
        if let Some(seen) = read(entry) {
            self.known.insert(key, revision);
            self.ready.push_back(seen);
        }
    }
}

/// The record in an entry; `None` if its key belongs to no record type.
fn read(entry: Entry) -> Option<Result<Seen, Error>> {
    let (kind, _) = entry.key.as_str().split_once('/')?;
    Some(match kind {
        "node" => stored(entry).map(Seen::Node),
        "keyspace" => stored(entry).map(Seen::Keyspace),
        "shard" => stored(entry).map(Seen::Shard),
        "op" => stored(entry).map(Seen::Operation),
        "lease" => stored(entry).map(Seen::Lease),
        "replica" => stored(entry).map(Seen::Copies),
        "pin" => stored(entry).map(Seen::Pin),
        _ => return None,
    })
}
