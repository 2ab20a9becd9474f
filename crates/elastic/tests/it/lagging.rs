//! A journal whose answers arrive late: what they say of the shards is older than what the manager knows by then.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use shardwright_elastic::{
    ElasticShardManager, Entry, Extent, Gating, Journal, JournalError, MemoryJournal,
    MemoryShardStore, Part, Record, Settings, ShardConfig, SplitAt, Version,
    topology::{KeyRange, NodeId, OperationId, ShardId},
};
use tokio::sync::Semaphore;

#[derive(Debug)]
struct Late {
    inner: MemoryJournal,
    is_late: AtomicBool,
    /// An answer was made, and has not arrived.
    made: Semaphore,
    arrive: Semaphore,
}

#[async_trait]
impl Journal for Late {
    async fn list(&self) -> Result<Vec<Entry>, JournalError> {
        self.inner.list().await
    }

    async fn get(&self, id: &OperationId) -> Result<Option<Entry>, JournalError> {
        self.inner.get(id).await
    }

    async fn put(
        &self,
        record: &Record,
        expected: Option<Version>,
    ) -> Result<Version, JournalError> {
        self.inner.put(record, expected).await
    }

    async fn remove(&self, id: &OperationId, expected: Version) -> Result<(), JournalError> {
        self.inner.remove(id, expected).await
    }

    async fn shards(&self) -> Result<Vec<Part>, JournalError> {
        let found = self.inner.shards().await;
        if self.is_late.swap(false, Ordering::SeqCst) {
            self.made.add_permits(1);
            self.arrive.acquire().await.expect("it is open").forget();
        }
        found
    }

    async fn hold(&self, record: &Record) -> Result<(), JournalError> {
        self.inner.hold(record).await
    }

    async fn resolve(&self, record: &Record) -> Result<(), JournalError> {
        self.inner.resolve(record).await
    }
}

fn parts() -> Vec<Part> {
    let extents = KeyRange::even(2).map(Extent::range);
    let part = |(number, extent)| Part {
        shard: ShardId::numbered(number),
        node: NodeId::new("n1").expect("a name"),
        extent,
    };
    (0..).zip(extents).map(part).collect()
}

async fn manager(journal: Arc<dyn Journal>, store: &MemoryShardStore) -> ElasticShardManager {
    ElasticShardManager::builder(ShardConfig::default())
        .store(NodeId::new("n1").expect("a name"), Arc::new(store.clone()))
        .journal(journal)
        .settings(Settings::local())
        .build()
        .await
        .expect("a manager")
}

fn late() -> (Arc<Late>, MemoryShardStore) {
    let (parts, store) = (parts(), MemoryShardStore::new());
    store.add_parts(&parts);
    let journal = Arc::new(Late {
        inner: MemoryJournal::new(parts),
        is_late: AtomicBool::new(false),
        made: Semaphore::new(0),
        arrive: Semaphore::new(0),
    });
    (journal, store)
}

#[tokio::test]
async fn a_layout_that_was_read_before_a_commit_does_not_replace_a_later_one() {
    let (journal, store) = late();
    let manager = manager(journal.clone(), &store).await;
    journal.is_late.store(true, Ordering::SeqCst);
    let refreshed = tokio::spawn({
        let manager = manager.clone();
        async move { manager.refresh().await }
    });
    journal.made.acquire().await.expect("it is open").forget();
    manager
        .split_shard_at("shard-0", SplitAt::Middle, Gating::Force)
        .await
        .expect("a split");
    let split = manager.layout();
    assert_eq!(split.len(), 3);
    journal.arrive.add_permits(1);
    refreshed
        .await
        .expect("no panic")
        .expect("the journal is there");
    assert_eq!(manager.layout(), split);
}

#[tokio::test]
async fn an_operation_of_another_manager_that_committed_meanwhile_is_seen() {
    let (journal, store) = late();
    let other = manager(journal.clone(), &store).await;
    journal.is_late.store(true, Ordering::SeqCst);
    let begun = tokio::spawn({
        let (journal, store) = (journal.clone(), store.clone());
        async move { manager(journal, &store).await }
    });
    journal.made.acquire().await.expect("it is open").forget();
    other
        .split_shard_at("shard-0", SplitAt::Middle, Gating::Force)
        .await
        .expect("a split");
    journal.arrive.add_permits(1);
    let begun = begun.await.expect("no panic");
    assert_eq!(begun.layout(), other.layout());
}

#[tokio::test]
async fn operations_that_commit_at_once_all_count() {
    let (journal, store) = late();
    let manager = manager(journal.clone(), &store).await;
    let split = async |shard| {
        let force = (SplitAt::Middle, Gating::Force);
        manager.split_shard_at(shard, force.0, force.1).await
    };
    let (first, second) = tokio::join!(split("shard-0"), split("shard-1"));
    first.expect("a split");
    second.expect("a split");
    assert_eq!(manager.layout().len(), 4);
}
