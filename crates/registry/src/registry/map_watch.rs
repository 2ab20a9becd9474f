//! The watch that turns changes of records into shard maps.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{
    FutureExt, StreamExt,
    stream::{self, Stream},
};
use shardwright_topology::{KeyspaceName, Operation, ShardMap, ShardRecord};

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

    pub(super) fn map(&self) -> Result<ShardMap, Error> {
        let keyspace = || self.keyspace.clone();
        let revision = self.shards_at.max(self.operations_at).0;
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
/// shown and the one before holds. Of maps that follow each other at once, only the last is shown. After an error the next call
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
    /// The map that was shown last.
    shown: Option<Arc<ShardMap>>,
}

/// A snapshot and the streams that keep it current.
struct Following {
    snapshot: Snapshot,
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
            let Some(following) = self.following.as_ref().filter(|_| current) else {
                // A stream ended: start over.
                self.following = None;
                continue;
            };
            let Ok(map) = following.snapshot.map() else {
                if let Some(refused) = self.registry.refuse_map().await? {
                    return Err(refused);
                }
                // The records are between two states: wait for the rest.
                continue;
            };
            let newer = self
                .shown
                .as_ref()
                .is_none_or(|shown| shown.revision() < map.revision());
            if newer {
                let map = Arc::new(map);
                self.shown = Some(map.clone());
                return Ok(map);
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
            shards,
            operations,
        })
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
                put(&mut self.snapshot.shards, event)?;
            }
            Heard::Operation(Some(event)) => {
                let event = event?;
                self.snapshot.operations_at = event.revision;
                put(&mut self.snapshot.operations, event)?;
            }
            Heard::Shard(None) | Heard::Operation(None) => {}
        }
        Ok(true)
    }
}

fn put<T: Record>(records: &mut BTreeMap<Key, T>, event: Event) -> Result<(), Error> {
    let Event { key, value, .. } = event;
    match value {
        Some(value) => {
            let record = decode(&value).map_err(|source| Error::Format {
                key: key.clone(),
                source,
            })?;
            records.insert(key, record);
        }
        None => {
            records.remove(&key);
        }
    }
    Ok(())
}
