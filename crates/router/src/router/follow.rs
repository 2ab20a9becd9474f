//! The driver that keeps a router in step with a registry.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use shardwright_registry::{Error, Key, Partitioning, Prefix, Registry, Seen, Store, watch_below};
use shardwright_topology::{Backoff, NodeId, NodeRecord, ShardId, ShardRecord};

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
            match next(&mut maps).await {
                Ok(map) => {
                    self.set_map(map);
                    waits = backoff();
                }
                Err(error) => {
                    away(&error);
                    rest(&mut waits).await;
                }
            }
        }
    }

    async fn follow_named(&self, registry: &Registry) -> Infallible {
        let placed = |record: ShardRecord| {
            let Placed { owner, epoch } = Placed::of(&record);
            (record.id, owner, epoch)
        };
        follow_records(
            registry.store(),
            registry.shards().prefix(),
            |change| match change {
                Followed::All(all) => {
                    self.set_owners(all.into_iter().filter_map(shard).map(placed))
                }
                Followed::One(one) => {
                    if let Some((id, owner, epoch)) = shard(*one).map(placed) {
                        self.set_owner(&id, owner, epoch);
                    }
                }
                Followed::Gone(key) => {
                    if let Ok(id) = ShardId::new(key.last_name()) {
                        self.remove_shard(&id);
                    }
                }
            },
        )
        .await
    }

    async fn follow_nodes(&self, registry: &Registry) -> Infallible {
        follow_records(
            registry.store(),
            registry.nodes().prefix(),
            |change| match change {
                Followed::All(all) => self.set_addresses(all.into_iter().filter_map(node)),
                Followed::One(one) => {
                    if let Some(node) = node(*one) {
                        self.set_address(&node.id, Some(&node.address));
                    }
                }
                Followed::Gone(key) => {
                    if let Ok(id) = NodeId::new(key.last_name()) {
                        self.set_address(&id, None);
                    }
                }
            },
        )
        .await
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

/// What a watch of records says.
enum Followed {
    /// All that there are, once.
    All(Vec<Seen>),
    /// A record as it is from now on.
    One(Box<Seen>),
    /// A key that has no record any more.
    Gone(Key),
}

/// Tells of all records below a prefix, and then of each change.
async fn follow_records(
    store: &Arc<dyn Store>,
    prefix: &Prefix,
    tell: impl Fn(Followed),
) -> Infallible {
    let mut records = watch_below(Arc::clone(store), prefix.clone());
    let mut first = Some(Vec::new());
    let mut waits = backoff();
    loop {
        match next(&mut records).await {
            Ok(Seen::Listed(_)) => {
                waits = backoff();
                if let Some(all) = first.take() {
                    tell(Followed::All(all));
                }
            }
            Ok(Seen::Deleted { key, .. }) => tell(Followed::Gone(key)),
            Ok(seen) => match &mut first {
                Some(all) => all.push(seen),
                None => tell(Followed::One(Box::new(seen))),
            },
            // Another release wrote it. The one before it stays.
            Err(error @ Error::Format { .. }) => {
                tracing::warn!(%error, "a record cannot be read and is passed over");
            }
            Err(error) => {
                away(&error);
                rest(&mut waits).await;
            }
        }
    }
}

/// The next item of a stream that goes on for ever.
async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    match stream.next().await {
        Some(item) => item,
        None => std::future::pending().await,
    }
}

fn shard(seen: Seen) -> Option<ShardRecord> {
    match seen {
        Seen::Shard(stored) => Some(stored.value),
        _ => None,
    }
}

fn node(seen: Seen) -> Option<NodeRecord> {
    match seen {
        Seen::Node(stored) => Some(stored.value),
        _ => None,
    }
}

fn away(error: &Error) {
    tracing::warn!(%error, "the registry is away, routing goes on with what is known");
}

async fn rest(waits: &mut Backoff) {
    let wait = waits.next().unwrap_or(BACKOFF.1);
    tokio::time::sleep(wait).await;
}
