//! What nodes report of their copies, on its way to a promotion, and what each process reads.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use shardwright_failover::{
    Config, Copies, Copy, Event, FailoverCoordinator, Heartbeat, HeartbeatError, Mode,
    PromotionError,
};
use shardwright_registry::{
    Entry, Key, Listing, MemoryStore, Partitioning, Prefix, Registration, Registry, Revision,
    Store, StoreError, Watch, decode,
};
use shardwright_topology::{Epoch, KeyspaceName, Lsn, NodeId, ShardId};

/// A store that remembers what was watched, and that lists reports when it is let.
#[derive(Debug, Clone)]
struct Watched {
    store: MemoryStore,
    prefixes: Arc<Mutex<Vec<Prefix>>>,
    /// Reports are listed by whoever holds one of its permits.
    reports: Arc<tokio::sync::Semaphore>,
}

impl Watched {
    fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            prefixes: Arc::default(),
            reports: Arc::new(tokio::sync::Semaphore::new(1)),
        }
    }

    async fn bootstrapped() -> (Self, Registry) {
        let store = Self::new();
        let registry = Registry::new(Arc::new(store.clone()), KeyspaceName::main());
        registry.bootstrap(Partitioning::Ranges, 1).await.unwrap();
        (store, registry)
    }

    async fn report_of(&self, name: &str) -> Copies {
        let key = Key::new(format!("copy/main/{name}")).unwrap();
        decode(&self.store.get(&key).await.unwrap().unwrap().value).unwrap()
    }
}

#[async_trait::async_trait]
impl Store for Watched {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError> {
        self.store.create(key, value).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError> {
        self.store.compare_and_set(key, expected, value).await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError> {
        self.store.delete(key, expected).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        if prefix.as_str().starts_with("copy/") {
            let _let = self.reports.acquire().await.unwrap();
        }
        self.store.list(prefix).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        self.prefixes.lock().unwrap().push(prefix.clone());
        self.store.watch(prefix, after).await
    }
}

/// Slow looks, so that nothing is read by and by.
fn config() -> Config {
    Config {
        check_interval: Duration::from_secs(200),
        heartbeat_timeout: Duration::from_secs(600),
        ..Config::default()
    }
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn shard() -> ShardId {
    ShardId::numbered(0)
}

async fn heartbeat(registry: &Registry, name: &str, config: &Config) -> Heartbeat {
    let registration = Registration {
        shards: vec![shard()],
        ..Registration::new(node(name), "http://localhost:0")
    };
    let heartbeat = Heartbeat::new(registry.clone(), registration, config).unwrap();
    heartbeat.start().await.unwrap();
    heartbeat
}

/// A primary on node-1 that serves at an epoch, and a replica on node-2.
async fn pair(registry: &Registry, config: &Config) -> (Heartbeat, Heartbeat, Epoch) {
    let one = heartbeat(registry, "node-1", config).await;
    let epoch = within(one.serving(&shard())).await;
    let two = heartbeat(registry, "node-2", config).await;
    registry
        .add_replica(&shard(), &node("node-2"))
        .await
        .unwrap();
    (one, two, epoch)
}

fn copy(epoch: Epoch, in_sync: bool) -> [(ShardId, Copy); 1] {
    let copy = Copy {
        epoch,
        position: Lsn(7),
        in_sync,
    };
    [(shard(), copy)]
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it happens in the end")
}

#[tokio::test]
async fn a_replica_that_took_back_that_it_is_in_sync_is_not_promoted_as_if_it_were() {
    let (_, registry) = Watched::bootstrapped().await;
    let (one, two, _) = pair(&registry, &config()).await;
    let record = registry.shard(&shard()).await.unwrap().value;
    let epoch = record.active_epoch();
    two.report(copy(epoch, true)).await.unwrap();
    let coordinator = FailoverCoordinator::new(registry.clone(), node("c1"), config()).unwrap();
    let mut events = coordinator.events();
    coordinator.start();
    within(coordinator.leading()).await;
    two.report(copy(epoch, false)).await.unwrap();
    one.stop().await;
    let lossless = within(async {
        loop {
            if let Event::Promoted { to, lossless, .. } = events.recv().await.unwrap() {
                assert_eq!(to, node("node-2"));
                return lossless;
            }
        }
    });
    assert!(!lossless.await);
    let record = registry.shard(&shard()).await.unwrap().value;
    assert_eq!(record.data_loss_generation, 1);
    two.stop().await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_process_that_starts_takes_back_what_the_one_before_it_reported() {
    let (store, registry) = Watched::bootstrapped().await;
    let registration = Registration::new(node("node-2"), "http://localhost:0");
    let unstarted = Heartbeat::new(registry.clone(), registration, &config()).unwrap();
    let refused = unstarted.report(copy(Epoch(1), true)).await;
    assert!(matches!(refused, Err(HeartbeatError::NotStarted { .. })));

    let (one, two, epoch) = pair(&registry, &config()).await;
    two.report(copy(epoch, true)).await.unwrap();
    let before = store.report_of("node-2").await;
    assert_eq!(before.copies.len(), 1);
    let again = heartbeat(&registry, "node-2", &config()).await;
    let after = store.report_of("node-2").await;
    assert!(before.incarnation < after.incarnation);
    assert!(
        after.copies.is_empty(),
        "another process, perhaps another disk"
    );
    // The former process has not heard of it yet, and overwrites nothing.
    assert!(two.report(copy(epoch, false)).await.is_err());
    let refused = two.report(copy(epoch, false)).await;
    assert!(matches!(refused, Err(HeartbeatError::Superseded { .. })));
    assert_eq!(store.report_of("node-2").await, after);
    again.report(copy(epoch, true)).await.unwrap();
    for each in [&one, &two, &again] {
        each.stop().await;
    }
}

#[tokio::test]
async fn a_listing_that_hangs_delays_nothing_but_the_choice() {
    let (store, registry) = Watched::bootstrapped().await;
    let manual = Config {
        check_interval: Duration::from_millis(40),
        heartbeat_timeout: Duration::from_millis(400),
        mode: Mode::Manual,
        ..Config::default()
    };
    let hung = store.reports.clone().acquire_owned().await.unwrap();
    let (one, two, _) = pair(&registry, &manual).await;
    let coordinator = FailoverCoordinator::new(registry.clone(), node("c1"), manual).unwrap();
    let mut events = coordinator.events();
    coordinator.start();
    within(coordinator.leading()).await;
    one.stop().await;
    within(async { while !matches!(events.recv().await.unwrap(), Event::NodeDown { .. }) {} })
        .await;
    let (shard, to) = (shard(), node("node-2"));
    let promote = || coordinator.promote_replica_accepting_loss(&shard, &to);
    let unread = PromotionError::Unavailable {
        shard: shard.clone(),
    };
    assert_eq!(within(promote()).await, Err(unread));
    drop(hung);
    within(promote()).await.unwrap();
    two.stop().await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_heartbeat_watches_the_shards_of_its_keyspace_only() {
    let (store, registry) = Watched::bootstrapped().await;
    let one = heartbeat(&registry, "node-1", &config()).await;
    within(one.serving(&shard())).await;
    let watched = store.prefixes.lock().unwrap().clone();
    assert_eq!(watched, [Prefix::new("shard/main/").unwrap()]);
    one.stop().await;
}

#[tokio::test]
async fn a_heartbeat_ends_when_another_process_runs_under_its_name() {
    let (_, registry) = Watched::bootstrapped().await;
    let quick = Config {
        check_interval: Duration::from_millis(40),
        heartbeat_timeout: Duration::from_millis(400),
        ..Config::default()
    };
    let one = heartbeat(&registry, "node-1", &quick).await;
    within(one.serving(&shard())).await;
    let mut events = one.events();
    let again = heartbeat(&registry, "node-1", &quick).await;
    within(events.recv()).await.unwrap();
    assert!(!one.holds());
    within(again.serving(&shard())).await;
    again.stop().await;
    one.stop().await;
}
