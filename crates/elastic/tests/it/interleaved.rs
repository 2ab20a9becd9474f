//! The journal in a registry, with others who act between two of its calls.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use shardwright_elastic::{
    Extent, Journal, JournalError, Part, Record, RegistryJournal, Version, Work,
    topology::{
        KeyRange, KeyspaceName, NodeId, OperationId, OperationKind, Phase, ShardId, ShardRecord,
    },
};
use shardwright_registry::{
    Entry, Key, Listing, MemoryStore, Partitioning, Prefix, Registration, Registry, Revision,
    Store, StoreError, Watch,
};

/// When others act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Change,
    ListingOfOperations,
}

type Turn = (Before, BoxFuture<'static, ()>);

/// A store that lets others have their turn before one of its calls, once.
#[derive(Clone)]
struct Interleaved {
    inner: MemoryStore,
    others: Arc<Mutex<Option<Turn>>>,
}

impl fmt::Debug for Interleaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interleaved")
    }
}

impl Interleaved {
    async fn turn(&self, at: Before) {
        let turn = {
            let mut others = self.others.lock().expect("no test panics with it");
            others.take_if(|(before, _)| *before == at)
        };
        if let Some((_, turn)) = turn {
            turn.await;
        }
    }

    fn let_others(&self, at: Before, turn: impl Future<Output = ()> + Send + 'static) {
        let mut others = self.others.lock().expect("no test panics with it");
        *others = Some((at, Box::pin(turn)));
    }

    fn had_their_turn(&self) -> bool {
        self.others
            .lock()
            .expect("no test panics with it")
            .is_none()
    }
}

#[async_trait]
impl Store for Interleaved {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError> {
        self.turn(Before::Change).await;
        self.inner.create(key, value).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError> {
        self.turn(Before::Change).await;
        self.inner.compare_and_set(key, expected, value).await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError> {
        self.inner.delete(key, expected).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        if prefix.as_str() == "op/" {
            self.turn(Before::ListingOfOperations).await;
        }
        self.inner.list(prefix).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        self.inner.watch(prefix, after).await
    }
}

fn node() -> NodeId {
    NodeId::new("n1").expect("a name")
}

fn journal(store: impl Store + 'static) -> RegistryJournal {
    let registry = Registry::new(Arc::new(store), KeyspaceName::main());
    RegistryJournal::new(registry).expect("a journal")
}

/// A store with two shards on a node, and the same without interruptions.
async fn store() -> (Interleaved, MemoryStore) {
    let inner = MemoryStore::new();
    let registry = Registry::new(Arc::new(inner.clone()), KeyspaceName::main());
    let begun = registry.bootstrap(Partitioning::Ranges, 2).await;
    begun.expect("a new keyspace");
    let registration = Registration {
        shards: vec![ShardId::numbered(0), ShardId::numbered(1)],
        ..Registration::new(node(), "http://localhost:1")
    };
    let registered = registry.register(registration).await;
    registered.expect("a new node");
    let store = Interleaved {
        inner: inner.clone(),
        others: Arc::default(),
    };
    (store, inner)
}

fn planned(source: &Part) -> Record {
    let cut = source.extent.middle().expect("there is room");
    let (low, high) = source.extent.split_at(&cut).expect("it lies inside");
    let target = |(name, extent): (&str, Extent)| Part {
        shard: ShardId::new(name).expect("a name"),
        node: node(),
        extent,
    };
    let work = Work {
        kind: OperationKind::Split,
        sources: vec![source.clone()],
        targets: [("low", low), ("high", high)].map(target).to_vec(),
        reason: "a test".to_owned(),
    };
    let id = OperationId::new("op-1").expect("a name");
    Record::planned(id, KeyspaceName::main(), work).expect("it fits")
}

fn paused(record: &Record) -> Record {
    let mut paused = record.clone();
    paused.operation.paused = true;
    paused
}

/// Takes an operation from its plan to its commit.
async fn commit(journal: &RegistryJournal, record: &Record, version: Version) -> (Record, Version) {
    let (mut record, mut version) = (record.clone(), version);
    journal.hold(&record).await.expect("nobody holds it");
    let open = Phase::ALL.iter().skip(1).take(7);
    for phase in open {
        record = record.advance(*phase).expect("it follows");
        version = journal
            .put(&record, Some(version))
            .await
            .expect("nobody else changes it");
    }
    assert_eq!(record.phase(), Phase::Committed);
    (record, version)
}

#[tokio::test]
async fn a_change_that_loses_changes_nothing() {
    let (store, inner) = store().await;
    let (journal, other) = (journal(store.clone()), journal(inner));
    let parts = other.shards().await.expect("the shards");
    let first = planned(&parts[0]);
    let version = other.put(&first, None).await.expect("it is new");
    let created = first.advance(Phase::Created).expect("it follows");

    // A pause wins against the change of the phase.
    let (pauses, wanted) = (other.clone(), paused(&first));
    store.let_others(Before::Change, async move {
        let put = pauses.put(&wanted, Some(version)).await;
        put.expect("it is the first");
    });
    let lost = journal.put(&created, Some(version)).await;
    let Err(JournalError::Conflict { found: Some(found) }) = lost else {
        panic!("two authors: {lost:?}");
    };
    assert!(store.had_their_turn() && found.record.is_paused());
    let kept = other.get(first.id()).await.expect("an answer");
    assert_eq!(kept.as_ref(), Some(&*found), "it is still paused");

    // The change of the phase wins against a pause.
    let resumed = other.put(&first, Some(found.version)).await;
    let version = resumed.expect("it is as it was read");
    let advances = other.clone();
    store.let_others(Before::Change, async move {
        let put = advances.put(&created, Some(version)).await;
        put.expect("it is the first");
    });
    let lost = journal.put(&paused(&first), Some(version)).await;
    assert!(
        matches!(lost, Err(JournalError::Conflict { .. })),
        "{lost:?}"
    );
    let kept = other.get(first.id()).await.expect("an answer");
    let kept = kept.expect("it is there").record;
    assert_eq!((kept.phase(), kept.is_paused()), (Phase::Created, false));
}

#[tokio::test]
async fn shards_that_change_hands_while_they_are_read_have_one_owner_each() {
    // The operation begins, goes on, or ends and is forgotten, after the shards were listed and before the operations are.
    for is_held in [false, true] {
        for is_forgotten in [false, true] {
            let (store, inner) = store().await;
            let (journal, other) = (journal(store.clone()), journal(inner.clone()));
            let parts = other.shards().await.expect("the shards");
            let record = planned(&parts[0]);
            let version = other.put(&record, None).await.expect("it is new");
            if is_held {
                // The targets are not there yet.
                let registry = Registry::new(Arc::new(inner), KeyspaceName::main());
                let hold = |found: &ShardRecord| Ok(found.hold_by(record.id())?);
                let held = registry.update_shard(&parts[0].shard, hold).await;
                held.expect("nobody holds it");
            }
            let others = other.clone();
            store.let_others(Before::ListingOfOperations, async move {
                let (committed, version) = commit(&others, &record, version).await;
                if is_forgotten {
                    forget(&others, committed, version).await;
                }
            });
            let read = journal.shards().await.expect("they own everything");
            assert!(store.had_their_turn());
            let after = other.shards().await.expect("the shards");
            assert_eq!(after.len(), 3);
            let expected = if is_held { &after } else { &parts };
            assert_eq!(&read, expected, "{is_held} {is_forgotten}");
        }
    }
}

async fn forget(journal: &RegistryJournal, committed: Record, version: Version) {
    let resolved = journal.resolve(&committed).await;
    resolved.expect("it is decided");
    let (mut record, mut version) = (committed, version);
    for phase in [Phase::CleaningUp, Phase::Done] {
        record = record.advance(phase).expect("it follows");
        let put = journal.put(&record, Some(version)).await;
        version = put.expect("nobody else changes it");
    }
    let removed = journal.remove(record.id(), version).await;
    removed.expect("it has ended");
}

#[tokio::test]
async fn extents_that_are_no_range_are_refused_before_anything_is_written() {
    let (_, inner) = store().await;
    let journal = journal(inner.clone());
    let halves = KeyRange::even(4).step_by(2);
    let ring = Part {
        shard: ShardId::numbered(0),
        node: node(),
        extent: Extent::ranges(halves).expect("apart"),
    };
    let refused = journal.put(&planned(&ring), None).await;
    assert!(
        matches!(refused, Err(JournalError::Unsupported { .. })),
        "{refused:?}"
    );
    let prefix = Prefix::new("journal/").expect("a prefix");
    let written = inner.list(&prefix).await.expect("a list");
    assert!(written.entries.is_empty());
}
