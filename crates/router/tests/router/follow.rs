//! Following a registry, also one that goes away.

use async_trait::async_trait;
use futures_util::stream;
use shardwright_registry::{
    Entry, Key, Listing, MemoryStore, Partitioning, Prefix, Registration, Registry, Revision,
    Store, StoreError, Watch,
};
use shardwright_router::{Error, topology::KeyspaceName};
use shardwright_testkit::Way;

use super::*;

/// Waits until something holds, as far as a router's table says.
async fn until(router: &Router, what: &str, holds: impl Fn(&Router) -> bool) {
    let wait = async {
        while !holds(router) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .unwrap_or_else(|_| panic!("{what} comes to hold"));
}

fn follow(router: &Router, registry: &Registry) -> tokio::task::JoinHandle<()> {
    let (router, registry) = (router.clone(), registry.clone());
    tokio::spawn(async move {
        router.follow(&registry).await;
    })
}

async fn register(registry: &Registry, name: &str, shards: &[u32]) {
    let registration = Registration {
        shards: shards.iter().copied().map(ShardId::numbered).collect(),
        ..Registration::new(node(name), name)
    };
    registry.register(registration).await.expect("registered");
}

fn owner_is(owner: &'static str, number: u32) -> impl Fn(&Router) -> bool {
    move |router| {
        router
            .route(&shard(number))
            .is_ok_and(|route| route.owner == node(owner))
    }
}

#[tokio::test]
async fn a_router_learns_everything_from_the_registry() {
    let network = Network::new();
    let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
    let (n1, n2) = (join(&network, "n1"), join(&network, "n2"));
    // The router may be there before the keyspace is.
    let tasks = [follow(&n1, &registry), follow(&n2, &registry)];
    registry
        .bootstrap(Partitioning::Modulo { shards: 4 }, 4)
        .await
        .expect("created");
    register(&registry, "n1", &[0, 1]).await;
    register(&registry, "n2", &[2, 3]).await;
    for router in [&n1, &n2] {
        until(router, "the owner of shard 3", owner_is("n2", 3)).await;
        until(router, "the owner of shard 0", owner_is("n1", 0)).await;
    }
    count(&n2, "count");
    let answer = n1.call(&shard(3), "count", "").await.expect("an answer");
    assert_eq!(answer, "1");
    assert!(n1.is_shard_local(&shard(1)) && !n1.is_shard_local(&shard(2)));

    registry
        .assign_shard(&shard(1), &node("n2"))
        .await
        .expect("assigned");
    until(&n2, "shard 1 to arrive", |router| {
        router.is_shard_local(&shard(1))
    })
    .await;
    let answer = n1.call(&shard(1), "count", "").await.expect("an answer");
    assert_eq!(answer, "2");
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn shards_that_have_names_only_are_followed_too() {
    let partitions = KeyspaceName::new("partitions").expect("a valid name");
    let registry = Registry::new(Arc::new(MemoryStore::new()), partitions);
    registry
        .bootstrap(Partitioning::Named, 3)
        .await
        .expect("created");
    register(&registry, "n1", &[0]).await;
    let router = Router::local(node("n1"));
    let task = follow(&router, &registry);
    until(&router, "shard 0 to open", |router| {
        router.is_shard_local(&shard(0))
    })
    .await;
    assert!(matches!(
        router.route(&shard(1)),
        Err(Error::NoOwner { .. })
    ));
    assert!(matches!(router.shard_of("tenant"), Err(Error::NoTenants)));
    register(&registry, "n2", &[1]).await;
    until(&router, "the owner of shard 1", owner_is("n2", 1)).await;
    let found = registry.shard(&shard(0)).await.expect("it exists");
    registry
        .store()
        .delete(&found.key, found.revision)
        .await
        .expect("deleted");
    until(&router, "shard 0 to go", |router| {
        matches!(router.guard(&shard(0)), Err(Error::UnknownShard { .. }))
    })
    .await;
    task.abort();
}

#[tokio::test]
async fn while_the_registry_is_away_requests_go_on_and_news_comes_after() {
    let network = Network::new();
    let shared = MemoryStore::new();
    let store = Way::to(&shared);
    let registry = Registry::new(Arc::new(store.clone()), KeyspaceName::main());
    registry
        .bootstrap(Partitioning::Ranges, 2)
        .await
        .expect("created");
    let (n1, n2) = (join(&network, "n1"), join(&network, "n2"));
    register(&registry, "n1", &[0]).await;
    register(&registry, "n2", &[1]).await;
    count(&n2, "count");
    let tasks = [follow(&n1, &registry), follow(&n2, &registry)];
    for router in [&n1, &n2] {
        until(router, "the owner of shard 1", owner_is("n2", 1)).await;
    }
    until(&n1, "shard 0 to open", |router| {
        router.is_shard_local(&shard(0))
    })
    .await;

    store.cut();
    let answer = n1
        .call(&shard(1), "count", "")
        .await
        .expect("an answer from a known route");
    assert_eq!(answer, "1");
    n1.execute(&shard(0), async |_| ())
        .await
        .expect("local work goes on");

    // Another process of the cluster still reaches the registry, and gives the shard a later epoch.
    let elsewhere = Registry::new(Arc::new(shared), KeyspaceName::main());
    elsewhere
        .assign_shard(&shard(1), &node("n1"))
        .await
        .expect("assigned");
    assert!(
        owner_is("n2", 1)(&n1),
        "nothing is heard while the registry is away"
    );
    store.mend();
    until(&n1, "the news", |router| router.is_shard_local(&shard(1))).await;
    until(&n2, "the news", owner_is("n1", 1)).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A store whose watches say nothing: what is learnt then comes from records that a refusal made the router read.
#[derive(Debug)]
struct Silent(MemoryStore);

#[async_trait]
impl Store for Silent {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.0.get(key).await
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError> {
        self.0.create(key, value).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError> {
        self.0.compare_and_set(key, expected, value).await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError> {
        self.0.delete(key, expected).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        self.0.list(prefix).await
    }

    async fn watch(&self, _: &Prefix, _: Revision) -> Result<Watch, StoreError> {
        Ok(Box::pin(stream::pending()))
    }
}

#[tokio::test]
async fn a_refusal_makes_both_sides_read_the_record() {
    let network = Network::new();
    let store = MemoryStore::new();
    let registry = Registry::new(Arc::new(Silent(store)), KeyspaceName::main());
    registry
        .bootstrap(Partitioning::Ranges, 2)
        .await
        .expect("created");
    let (caller, owner) = (join(&network, "caller"), join(&network, "owner"));
    register(&registry, "caller", &[]).await;
    register(&registry, "owner", &[0, 1]).await;
    count(&owner, "count");
    let first = follow(&caller, &registry);
    until(&caller, "the owner of shard 0", owner_is("owner", 0)).await;
    // A later epoch, of which only the router that begins after it hears.
    registry
        .add_replica(&shard(0), &node("caller"))
        .await
        .expect("added");
    let second = follow(&owner, &registry);
    until(&owner, "shard 0 to open", |router| {
        router.is_shard_local(&shard(0))
    })
    .await;
    let current = owner.route(&shard(0)).expect("owned").epoch;
    assert!(caller.route(&shard(0)).expect("owned").epoch < current);
    caller
        .call(&shard(0), "count", "")
        .await
        .expect("repeated at the current epoch");
    until(&caller, "the current epoch", |router| {
        router
            .route(&shard(0))
            .is_ok_and(|route| route.epoch == current)
    })
    .await;

    // And the other way round: the caller knows more than the owner.
    registry
        .remove_replica(&shard(0), &node("caller"))
        .await
        .expect("removed");
    let later = registry
        .owner(&shard(0))
        .await
        .expect("a record")
        .expect("an owner")
        .epoch;
    let informed = join(&network, "informed");
    informed.set_address(&node("owner"), Some("owner"));
    informed.set_owner(&shard(0), Some(node("owner")), later);
    informed
        .call(&shard(0), "count", "")
        .await
        .expect("the owner reads the record");
    assert_eq!(owner.guard(&shard(0)).expect("local").epoch(), later);
    first.abort();
    second.abort();
}
