//! The stream of all records: what a mirror of it holds is what the store holds.

use std::collections::BTreeMap;

use futures_util::{FutureExt, StreamExt};
use shardwright_registry::{
    Key, Partitioning, RecordWatch, Seen,
    topology::{KeyspaceName, ShardRecord},
    watch_records,
};

use super::*;

/// What a mirror knows after it has taken in all that is there.
fn settle(watch: &mut RecordWatch, mirror: &mut BTreeMap<Key, &'static str>) -> usize {
    let mut listings = 0;
    while let Some(Some(item)) = watch.next().now_or_never() {
        let (key, kind) = match item.expect("the store answers") {
            Seen::Node(stored) => (stored.key, "node"),
            Seen::Keyspace(stored) => (stored.key, "keyspace"),
            Seen::Shard(stored) => (stored.key, "shard"),
            Seen::Operation(stored) => (stored.key, "operation"),
            Seen::Lease(stored) => (stored.key, "lease"),
            Seen::Deleted { key, .. } => {
                assert!(mirror.remove(&key).is_some(), "{key:?} was never shown");
                continue;
            }
            Seen::Listed(_) => {
                listings += 1;
                continue;
            }
        };
        mirror.insert(key, kind);
    }
    listings
}

#[test]
fn a_mirror_follows_every_kind_of_record() {
    futures_executor::block_on(async {
        let registry = registry();
        registry
            .bootstrap(Partitioning::Ranges, 2)
            .await
            .expect("new");
        let mut watch = watch_records(registry.store().clone());
        let mut mirror = BTreeMap::new();
        assert_eq!(settle(&mut watch, &mut mirror), 1);
        assert_eq!(mirror.len(), 3, "two shards and the keyspace: {mirror:?}");

        register(&registry, "a", &[0]).await;
        let named = ShardRecord::new(
            KeyspaceName::main(),
            ShardId::new("p").expect("a name"),
            None,
        );
        let named = registry.create_shard(named).await.expect("new");
        assert_eq!(settle(&mut watch, &mut mirror), 0);
        assert_eq!(mirror.len(), 5);

        registry.shards().delete(&named).await.expect("unchanged");
        let foreign = Key::new("journal/main/x/y").expect("a key");
        registry.store().create(&foreign, b"{}").await.expect("new");
        settle(&mut watch, &mut mirror);
        assert_eq!(mirror.len(), 4, "{mirror:?}");
        assert!(!mirror.contains_key(&named.key));
    });
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_by_name() {
    futures_executor::block_on(async {
        let store = Arc::new(MemoryStore::new());
        let key = Key::new("node/a").expect("a key");
        store.create(&key, b"not a record").await.expect("new");
        let error = watch_records(store)
            .next()
            .await
            .expect("no end")
            .expect_err("no record");
        assert!(error.to_string().contains("node/a"), "{error}");
    });
}
