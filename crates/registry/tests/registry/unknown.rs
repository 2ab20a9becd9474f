//! A store whose answers get lost: some changes happen unseen, some do not happen.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures_executor::block_on;
use shardwright_registry::{
    Entry, Error, Key, Listing, Partitioning, Prefix, Revision, StoreError, Watch,
};
use shardwright_topology::Epoch;

use super::*;

/// What becomes of the next changes: one character each, the last one for all that follow.
///
/// `a` answers, `l` does it and loses the answer, `d` drops the request.
#[derive(Debug)]
struct Lossy {
    store: MemoryStore,
    script: &'static [u8],
    changes: AtomicU32,
}

impl Lossy {
    fn new(store: &MemoryStore, script: &'static str) -> Arc<Self> {
        let (store, script) = (store.clone(), script.as_bytes());
        Arc::new(Self {
            store,
            script,
            changes: AtomicU32::new(0),
        })
    }

    async fn change<T>(
        &self,
        key: &Key,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let number = self.changes.fetch_add(1, Ordering::Relaxed) as usize;
        let lost = || StoreError::Unknown {
            key: key.clone(),
            source: "timed out".into(),
        };
        match self.script[number.min(self.script.len() - 1)] {
            b'a' => change.await,
            b'l' => {
                let _outcome = change.await;
                Err(lost())
            }
            _ => Err(lost()),
        }
    }
}

#[async_trait]
impl Store for Lossy {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError> {
        self.change(key, self.store.create(key, value)).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError> {
        self.change(key, self.store.compare_and_set(key, expected, value))
            .await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError> {
        self.change(key, self.store.delete(key, expected)).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        self.store.list(prefix).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        self.store.watch(prefix, after).await
    }
}

/// One assigned shard, and what became of assigning it to `n2` over a store with that script.
async fn assign_over(script: &'static str) -> (Registry, Result<Epoch, Error>) {
    let store = MemoryStore::new();
    let registry = on(Arc::new(store.clone()));
    registry
        .bootstrap(Partitioning::Ranges, 1)
        .await
        .expect("new");
    register(&registry, "n1", &[0]).await;
    register(&registry, "n2", &[]).await;
    let lossy = Registry::seeded(Lossy::new(&store, script), KeyspaceName::main(), 2);
    let outcome = lossy.assign_shard(&shard(0), &node("n2")).await;
    (registry, outcome.map(|stored| stored.value.epoch))
}

async fn owner(registry: &Registry) -> (String, Epoch) {
    let owner = registry
        .owner(&shard(0))
        .await
        .expect("exists")
        .expect("assigned");
    (owner.node.to_string(), owner.epoch)
}

#[test]
fn a_change_whose_answer_was_lost_happens_once() {
    for script in ["a", "la", "da", "lla", "dla", "dda"] {
        block_on(async {
            let (registry, outcome) = assign_over(script).await;
            assert_eq!(outcome.expect("settled"), Epoch(2), "{script}");
            assert_eq!(
                owner(&registry).await,
                ("n2".to_owned(), Epoch(2)),
                "{script}"
            );
        });
    }
}

#[test]
fn a_store_that_never_answers_leaves_the_change_unknown() {
    for (script, after) in [("d", ("n1", Epoch(1))), ("l", ("n2", Epoch(2)))] {
        block_on(async {
            let (registry, outcome) = assign_over(script).await;
            let unknown = matches!(&outcome, Err(Error::Store(StoreError::Unknown { .. })));
            assert!(unknown, "{script}: {outcome:?}");
            assert_eq!(
                owner(&registry).await,
                (after.0.to_owned(), after.1),
                "{script}"
            );
        });
    }
}

#[test]
fn a_keyspace_is_created_over_a_store_that_loses_every_first_answer() {
    block_on(async {
        let store = MemoryStore::new();
        let lossy = Lossy::new(&store, "lalalalalalala");
        let registry = Registry::seeded(lossy, KeyspaceName::main(), 1);
        registry
            .bootstrap(Partitioning::Ranges, 4)
            .await
            .expect("settled");
        assert_eq!(registry.map().await.expect("a map").len(), 4);
    });
}
