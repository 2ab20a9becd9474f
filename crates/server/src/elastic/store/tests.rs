//! How shards are found whose primaries may be anywhere.

use std::sync::atomic::{AtomicU32, Ordering};

use shardwright_registry::{
    Entry, Key, Listing, MemoryStore, Prefix, Registration, Revision, StoreError as RegistryError,
    Watch,
};
use shardwright_topology::ShardRecord;

use super::*;

/// A registry whose reads of a shard show a few times what was there before the shard was.
#[derive(Debug)]
struct Behind {
    store: MemoryStore,
    late: AtomicU32,
}

#[async_trait]
impl Store for Behind {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, RegistryError> {
        let is_shard = key.as_str().starts_with("shard/");
        let fewer = |late: u32| late.checked_sub(1);
        let order = Ordering::Relaxed;
        if is_shard && self.late.fetch_update(order, order, fewer).is_ok() {
            return Ok(None);
        }
        self.store.get(key).await
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, RegistryError> {
        self.store.create(key, value).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, RegistryError> {
        self.store.compare_and_set(key, expected, value).await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), RegistryError> {
        self.store.delete(key, expected).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, RegistryError> {
        self.store.list(prefix).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, RegistryError> {
        self.store.watch(prefix, after).await
    }
}

/// Nodes that do whatever they are asked.
#[derive(Debug)]
struct Obedient;

#[async_trait]
impl Way for Obedient {
    async fn send(&self, _: &NodeId, _: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        Ok(wire::encode(&wire::Answer::Ok(Said::Done)))
    }

    async fn measure(&self, node: &NodeId, request: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        self.send(node, request).await
    }

    async fn pause(&self, _: Duration) {}

    fn seed(&self) -> u64 {
        7
    }
}

/// Asks a shard to take writes again, which is there or not, given how many reads do not show it.
async fn release(is_there: bool, late: u32) -> Result<(), StoreError> {
    let late = AtomicU32::new(late);
    let store = MemoryStore::new();
    let registry = Registry::seeded(Arc::new(store.clone()), KeyspaceName::main(), 7);
    let (shard, node) = (ShardId::numbered(0), NodeId::new("n1").expect("a name"));
    if is_there {
        let process = Registration::new(node.clone(), "http://127.0.0.1:1");
        registry.register(process).await.expect("a node");
        let record = ShardRecord::new(KeyspaceName::main(), shard.clone(), Some(KeyRange::ALL));
        registry.create_shard(record).await.expect("a shard");
        registry
            .assign_shard(&shard, &node)
            .await
            .expect("an owner");
    }
    let behind = Arc::new(Behind { store, late });
    let registry = Registry::seeded(behind, KeyspaceName::main(), 7);
    let cluster = ClusterStore::through(registry, Arc::new(Obedient));
    let operation = OperationId::new("op-1").expect("a name");
    cluster.release(&operation, &shard).await
}

#[tokio::test]
async fn a_shard_that_a_read_does_not_show_yet_is_asked_all_the_same() {
    for late in [0, 1, TRIES - 1] {
        let released = release(true, late).await;
        assert!(released.is_ok(), "{late} late reads: {released:?}");
    }
}

#[tokio::test]
async fn a_shard_that_nobody_has_made_is_unknown() {
    let released = release(false, 0).await;
    assert!(
        matches!(released, Err(StoreError::Unknown { .. })),
        "{released:?}"
    );
}
