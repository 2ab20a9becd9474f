//! The driver that keeps a router in step with a registry.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use futures_util::StreamExt;
use shardwright_registry::{Error, Key, Partitioning, Record, Records, Registry, Store, decode};
use shardwright_topology::{Backoff, NodeRecord, ShardRecord};

use super::{Router, lock};
use crate::{clock, route::Placed};

/// The waits after a failure of the registry.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

fn backoff() -> Backoff {
    Backoff::new(BACKOFF.0, BACKOFF.1, clock::seed())
}

impl Router {
    /// Follows a keyspace in a registry, until the future is dropped.
    ///
    /// Nodes, shards and the way from tenants to shards all come from there. While the registry is away the router goes on with
    /// what it knows, and this tries again.
    pub async fn follow(&self, registry: &Registry) -> Infallible {
        tokio::select! {
            never = self.follow_shards(registry) => never,
            never = self.follow_nodes(registry) => never,
            never = self.read_stale(registry) => never,
        }
    }

    async fn follow_shards(&self, registry: &Registry) -> Infallible {
        let mut waits = backoff();
        loop {
            match registry.keyspace().await {
                Ok(Some(keyspace)) => match keyspace.value.partitioning {
                    Partitioning::Named => return self.follow_named(registry).await,
                    partitioning @ (Partitioning::Ranges | Partitioning::Modulo { .. }) => {
                        self.set_partitioning(partitioning);
                        return self.follow_map(registry).await;
                    }
                },
                Ok(None) => {}
                Err(error) => away(&error),
            }
            rest(&mut waits).await;
        }
    }

    async fn follow_map(&self, registry: &Registry) -> Infallible {
        let mut maps = registry.watch_map();
        let mut waits = backoff();
        loop {
            match maps.next().await {
                Some(Ok(map)) => {
                    self.set_map(map);
                    waits = backoff();
                }
                Some(Err(error)) => {
                    away(&error);
                    rest(&mut waits).await;
                }
                None => {
                    maps = registry.watch_map();
                    rest(&mut waits).await;
                }
            }
        }
    }

    async fn follow_named(&self, registry: &Registry) -> Infallible {
        let list = |records: &BTreeMap<Key, ShardRecord>| {
            let placed = |record: &ShardRecord| {
                let Placed { owner, epoch } = Placed::of(record);
                (record.id.clone(), owner, epoch)
            };
            self.set_owners(records.values().map(placed));
        };
        let change = |before: Option<&ShardRecord>, now: Option<&ShardRecord>| match (before, now) {
            (_, Some(record)) => {
                let Placed { owner, epoch } = Placed::of(record);
                self.set_owner(&record.id, owner, epoch);
            }
            (Some(record), None) => {
                self.remove_shard(&record.id);
            }
            (None, None) => {}
        };
        follow_records(&**registry.store(), &registry.shards(), list, change).await
    }

    async fn follow_nodes(&self, registry: &Registry) -> Infallible {
        let list = |records: &BTreeMap<Key, NodeRecord>| self.set_addresses(records.values());
        let change = |before: Option<&NodeRecord>, now: Option<&NodeRecord>| {
            if let Some(node) = now.or(before) {
                let address = now.map(|node| node.address.as_str());
                self.set_address(&node.id, address);
            }
        };
        follow_records(&**registry.store(), &registry.nodes(), list, change).await
    }

    /// Reads the records of shards of which a request brought news.
    async fn read_stale(&self, registry: &Registry) -> Infallible {
        loop {
            self.inner.stale_shards.notified().await;
            while let Some(shard) = {
                let mut stale = lock(&self.inner.stale);
                stale.pop_first()
            } {
                match registry.shard(&shard).await {
                    Ok(record) => {
                        self.learn(record.value);
                    }
                    // The watch brings what this read does not.
                    Err(error) => tracing::debug!(%shard, %error, "read a stale shard"),
                }
            }
        }
    }
}

/// Calls `list` with all records, and `change` with each later change of one, over and over.
async fn follow_records<T: Record>(
    store: &dyn Store,
    records: &Records<T>,
    list: impl Fn(&BTreeMap<Key, T>),
    change: impl Fn(Option<&T>, Option<&T>),
) -> Infallible {
    let mut waits = backoff();
    loop {
        if let Err(error) = follow_once(store, records, &list, &change, &mut waits).await {
            away(&error);
        }
        rest(&mut waits).await;
    }
}

/// Returns when the watch ends, or with the failure that ended it.
async fn follow_once<T: Record>(
    store: &dyn Store,
    records: &Records<T>,
    list: &impl Fn(&BTreeMap<Key, T>),
    change: &impl Fn(Option<&T>, Option<&T>),
    waits: &mut Backoff,
) -> Result<(), Error> {
    let listing = store.list(records.prefix()).await?;
    let mut changes = store.watch(records.prefix(), listing.revision).await?;
    let mut known = BTreeMap::new();
    for entry in listing.entries {
        if let Some(record) = read(&entry.key, &entry.value) {
            known.insert(entry.key, record);
        }
    }
    list(&known);
    *waits = backoff();
    while let Some(event) = changes.next().await {
        let event = event?;
        let Some(value) = event.value else {
            let before = known.remove(&event.key);
            change(before.as_ref(), None);
            continue;
        };
        if let Some(record) = read::<T>(&event.key, &value) {
            change(known.get(&event.key), Some(&record));
            known.insert(event.key, record);
        }
    }
    Ok(())
}

/// Returns a record; one that another release wrote is reported, and the one before it stays.
fn read<T: Record>(key: &Key, value: &[u8]) -> Option<T> {
    match decode(value) {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::warn!(%key, %error, "a record cannot be read and is passed over");
            None
        }
    }
}

fn away(error: &Error) {
    tracing::warn!(%error, "the registry is away, routing goes on with what is known");
}

async fn rest(waits: &mut Backoff) {
    let wait = waits.next().unwrap_or(BACKOFF.1);
    tokio::time::sleep(wait).await;
}
