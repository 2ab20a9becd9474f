//! The manager with stores that stream their changes.

use std::{sync::Arc, time::Duration};

use shardwright_elastic::{
    ElasticShardManager, Error, Extent, Gating, Journal, MemoryJournal, MemoryShardStore,
    OperationStatus, Part, Settings, ShardConfig, ShardStore, SplitAt,
    conformance::{Bench, run_all},
    topology::{KeyRange, NodeId, OperationId, Phase, ShardId},
};

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

#[test]
fn the_store_in_memory_keeps_the_contract() {
    futures_executor::block_on(run_all(async |shard, extent| {
        let store = MemoryShardStore::new();
        store.add(&shard, &extent);
        let (writer, reader) = (store.clone(), store.clone());
        Bench {
            store: Arc::new(store),
            write: Box::new(move |shard, key, value| match value {
                Some(value) => writer.put(shard, key, value).map(drop),
                None => writer.delete(shard, key).map(drop),
            }),
            read: Box::new(move |shard, key| reader.get(shard, key)),
        }
    }));
}

async fn cluster(journal: &MemoryJournal, stores: &[MemoryShardStore; 2]) -> ElasticShardManager {
    set(journal, stores, Settings::local()).await
}

async fn set(
    journal: &MemoryJournal,
    stores: &[MemoryShardStore; 2],
    settings: Settings,
) -> ElasticShardManager {
    ElasticShardManager::builder(ShardConfig::default())
        .store(node("n1"), Arc::new(stores[0].clone()))
        .store(node("n2"), Arc::new(stores[1].clone()))
        .journal(Arc::new(journal.clone()))
        .settings(settings)
        .build()
        .await
        .expect("a manager")
}

fn one_shard() -> Part {
    Part {
        shard: ShardId::numbered(0),
        node: node("n1"),
        extent: Extent::range(KeyRange::ALL),
    }
}

fn filled(keys: u32) -> (MemoryJournal, [MemoryShardStore; 2]) {
    let stores = [MemoryShardStore::new(), MemoryShardStore::new()];
    let part = one_shard();
    stores[0].add_parts([&part]);
    for key in 0..keys {
        let key = format!("key-{key}");
        stores[0]
            .put(&part.shard, key.as_bytes(), b"value")
            .expect("it serves");
    }
    (MemoryJournal::new([part]), stores)
}

fn rows(store: &MemoryShardStore, shard: &ShardId) -> usize {
    store.look(|node| node.rows(shard).count())
}

#[tokio::test]
async fn shards_are_split_moved_and_merged_across_nodes() {
    let (journal, stores) = filled(3_000);
    let manager = cluster(&journal, &stores).await;
    let (left, right) = manager.split_shard("shard-0").await.expect("a split");
    let moved = manager
        .migrate_shard(right.as_str(), "n2")
        .await
        .expect("a move");
    assert_eq!(rows(&stores[0], &left) + rows(&stores[1], &moved), 3_000);
    // What is on two nodes is brought together by the merge; two shards are to be left, so there is a third.
    let force = (SplitAt::Middle, Gating::Force);
    let third = manager
        .split_shard_at(left.as_str(), force.0, force.1)
        .await
        .expect("a split");
    let merged = manager
        .merge_shards(&[third.1.as_str(), moved.as_str()])
        .await
        .expect("a merge");
    let on = manager
        .layout()
        .part(merged.as_str())
        .expect("it serves")
        .node
        .clone();
    assert_eq!(on, node("n2"), "where most of it was");
    assert_eq!(
        rows(&stores[0], &third.0) + rows(&stores[1], &merged),
        3_000
    );
}

#[tokio::test]
async fn what_a_manager_left_is_finished_by_the_next_one() {
    let (journal, stores) = filled(1_000);
    let manager = cluster(&journal, &stores).await;
    let split = manager
        .begin_split("shard-0", SplitAt::Median, Gating::Force)
        .await
        .unwrap();
    // Another process finds the operation in the journal, while the first one still runs it.
    let next = cluster(&journal, &stores).await;
    let found = next.operations().await.expect("a list");
    assert_eq!(found[0].record.id(), &split);
    if !found[0].record.phase().is_final() {
        next.committed(&split).await.expect("it commits");
    }
    manager
        .committed(&split)
        .await
        .expect("it commits here too");
    next.refresh().await.expect("the journal is there");
    assert_eq!(next.layout(), manager.layout());
    assert_eq!(next.layout().len(), 2);
}

#[tokio::test]
async fn a_manager_that_is_stopped_leaves_its_operations_to_the_next_one() {
    let (journal, stores) = filled(100);
    let never_calm = Settings {
        calm: Duration::from_secs(3_600),
        ..Settings::local()
    };
    let manager = set(&journal, &stores, never_calm).await;
    let split = manager
        .begin_split("shard-0", SplitAt::Median, Gating::Force)
        .await
        .expect("it begins");
    let waiting = manager.clone();
    let waits = tokio::spawn({
        let split = split.clone();
        async move { waiting.committed(&split).await }
    });
    let mut status = manager.watch(&split).expect("it runs");
    let is_far = |status: &OperationStatus| status.record.phase() == Phase::Verified;
    status.wait_for(is_far).await.expect("it gets there");
    manager.stop();
    let waited = waits.await.expect("no panic");
    assert!(matches!(waited, Err(Error::Closed)), "{waited:?}");
    let second = manager
        .begin_split("shard-0", SplitAt::Median, Gating::Force)
        .await;
    assert!(second.is_err(), "it begins nothing");
    let next = cluster(&journal, &stores).await;
    next.committed(&split).await.expect("it goes on");
}

#[tokio::test]
async fn a_plan_says_what_would_be_and_does_nothing() {
    let (journal, stores) = filled(2_000);
    let manager = cluster(&journal, &stores).await;
    let plan = manager
        .plan_split("shard-0", SplitAt::Median, Gating::Sizes)
        .await
        .expect("it could be split");
    let extents = plan.targets.iter().map(|part| &part.extent);
    assert_eq!(Extent::join(extents), Some(Extent::range(KeyRange::ALL)));
    let small = manager.plan_merge(&["shard-0"], Gating::Force).await;
    assert!(matches!(small, Err(Error::MergeOfOne)), "{small:?}");
    assert!(journal.list().await.expect("a list").is_empty());
    assert_eq!(manager.layout().len(), 1);
}

#[tokio::test]
async fn what_is_left_over_is_collected() {
    let (journal, stores) = filled(10);
    let orphan = (OperationId::new("op-lost").unwrap(), ShardId::numbered(77));
    let extent = Extent::range(KeyRange::ALL);
    stores[1]
        .create(&orphan.0, &orphan.1, &extent)
        .await
        .expect("a new shard");
    let settings = Settings {
        retention: Duration::ZERO,
        ..Settings::local()
    };
    let manager = set(&journal, &stores, settings).await;
    let force = (SplitAt::Middle, Gating::Force);
    manager
        .split_shard_at("shard-0", force.0, force.1)
        .await
        .expect("a split");
    let ended = journal.list().await.expect("a list");
    assert_eq!(ended[0].record.phase(), Phase::Done);
    manager.collect().await;
    assert!(stores[1].importing().await.expect("a list").is_empty());
    assert!(journal.list().await.expect("a list").is_empty());
}
