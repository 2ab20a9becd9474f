//! Follows the registry, and creates the keyspaces that a coordinator manages.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use shardwright_registry::{Partitioning, Registry, Store, watch_records};
use shardwright_topology::{KeyspaceName, ShardRecord};
use tokio::{sync::mpsc, task::JoinHandle};

use super::Heard;
use crate::core::{Event, Settings};

/// How long to wait after the registry failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Shows the machine every record and every change, for as long as the task runs.
pub(super) fn start(
    store: Arc<dyn Store>,
    settings: Settings,
    heard: mpsc::UnboundedSender<Heard>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        create(&store, Settings::partitions(), Partitioning::Named, &[]).await;
        let pause = PAUSE.min(settings.check_interval / 2);
        let mut watch = watch_records(store);
        while let Some(seen) = watch.next().await {
            match seen {
                Ok(seen) => {
                    if heard.send(Heard::Event(Event::Seen(seen))).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the watch of the registry failed");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    })
}

/// Creates the keyspace `main` in a task of its own.
pub(super) fn bootstrap(store: Arc<dyn Store>, shards: u32, replicated: bool) {
    let shards = shards_of_main(shards, replicated);
    let create = async move {
        create(&store, KeyspaceName::main(), Partitioning::Ranges, &shards).await;
    };
    tokio::spawn(create);
}

/// Returns so many shards that own ranges. If logs decide what is written to them, the catalog shard is there too: first, so that no map
/// of the keyspace is without it.
fn shards_of_main(count: u32, replicated: bool) -> Vec<ShardRecord> {
    let main = KeyspaceName::main();
    let ranges = ShardRecord::even(&main, count);
    if replicated {
        let catalog = ShardRecord::catalog(main);
        let all = std::iter::once(catalog).chain(ranges);
        all.map(ShardRecord::replicated).collect()
    } else {
        ranges.collect()
    }
}

/// Creates a keyspace unless it exists, and tries until the registry answers.
async fn create(
    store: &Arc<dyn Store>,
    name: KeyspaceName,
    kind: Partitioning,
    shards: &[ShardRecord],
) {
    let registry = Registry::new(store.clone(), name);
    while let Err(error) = registry.bootstrap_with(kind.clone(), shards.to_vec()).await {
        tracing::warn!(%error, "the registry did not create a keyspace");
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use shardwright_registry::MemoryStore;
    use shardwright_topology::ShardId;

    use super::*;

    async fn created(replicated: bool) -> Registry {
        let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
        let (store, shards) = (registry.store(), shards_of_main(8, replicated));
        create(store, KeyspaceName::main(), Partitioning::Ranges, &shards).await;
        registry
    }

    #[tokio::test]
    async fn a_replicated_keyspace_has_a_catalog_beside_its_ranges() {
        let registry = created(true).await;
        let map = registry.map().await.expect("a map");
        let catalog = map.catalog().map(|catalog| catalog.record());
        let catalog = catalog.expect("it has one");
        assert_eq!((&catalog.id, catalog.range), (&ShardId::catalog(), None));
        assert!(catalog.replicated);
        assert_eq!(map.len(), 8, "it is not counted");
    }

    #[tokio::test]
    async fn a_keyspace_without_logs_has_none() {
        let registry = created(false).await;
        assert_eq!(registry.map().await.expect("a map").catalog(), None);
    }
}
