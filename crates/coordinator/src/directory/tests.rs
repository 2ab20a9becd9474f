//! Tests of the directory on a store in memory.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use shardwright_registry::MemoryStore;

use super::*;

fn shard(name: &str) -> ShardId {
    ShardId::new(name).expect("a name")
}

fn names(shards: &[ShardId]) -> Vec<&str> {
    shards.iter().map(ShardId::as_str).collect()
}

async fn with_shards(store: &MemoryStore, shards: &[&str]) -> Directory {
    let directory = Directory::new(Arc::new(store.clone()));
    for name in shards {
        assert!(directory.add_shard(&shard(name), 1).await.expect("a store"));
    }
    directory
}

fn request(body: serde_json::Value) -> Allocate {
    serde_json::from_value(body).expect("a request")
}

async fn home(directory: &Directory, body: serde_json::Value) -> String {
    let allocation = directory.allocate(&request(body), 2).await;
    allocation.expect("there are shards").shard.to_string()
}

#[tokio::test]
async fn shards_are_listed_in_the_order_of_their_registration() {
    let store = MemoryStore::new();
    let directory = with_shards(&store, &["db-west", "db-east"]).await;
    assert!(!directory.add_shard(&shard("db-west"), 5).await.expect("ok"));
    let stats = directory.stats().await.expect("a store");
    assert_eq!(stats[0], ShardCount::new(shard("db-west"), 1));
    assert!(directory.remove_shard(&shard("db-west")).await.expect("ok"));
    assert!(!directory.remove_shard(&shard("db-west")).await.expect("ok"));
    assert_eq!(
        names(&directory.shards().await.expect("a store")),
        ["db-east"]
    );
}

#[tokio::test]
async fn counts_are_set_and_changed_and_never_negative() {
    let store = MemoryStore::new();
    let directory = with_shards(&store, &["a"]).await;
    let a = shard("a");
    assert_eq!(directory.count(&a, Counted::To(7), 9).await.ok(), Some(7));
    assert_eq!(directory.increment(&a, 10).await.ok(), Some(8));
    assert_eq!(
        directory.count(&a, Counted::By(-100), 11).await.ok(),
        Some(0)
    );
    assert_eq!(directory.decrement(&a, 12).await.ok(), Some(0));
    let stats = directory.stats().await.expect("a store");
    assert_eq!((stats[0].count, stats[0].last_updated), (0, 12));
    let unknown = directory.increment(&shard("b"), 1).await;
    assert!(
        matches!(unknown, Err(Error::UnknownShard { .. })),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_key_keeps_its_first_home_whatever_is_asked_later() {
    let store = MemoryStore::new();
    let directory = with_shards(&store, &["a", "b", "c"]).await;
    let mut homes = Vec::new();
    for key in ["k1", "k2", "k3", "k4"] {
        homes.push(home(&directory, json!({"primaryKey": key})).await);
    }
    assert_eq!(homes, ["a", "b", "c", "a"]);
    // Another process, other shards, another strategy: the same home.
    let other = with_shards(&store, &["d"]).await;
    for strategy in ["hash", "random", "round-robin", "location"] {
        let body = json!({"primaryKey": "k2", "strategy": strategy, "availableShards": ["a", "d"]});
        assert_eq!(home(&other, body).await, "b");
    }
    assert!(other.remove_shard(&shard("b")).await.expect("ok"));
    assert_eq!(home(&other, json!({"primaryKey": "k2"})).await, "b");
    // The turn went on with the store, not with the process; b is gone.
    assert_eq!(home(&other, json!({"primaryKey": "k5"})).await, "c");
}

#[tokio::test]
async fn location_is_heeded() {
    let store = MemoryStore::new();
    let directory = with_shards(&store, &["db-west", "db-east", "db-europe"]).await;
    for (number, region) in ["wnam", "enam", "weur"].into_iter().enumerate() {
        let body = json!({
            "primaryKey": format!("user-{number}"),
            "strategy": {"read": "hash", "write": "location"},
            "targetRegion": region,
            "shardLocations": {
                "db-west": {"region": "wnam", "priority": 2},
                "db-east": {"region": "enam"},
                "db-europe": "weur",
            },
        });
        let expected = ["db-west", "db-east", "db-europe"][number];
        assert_eq!(home(&directory, body).await, expected);
    }
}

#[tokio::test]
async fn a_read_decides_nothing() {
    let store = MemoryStore::new();
    let directory = with_shards(&store, &["a", "b"]).await;
    let read = request(json!({"primaryKey": "k", "operationType": "read"}));
    for _ in 0..3 {
        let allocation = directory
            .allocate(&read, 2)
            .await
            .expect("there are shards");
        assert_eq!(
            (allocation.shard.as_str(), allocation.recorded),
            ("a", false)
        );
    }
    assert_eq!(home(&directory, json!({"primaryKey": "other"})).await, "a");
    assert_eq!(home(&directory, json!({"primaryKey": "k"})).await, "b");
    let allocation = directory.allocate(&read, 2).await.expect("it has a home");
    assert_eq!(
        (allocation.shard.as_str(), allocation.recorded),
        ("b", true)
    );
}

#[tokio::test]
async fn a_shard_that_gets_a_key_is_listed() {
    let store = MemoryStore::new();
    let directory = with_shards(&store, &[]).await;
    let body = request(json!({"primaryKey": "k"}));
    let none = directory.allocate(&body, 1).await;
    assert!(matches!(none, Err(Error::NoShards)));
    let body = json!({"primaryKey": "user-456", "strategy": "hash", "availableShards": ["x", "y"]});
    let chosen = home(&directory, body).await;
    assert_eq!(
        names(&directory.shards().await.expect("a store")),
        [chosen.as_str()]
    );
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let store = MemoryStore::new();
    let directory = with_shards(&store, &["a"]).await;
    let request = request(json!({"primaryKey": ""}));
    let empty = directory.allocate(&request, 1).await;
    assert!(matches!(empty, Err(Error::NoKey)));
    for body in [
        json!({}),
        json!({"primaryKey": 7}),
        json!({"primaryKey": "k", "strategy": "roundrobin"}),
        json!({"primaryKey": "k", "targetRegion": "mars"}),
        json!({"primaryKey": "k", "operationType": "delete"}),
    ] {
        assert!(
            serde_json::from_value::<Allocate>(body.clone()).is_err(),
            "{body}"
        );
    }
}

#[tokio::test]
async fn concurrent_requests_agree() {
    let store = MemoryStore::new();
    let directories = [
        with_shards(&store, &["a", "b", "c"]).await,
        with_shards(&store, &[]).await,
    ];
    let body = json!({"primaryKey": "k", "strategy": "random"});
    let homes = (0..20).map(|number| home(&directories[number % 2], body.clone()));
    let homes: BTreeSet<String> = join_all(homes).await.into_iter().collect();
    assert_eq!(homes.len(), 1, "one key, one home");
    let numbers = (0..40).map(|number| directories[number % 2].next("orders", 0));
    let numbers = join_all(numbers).await;
    let numbers: BTreeSet<u64> = numbers.into_iter().map(|next| next.expect("ok")).collect();
    assert_eq!(numbers.len(), 40, "no number comes twice");
}

#[tokio::test]
async fn sequences_go_on_from_the_store() {
    let store = MemoryStore::new();
    let directory = with_shards(&store, &[]).await;
    assert_eq!(directory.next("a", 0).await.ok(), Some(1));
    assert_eq!(directory.next("a", 100).await.ok(), Some(100));
    let other = with_shards(&store, &[]).await;
    assert_eq!(other.next("a", 7).await.ok(), Some(101));
    assert_eq!(other.next("b", 0).await.ok(), Some(1));
    let past = other.next("a", SEQUENCE_MAX + 1).await;
    assert!(matches!(past, Err(Error::SequenceEnds)), "{past:?}");
    assert!(matches!(other.next("", 0).await, Err(Error::NoName)));
}

#[tokio::test]
async fn a_full_bucket_says_so() {
    let store = MemoryStore::new();
    let directory = with_shards(&store, &["a"]).await;
    let place = home::Place::of("k");
    let homes = (0..BUCKET_KEYS_MAX).map(|key| (format!("{key:032x}"), shard("a")));
    let bucket = home::Bucket {
        homes: homes.collect(),
    };
    let records = directory.records::<home::Bucket>("directory/home/");
    records.create(&place.bucket, bucket).await.expect("ok");
    let request = request(json!({"primaryKey": "k"}));
    let full = directory.allocate(&request, 1).await;
    assert!(matches!(full, Err(Error::Full)));
}

#[tokio::test]
async fn flush_forgets_everything() {
    let store = MemoryStore::new();
    let directory = with_shards(&store, &["a"]).await;
    home(&directory, json!({"primaryKey": "k"})).await;
    directory.next("s", 0).await.expect("a number");
    directory.flush().await.expect("a store");
    assert!(directory.shards().await.expect("a store").is_empty());
    let everything = store.list(&Prefix::all()).await.expect("a store");
    assert!(everything.entries.is_empty(), "{everything:?}");
}
