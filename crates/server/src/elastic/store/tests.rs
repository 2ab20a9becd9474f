//! How shards are found whose primaries may be anywhere.

use std::sync::atomic::{AtomicU32, Ordering};

use shardwright_elastic::{Journal as _, RegistryJournal, Version};
use shardwright_registry::{
    Entry, Key, Listing, MemoryStore, Prefix, Registration, Revision, StoreError as RegistryError,
    Watch,
};
use shardwright_topology::{Member, Operation, OperationKind, Phase, ReplicaId, ShardRecord};

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

/// An operation that divides `shard-0` into `low` and `high`.
fn split(phase: Phase) -> Operation {
    let shard = |name: &str| ShardId::new(name).expect("a name");
    Operation {
        id: OperationId::new("op-1").expect("a name"),
        keyspace: KeyspaceName::main(),
        kind: OperationKind::Split,
        sources: vec![ShardId::numbered(0)],
        targets: vec![shard("low"), shard("high")],
        phase,
        error: None,
        paused: false,
        members: None,
    }
}

/// A registry with that operation, where a node has copies of all its shards, of which there is one record at most.
async fn left_by(phase: Phase, record: Option<ShardRecord>) -> Registry {
    let store = Arc::new(MemoryStore::new());
    let registry = Registry::seeded(store, KeyspaceName::main(), 7);
    let split = split(phase);
    for (place, shard) in (0_u128..).zip(split.sources.iter().chain(&split.targets)) {
        let copy = Member {
            node: NodeId::new("n1").expect("a name"),
            replica_id: ReplicaId::from_bits(place),
        };
        let registered = registry.register_copy(shard, &copy).await;
        registered.expect("the store answers");
    }
    let id = split.id.clone();
    let written = registry.operations().create(&id, split).await;
    written.expect("it is new");
    if let Some(record) = record {
        registry.create_shard(record).await.expect("it is new");
    }
    registry
}

async fn importing(registry: Registry) -> Vec<String> {
    let cluster = ClusterStore::through(registry, Arc::new(Obedient));
    let importing = cluster.importing().await.expect("the registry answers");
    let named = importing.iter().map(|(shard, by)| format!("{shard} {by}"));
    named.collect()
}

#[tokio::test]
async fn copies_of_shards_whose_records_have_gone_are_left_by_the_operation_that_is_over() {
    let left = importing(left_by(Phase::Done, None).await).await;
    assert_eq!(left, ["shard-0 op-1"]);
    let left = importing(left_by(Phase::Aborted, None).await).await;
    assert_eq!(left, ["low op-1", "high op-1"]);
    for phase in [
        Phase::Planned,
        Phase::Committed,
        Phase::CleaningUp,
        Phase::Aborting,
    ] {
        let left = importing(left_by(phase, None).await).await;
        assert_eq!(left, [""; 0], "{phase} is not over");
    }
}

#[tokio::test]
async fn a_shard_that_owns_keys_is_never_left() {
    let (id, main) = (ShardId::numbered(0), KeyspaceName::main());
    let owns = ShardRecord::new(main, id, Some(KeyRange::ALL)).replicated();
    let left = importing(left_by(Phase::Done, Some(owns)).await).await;
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn the_record_of_an_operation_goes_once_the_node_has_been_asked_again() {
    let registry = left_by(Phase::Done, None).await;
    let journal = RegistryJournal::new(registry.clone()).expect("a journal");
    let id = split(Phase::Done).id;
    let found = registry.operations().get(&id).await;
    let version = Version(found.expect("an answer").expect("it is there").revision.0);
    let refused = journal.remove(&id, version).await;
    assert!(refused.is_err_and(|error| error.is_retryable()));

    // The node does as it is told: its copy goes.
    let forgets = Forgets {
        registry: registry.clone(),
        asked: Mutex::default(),
    };
    let way = Arc::new(forgets);
    let cluster = ClusterStore::through(registry, Arc::clone(&way) as Arc<dyn Way>);
    for (shard, _) in cluster.importing().await.expect("an answer") {
        let removed = cluster.remove(&id, &shard).await;
        removed.expect("the node answers");
    }
    assert_eq!(*way.asked.lock().expect("nobody panics"), ["n1"]);
    assert!(cluster.importing().await.expect("an answer").is_empty());
    journal.remove(&id, version).await.expect("nothing is left");
}

/// A node that removes its copy of `shard-0`, whatever it is asked.
#[derive(Debug)]
struct Forgets {
    registry: Registry,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Way for Forgets {
    async fn send(&self, node: &NodeId, _: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        self.asked
            .lock()
            .expect("nobody panics")
            .push(node.to_string());
        let copy = Member {
            node: node.clone(),
            replica_id: ReplicaId::from_bits(0),
        };
        self.registry
            .forget_copy(&ShardId::numbered(0), &copy)
            .await?;
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
