//! The watch that turns changes of records into shard maps.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{
    FutureExt, StreamExt,
    stream::{self, Stream},
};
use shardwright_topology::{KeyspaceName, Operation, ShardMap, ShardMapChange, ShardRecord};

use super::Registry;
use crate::{Error, Event, Key, Record, Revision, StoreError, Stored, Watch, codec::decode};

/// The records that a map is made of, as of some revision.
#[derive(Debug)]
pub(super) struct Snapshot {
    keyspace: KeyspaceName,
    shards: BTreeMap<Key, ShardRecord>,
    operations: BTreeMap<Key, Operation>,
    shards_at: Revision,
    operations_at: Revision,
}

impl Snapshot {
    /// Reads the shards first: an operation that one of them points at was created before, and is removed only after no
    /// shard points at it.
    pub(super) async fn read(registry: &Registry) -> Result<Self, Error> {
        let (shards, shards_at) = registry.shards().listing().await?;
        let (operations, operations_at) = registry.operations().listing().await?;
        Ok(Self {
            keyspace: registry.keyspace.clone(),
            shards: by_key(shards),
            operations: by_key(operations),
            shards_at,
            operations_at,
        })
    }

    /// As of when the shards and the operations are.
    fn at(&self) -> (Revision, Revision) {
        (self.shards_at, self.operations_at)
    }

    /// Whether nothing here is older than at another moment, and something newer.
    fn is_after(&self, moment: Option<(Revision, Revision)>) -> bool {
        moment.is_none_or(|(shards, operations)| {
            let is_older = self.shards_at < shards || self.operations_at < operations;
            !is_older && self.at() != (shards, operations)
        })
    }

    fn revision(&self) -> u64 {
        self.shards_at.max(self.operations_at).0
    }

    pub(super) fn map(&self) -> Result<ShardMap, Error> {
        let keyspace = || self.keyspace.clone();
        let revision = self.revision();
        let mine = self
            .operations
            .values()
            .filter(|each| each.keyspace == self.keyspace);
        ShardMap::new(
            keyspace(),
            revision,
            self.shards.values().cloned(),
            mine.cloned(),
        )
        .map_err(|source| Error::Map {
            keyspace: keyspace(),
            source,
        })
    }
}

fn by_key<T>(records: Vec<Stored<T>>) -> BTreeMap<Key, T> {
    records
        .into_iter()
        .map(|stored| (stored.key, stored.value))
        .collect()
}

/// A stream of shard maps: the map as it is, and each later one.
///
/// Maps are whole: while the records say two things at once, because a reader sees some of them earlier than others, no map is
/// shown and the one before holds. Of maps that follow each other at once, only the last is shown. Their revisions grow: one that was made
/// at the revision of the one before counts one more. After an error the next call
/// reads everything from the start, so the caller decides how long to wait. [`Error::NoMap`] comes again each time.
pub type MapWatch = std::pin::Pin<Box<dyn Stream<Item = Result<Arc<ShardMap>, Error>> + Send>>;

impl Registry {
    /// Returns the shard map of the keyspace as it is, and as it changes.
    #[must_use]
    pub fn watch_map(&self) -> MapWatch {
        let watcher = Watcher {
            registry: self.clone(),
            following: None,
            shown: None,
            revision: 0,
        };
        Box::pin(stream::unfold(watcher, |mut watcher| async move {
            let item = watcher.next().await;
            if item.is_err() {
                watcher.following = None;
            }
            Some((item, watcher))
        }))
    }
}

struct Watcher {
    registry: Registry,
    following: Option<Following>,
    /// As of when the map was made that was shown last: its shards, and its operations. A listing may lag behind.
    shown: Option<(Revision, Revision)>,
    /// The revision of that map.
    revision: u64,
}

/// A snapshot and the streams that keep it current.
struct Following {
    snapshot: Snapshot,
    /// The map of the snapshot, as long as shards only changed in place since it was made. Its revision lags behind.
    map: Option<ShardMap>,
    shards: Watch,
    operations: Watch,
}

/// What one of the two streams said.
enum Heard {
    Shard(Option<Result<Event, StoreError>>),
    Operation(Option<Result<Event, StoreError>>),
}

impl Watcher {
    async fn next(&mut self) -> Result<Arc<ShardMap>, Error> {
        loop {
            let current = match &mut self.following {
                Some(following) => following.advance().await?,
                None => {
                    self.following = Some(Following::start(&self.registry).await?);
                    true
                }
            };
            let Some(following) = self.following.as_mut().filter(|_| current) else {
                // A stream ended: start over.
                self.following = None;
                continue;
            };
            let Ok(map) = following.map() else {
                if let Some(refused) = self.registry.refuse_map().await? {
                    return Err(refused);
                }
                // The records are between two states: wait for the rest.
                continue;
            };
            if following.snapshot.is_after(self.shown) {
                self.shown = Some(following.snapshot.at());
                // The operations are listed after the shards, and may be as of a later moment than the next changes of shards.
                self.revision = map.revision().max(self.revision + 1);
                return Ok(Arc::new(map.at_revision(self.revision)));
            }
        }
    }
}

impl Following {
    async fn start(registry: &Registry) -> Result<Self, Error> {
        let snapshot = Snapshot::read(registry).await?;
        let store = registry.store();
        let shards = store
            .watch(registry.shards().prefix(), snapshot.shards_at)
            .await?;
        let operations = store
            .watch(registry.operations().prefix(), snapshot.operations_at)
            .await?;
        Ok(Self {
            snapshot,
            map: None,
            shards,
            operations,
        })
    }

    /// Returns the map of the snapshot.
    fn map(&mut self) -> Result<ShardMap, Error> {
        let map = match self.map.take() {
            Some(map) => map.at_revision(self.snapshot.revision()),
            None => self.snapshot.map()?,
        };
        self.map = Some(map.clone());
        Ok(map)
    }

    /// Waits for a change and takes in all that are there. Returns whether the streams go on.
    async fn advance(&mut self) -> Result<bool, Error> {
        let first = futures_util::future::select(self.shards.next(), self.operations.next());
        let first = match first.await {
            futures_util::future::Either::Left((heard, _)) => Heard::Shard(heard),
            futures_util::future::Either::Right((heard, _)) => Heard::Operation(heard),
        };
        if !self.take(first)? {
            return Ok(false);
        }
        while let Some(heard) = self.shards.next().now_or_never() {
            if !self.take(Heard::Shard(heard))? {
                return Ok(false);
            }
        }
        while let Some(heard) = self.operations.next().now_or_never() {
            if !self.take(Heard::Operation(heard))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&mut self, heard: Heard) -> Result<bool, Error> {
        let (Heard::Shard(item) | Heard::Operation(item)) = &heard;
        if matches!(item, None | Some(Err(StoreError::FellBehind { .. }))) {
            return Ok(false);
        }
        match heard {
            Heard::Shard(Some(event)) => {
                let event = event?;
                self.snapshot.shards_at = event.revision;
                let record = put(&mut self.snapshot.shards, event)?;
                // Which side of an operation a map shows follows from all its records.
                let record = record.filter(|record| record.hold.is_none()).cloned();
                let in_place = |map: ShardMap, record| {
                    let update = ShardMapChange::Update { record };
                    map.apply(update).ok()
                };
                self.map = self
                    .map
                    .take()
                    .zip(record)
                    .and_then(|(map, record)| in_place(map, record));
            }
            Heard::Operation(Some(event)) => {
                let event = event?;
                self.snapshot.operations_at = event.revision;
                let operation = put(&mut self.snapshot.operations, event)?;
                let is_of_others =
                    operation.is_some_and(|each| each.keyspace != self.snapshot.keyspace);
                if !is_of_others {
                    self.map = None;
                }
            }
            Heard::Shard(None) | Heard::Operation(None) => {}
        }
        Ok(true)
    }
}

/// Returns the record as it is from now on.
fn put<T: Record>(records: &mut BTreeMap<Key, T>, event: Event) -> Result<Option<&T>, Error> {
    let Event { key, value, .. } = event;
    let Some(value) = value else {
        records.remove(&key);
        return Ok(None);
    };
    let record = decode(&value).map_err(|source| Error::Format {
        key: key.clone(),
        source,
    })?;
    records.insert(key.clone(), record);
    Ok(records.get(&key))
}
