//! The registry on a store in memory: nodes, assignments, records, maps, and stores that do not answer.

mod assignments;
mod copies;
mod maps;
mod partitions;
mod races;
mod record_watch;
mod records;
mod unknown;

use std::sync::Arc;

use shardwright_registry::{MemoryStore, Registration, Registry, Store};
use shardwright_topology::{KeyspaceName, NodeId, OperationId, ShardId};

fn registry() -> Registry {
    on(Arc::new(MemoryStore::new()))
}

fn on(store: Arc<dyn Store>) -> Registry {
    Registry::seeded(store, KeyspaceName::main(), 1)
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a valid name")
}

fn shard(number: u32) -> ShardId {
    ShardId::numbered(number)
}

fn operation(name: &str) -> OperationId {
    OperationId::new(name).expect("a valid name")
}

async fn register(registry: &Registry, name: &str, shards: &[u32]) {
    let shards = shards.iter().copied().map(shard).collect();
    let registration = Registration {
        shards,
        ..Registration::new(node(name), "http://localhost")
    };
    registry.register(registration).await.expect("free shards");
}
