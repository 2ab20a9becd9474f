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
    tokio::spawn(async move {
        let main = KeyspaceName::main();
        let shards = ShardRecord::even(&main, shards).map(|shard| ShardRecord {
            replicated,
            ..shard
        });
        let shards: Vec<_> = shards.collect();
        create(&store, main, Partitioning::Ranges, &shards).await;
    });
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
