//! The stream of all records: what a mirror of it holds is what the store holds.

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use shardwright_registry::{
    Entry, Error, Key, Listing, Partitioning, PinRecord, Prefix, RecordWatch, Revision, Seen,
    StoreError, Watch, encode,
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
            Seen::Copies(stored) => (stored.key, "copies"),
            Seen::Pin(stored) => (stored.key, "pin"),
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
        let pin = PinRecord {
            node: NodeId::new("a").expect("a name"),
        };
        let pinned = PinRecord::key(registry.name(), &ShardId::numbered(0));
        let pin = encode(&pin).expect("an object");
        registry.store().create(&pinned, &pin).await.expect("new");
        settle(&mut watch, &mut mirror);
        assert_eq!(mirror.len(), 5, "{mirror:?}");
        assert!(!mirror.contains_key(&named.key));
        assert_eq!(mirror.get(&pinned), Some(&"pin"));
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

/// What the next item says: `shard/main/shard-0 r3`, a `-` before what is gone and a `!` before what cannot be read.
async fn next(watch: &mut RecordWatch) -> String {
    match watch.next().await.expect("no end") {
        Ok(Seen::Deleted { key, revision }) => format!("-{key} {revision}"),
        Ok(Seen::Listed(revision)) => format!("listed {revision}"),
        Ok(Seen::Shard(stored)) => format!("{} {}", stored.key, stored.revision),
        Ok(Seen::Node(stored)) => stored.key.to_string(),
        Ok(Seen::Keyspace(stored)) => stored.key.to_string(),
        Err(Error::Format { key, .. }) => format!("!{key}"),
        other => panic!("nothing else was stored: {other:?}"),
    }
}

#[test]
fn it_shows_what_is_there_and_then_each_change() {
    futures_executor::block_on(async {
        let store = Arc::new(MemoryStore::new());
        let registry = on(store.clone());
        registry
            .bootstrap(Partitioning::Ranges, 1)
            .await
            .expect("new");
        let mut watch = watch_records(store.clone());
        assert_eq!(next(&mut watch).await, "keyspace/main");
        assert_eq!(next(&mut watch).await, "shard/main/shard-0 r1");
        assert_eq!(next(&mut watch).await, "listed r2");
        register(&registry, "n1", &[0]).await;
        assert_eq!(next(&mut watch).await, "node/n1");
        assert_eq!(next(&mut watch).await, "shard/main/shard-0 r4");
        // Journals are passed over, damage is shown.
        for name in ["journal/main/import/1", "op/torn"] {
            let key = Key::new(name).expect("a key");
            store.create(&key, b"{").await.expect("absent");
        }
        assert_eq!(next(&mut watch).await, "!op/torn");
        let shards = registry.shards();
        let found = registry.shard(&shard(0)).await.expect("exists");
        shards.delete(&found).await.expect("as read");
        assert_eq!(next(&mut watch).await, "-shard/main/shard-0 r7");
    });
}

/// A store whose watches end after each change, and whose listings are as old as the test says.
#[derive(Debug, Default)]
pub(crate) struct Forgetful {
    store: MemoryStore,
    pub(crate) old: Mutex<Option<Listing>>,
}

#[async_trait]
impl Store for Forgetful {
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
        let old = self.old.lock().expect("no panic").take();
        match old {
            Some(old) => Ok(old),
            None => self.store.list(prefix).await,
        }
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        Ok(Box::pin(self.store.watch(prefix, after).await?.take(1)))
    }
}

#[test]
fn a_watch_that_ends_is_started_again_without_a_gap_and_without_going_back() {
    futures_executor::block_on(async {
        let store = Arc::new(Forgetful::default());
        let registry = on(store.clone());
        registry
            .bootstrap(Partitioning::Ranges, 2)
            .await
            .expect("new");
        let old = store.list(&Prefix::all()).await.expect("a listing");
        let mut watch = watch_records(store.clone());
        for expect in [
            "keyspace/main",
            "shard/main/shard-0 r1",
            "shard/main/shard-1 r2",
        ] {
            assert_eq!(next(&mut watch).await, expect);
        }
        assert_eq!(next(&mut watch).await, "listed r3");
        register(&registry, "n1", &[0, 1]).await;
        let one = registry.shard(&shard(1)).await.expect("exists");
        registry.shards().delete(&one).await.expect("as read");
        assert_eq!(next(&mut watch).await, "node/n1");
        // The watch ended. The next listing is from before the node: nothing goes back.
        *store.old.lock().expect("no panic") = Some(old);
        assert_eq!(next(&mut watch).await, "listed r4");
        // The watch after it shows what is known, and ends; a new listing shows all that happened meanwhile.
        assert_eq!(next(&mut watch).await, "shard/main/shard-0 r5");
        assert_eq!(next(&mut watch).await, "-shard/main/shard-1 r7");
        assert_eq!(next(&mut watch).await, "listed r7");
    });
}
