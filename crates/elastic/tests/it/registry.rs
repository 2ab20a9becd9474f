//! Operations in a registry: shard maps follow them, and any manager on the registry goes on with them.

use std::{sync::Arc, time::Duration};

use shardwright_elastic::{
    ElasticShardManager, Extent, Gating, Journal, JournalError, MemoryShardStore, Part, Record,
    RegistryJournal, Settings, ShardConfig, SplitAt, Work,
    topology::{
        Gap, Halts, KeyRange, KeyspaceName, NodeId, OperationId, OperationKind, Phase, Position,
        ShardId, ShardState, Written,
    },
};
use shardwright_registry::{MemoryStore, Partitioning, Registration, Registry};

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

async fn registry() -> Registry {
    let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
    registry
        .bootstrap(Partitioning::Ranges, 2)
        .await
        .expect("a new keyspace");
    let shards = vec![ShardId::numbered(0), ShardId::numbered(1)];
    for (name, shards) in [("n1", shards), ("n2", Vec::new())] {
        let registration = Registration {
            shards,
            ..Registration::new(node(name), "http://localhost:1")
        };
        registry.register(registration).await.expect("a new node");
    }
    registry
}

async fn manager(registry: &Registry, stores: &[MemoryShardStore; 2]) -> ElasticShardManager {
    let journal = RegistryJournal::new(registry.clone()).expect("a journal");
    manager_on(journal, stores, Settings::local()).await
}

async fn manager_on(
    journal: RegistryJournal,
    stores: &[MemoryShardStore; 2],
    settings: Settings,
) -> ElasticShardManager {
    ElasticShardManager::builder(ShardConfig::default())
        .store(node("n1"), Arc::new(stores[0].clone()))
        .store(node("n2"), Arc::new(stores[1].clone()))
        .journal(Arc::new(journal))
        .settings(settings)
        .build()
        .await
        .expect("a manager")
}

#[tokio::test]
async fn the_shard_map_shows_what_was_split_moved_and_merged() {
    let registry = registry().await;
    let stores = [MemoryShardStore::new(), MemoryShardStore::new()];
    let manager = manager(&registry, &stores).await;
    stores[0].add_parts(manager.layout().parts());
    for key in 0..2_000 {
        let key = format!("key-{key}");
        let shard = manager.shard_for_key(&key).expect("an owner");
        stores[0]
            .put(&shard, key.as_bytes(), b"value")
            .expect("it serves");
    }
    let force = (SplitAt::Median, Gating::Force);
    let (left, right) = manager
        .split_shard_at("shard-0", force.0, force.1)
        .await
        .expect("a split");
    let map = registry.map().await.expect("the shards tile the space");
    assert_eq!((map.len(), map.at(Position::MIN).id()), (3, &left));
    let moved = manager
        .migrate_shard(right.as_str(), "n2")
        .await
        .expect("a move");
    let map = registry.map().await.expect("the shards tile the space");
    assert_eq!(
        map.shard(&moved).and_then(|shard| shard.primary()),
        Some(&node("n2"))
    );
    let merged = manager
        .merge_shards(&[moved.as_str(), "shard-1"])
        .await
        .expect("a merge");
    let map = registry.map().await.expect("the shards tile the space");
    assert_eq!((map.len(), map.at(Position::MAX).id()), (2, &merged));
    for key in 0..2_000 {
        let key = format!("key-{key}");
        let owner = map.at(Position::of(&key));
        let on_first = owner.primary() == Some(&node("n1"));
        let store = &stores[usize::from(!on_first)];
        let found = store.get(owner.id(), key.as_bytes()).expect("it is there");
        assert_eq!(found, Some(b"value".to_vec()), "{key}");
    }
    let gone = registry
        .shard(&ShardId::numbered(0))
        .await
        .expect("its record")
        .value;
    assert_eq!((gone.state, gone.hold), (ShardState::Retired, None));
}

/// A journal whose writer ends in a gap.
fn ending_at(registry: &Registry, gap: Gap) -> RegistryJournal {
    let journal = RegistryJournal::new(registry.clone()).expect("a journal");
    journal.halting(Halts::at(gap, 1, |gap| panic!("{ENDED} {gap}")))
}

const ENDED: &str = "the writer ends at";

/// Whether something ended at a gap.
async fn ended<T: Send + 'static>(run: impl Future<Output = T> + Send + 'static) -> bool {
    match tokio::spawn(run).await {
        Ok(_) => false,
        Err(error) => {
            let said = error.into_panic();
            let said = said.downcast_ref::<String>().expect("a text");
            assert!(said.starts_with(ENDED), "{said}");
            true
        }
    }
}

#[tokio::test]
async fn what_a_writer_leaves_that_ends_before_or_after_the_operation_is_collected() {
    let kind = OperationKind::Split;
    let is_around = |gap: &Gap| gap.written == Written::Work || gap.phase == Phase::Done;
    let gaps = Gap::all().filter(|gap| gap.kind == kind && is_around(gap));
    for gap in gaps.filter(|gap| gap.written != Written::Resolved) {
        let registry = registry().await;
        let stores = [MemoryShardStore::new(), MemoryShardStore::new()];
        let settings = Settings {
            retention: Duration::ZERO,
            ..Settings::local()
        };
        let first = manager_on(ending_at(&registry, gap), &stores, settings).await;
        stores[0].add_parts(first.layout().parts());
        let splits = first.clone();
        // Whoever writes it is another task, which ends.
        let split = ended(async move {
            let split = splits.split_shard_at("shard-0", SplitAt::Middle, Gating::Force);
            drop(split.await);
        });
        assert!(!split.await, "{gap}");
        let collects = first.clone();
        let is_at_end = ended(async move { collects.collect().await }).await;
        let is_removal = matches!(gap.written, Written::Forgotten | Written::Removed);
        assert_eq!(is_at_end, is_removal, "{gap}");
        first.stop();

        let journal = RegistryJournal::new(registry.clone()).expect("a journal");
        let next = manager_on(journal.clone(), &stores, settings).await;
        loop {
            next.collect().await;
            let (entries, orphans) = (journal.list().await, journal.orphans().await);
            if entries.expect("an answer").is_empty() && orphans.expect("an answer").is_empty() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let shards = registry.shards().list().await.expect("the shards");
        let retired = shards
            .iter()
            .filter(|found| found.value.state == ShardState::Retired);
        assert_eq!(retired.count(), 0, "{gap}");
        let map = registry.map().await.expect("the shards tile the space");
        let expected = if gap.written == Written::Work { 2 } else { 3 };
        assert_eq!(map.len(), expected, "{gap}");
    }
}

fn migration(id: &str, journal: &[Part]) -> Record {
    let source = journal[0].clone();
    let target = Part {
        shard: ShardId::new(format!("{id}.0")).expect("a name"),
        node: node("n2"),
        ..source.clone()
    };
    let work = Work {
        kind: OperationKind::Migrate,
        sources: vec![source],
        targets: vec![target],
        reason: "a test".to_owned(),
    };
    let id = OperationId::new(id).expect("a name");
    Record::planned(id, KeyspaceName::main(), work).expect("it fits")
}

#[tokio::test]
async fn a_shard_has_one_operation_and_a_change_one_author() {
    let registry = registry().await;
    let journal = RegistryJournal::new(registry.clone()).expect("a journal");
    let parts = journal.shards().await.expect("the shards");
    let (first, second) = (migration("op-1", &parts), migration("op-2", &parts));
    let version = journal.put(&first, None).await.expect("it is new");
    journal.put(&second, None).await.expect("it is new");
    for _ in 0..2 {
        journal.hold(&first).await.expect("nobody holds it");
    }
    let held = journal.hold(&second).await;
    assert!(matches!(held, Err(JournalError::Held { .. })), "{held:?}");

    let created = first.advance(Phase::Created).expect("it follows");
    let next = journal
        .put(&created, Some(version))
        .await
        .expect("it is as it was read");
    let late = first.advance(Phase::Aborting).expect("it follows");
    let late = journal.put(&late, Some(version)).await;
    match late {
        Err(JournalError::Conflict { found: Some(found) }) => {
            assert_eq!(
                (found.record.phase(), found.version),
                (Phase::Created, next)
            );
        }
        other => panic!("two authors: {other:?}"),
    }
    let held = journal.hold(&first).await;
    assert!(
        matches!(held, Err(JournalError::Conflict { .. })),
        "it is not planned any more"
    );
    let aborting = created.advance(Phase::Aborting).expect("it follows");
    let version = journal
        .put(&aborting, Some(next))
        .await
        .expect("it is as it was read");
    for _ in 0..2 {
        journal.resolve(&aborting).await.expect("it is decided");
    }
    let aborted = aborting.advance(Phase::Aborted).expect("it follows");
    let version = journal
        .put(&aborted, Some(version))
        .await
        .expect("it is as it was read");
    journal
        .remove(aborted.id(), version)
        .await
        .expect("it has ended");
    assert_eq!(journal.get(aborted.id()).await.ok().flatten(), None);
    assert_eq!(journal.shards().await.expect("the shards"), parts);
    journal.hold(&second).await.expect("it is free again");
    registry.map().await.expect("the shards tile the space");
}

#[tokio::test]
async fn an_operation_of_another_keyspace_is_told_from_one_that_is_no_more() {
    let store = Arc::new(MemoryStore::new());
    let [here, there] = ["here", "there"].map(|name| {
        let name = KeyspaceName::new(name).expect("a name");
        RegistryJournal::new(Registry::new(store.clone(), name)).expect("a journal")
    });
    let part = Part {
        shard: ShardId::numbered(0),
        node: node("n1"),
        extent: Extent::range(KeyRange::ALL),
    };
    let mut record = migration("op-1", &[part]);
    record.operation.keyspace = KeyspaceName::new("there").expect("a name");
    there.put(&record, None).await.expect("it is new");
    assert_eq!(here.get(record.id()).await.expect("no answer"), None);
    assert!(here.is_foreign(record.id()).await.expect("an answer"));
    assert!(!there.is_foreign(record.id()).await.expect("an answer"));
    let lost = OperationId::new("op-lost").expect("a name");
    assert!(!here.is_foreign(&lost).await.expect("an answer"));
}
