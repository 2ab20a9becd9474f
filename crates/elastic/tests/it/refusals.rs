//! What is refused changes nothing.

use std::sync::{Arc, atomic::Ordering};

use shardwright_elastic::{
    BalancePolicy, ElasticShardManager, Error, Gating, MergeCriteria, ShardConfig, ShardStrategy,
    SplitAt, topology::NodeId,
};

use crate::own::{OwnStore, filled, put};

#[tokio::test]
async fn each_refusal_has_its_type_and_leaves_the_layout_as_it_was() {
    let store = Arc::new(OwnStore::default());
    let config = ShardConfig {
        strategy: ShardStrategy::HashRanges,
        ..ShardConfig::default()
    };
    let manager = filled(config, &store, 100).await;
    let (before, rows) = (manager.layout(), store.rows());

    let few = manager.split_shard("shard-1").await;
    assert!(
        matches!(few, Err(Error::TooFewKeys { needed: 1_000, .. })),
        "{few:?}"
    );
    let unknown = manager.split_shard("shard-9").await;
    assert!(
        matches!(unknown, Err(Error::UnknownShard { .. })),
        "{unknown:?}"
    );
    let outside = SplitAt::Key(b"user:1".to_vec());
    let other = manager.shard_for_key("user:1").expect("an owner");
    let other = if other.as_str() == "shard-1" {
        "shard-2"
    } else {
        "shard-1"
    };
    let outside = manager.split_shard_at(other, outside, Gating::Force).await;
    assert!(
        matches!(outside, Err(Error::Indivisible { .. })),
        "{outside:?}"
    );
    let apart = manager.merge_shards(&["shard-0", "shard-2"]).await;
    assert!(
        matches!(apart, Err(Error::NotNeighbours { .. })),
        "{apart:?}"
    );
    for shards in [&["shard-0"][..], &["shard-0", "shard-0"]] {
        let one = manager.merge_shards(shards).await;
        assert!(matches!(one, Err(Error::MergeOfOne)), "{one:?}");
    }
    let all = ["shard-0", "shard-1", "shard-2", "shard-3"];
    let last = manager.merge_shards(&all).await;
    assert!(
        matches!(last, Err(Error::TooFewShards { left: 1, needed: 2 })),
        "{last:?}"
    );
    let nowhere = manager.migrate_shard("shard-0", "node-9").await;
    assert!(
        matches!(nowhere, Err(Error::UnknownNode { .. })),
        "{nowhere:?}"
    );

    assert_eq!((manager.layout(), store.rows()), (before, rows));
    assert!(manager.operations().await.expect("a list").is_empty());
    let forced = manager
        .split_shard_at("shard-1", SplitAt::Median, Gating::Force)
        .await;
    forced.expect("force is enough where no key can be lost");
    let layout = manager.layout();
    let all: Vec<&str> = layout.parts().map(|part| part.shard.as_str()).collect();
    let last = manager.begin_merge(&all, Gating::Force).await;
    let last = manager.committed(&last.expect("no number matters")).await;
    last.expect("it commits");
    assert_eq!(manager.layout().len(), 1);
}

#[tokio::test]
async fn sizes_and_room_are_bounds() {
    let stores = [Arc::new(OwnStore::default()), Arc::new(OwnStore::default())];
    let node = |name| NodeId::new(name).expect("a name");
    let policy = BalancePolicy {
        merge: MergeCriteria {
            max_merged_keys: 10,
            ..MergeCriteria::default()
        },
        node_bytes_max: Some(100),
        ..BalancePolicy::default()
    };
    let config = ShardConfig {
        strategy: ShardStrategy::HashRanges,
        ..ShardConfig::default()
    };
    let manager = ElasticShardManager::builder(config)
        .node(node("a"), stores[0].clone())
        .node(node("b"), stores[1].clone())
        .policy(policy)
        .build()
        .await
        .expect("a manager");
    for user in 0..200 {
        let key = format!("user:{user}");
        let shard = manager.shard_for_key(&key).expect("an owner");
        let on_a = manager
            .layout()
            .part(shard.as_str())
            .expect("it is there")
            .node
            == node("a");
        let store = &stores[usize::from(!on_a)];
        put(&manager, store, &key, b"first")
            .await
            .expect("it serves");
    }
    let large = manager.merge_shards(&["shard-0", "shard-1"]).await;
    assert!(
        matches!(large, Err(Error::TooLarge { allowed: 10, .. })),
        "{large:?}"
    );
    let full = manager.migrate_shard("shard-0", "b").await;
    assert!(matches!(full, Err(Error::NoCapacity { .. })), "{full:?}");
    let merge = manager
        .begin_merge(&["shard-0", "shard-1"], Gating::Force)
        .await;
    let merged = manager
        .committed(&merge.expect("forced"))
        .await
        .expect("it commits");
    assert_eq!(merged.work.targets.len(), 1);
}

#[tokio::test]
async fn a_stale_plan_is_refused_whole() {
    let store = Arc::new(OwnStore::default());
    let manager = filled(ShardConfig::default(), &store, 8_000).await;
    store.cpu.lock().unwrap().insert("shard-1".to_owned(), 0.95);
    let plan = manager.rebalance().await.expect("a plan");
    assert_eq!(plan.steps.len(), 1);
    assert_eq!(plan.impact.shards_affected, 1);
    assert!(plan.impact.data_movement_bytes > 0 && plan.impact.load_improvement > 0.0);
    manager
        .execute_rebalance(plan.clone())
        .await
        .expect("it is as it was");
    assert!(manager.layout().part("shard-1").is_none());
    let stale = manager.execute_rebalance(plan).await;
    assert!(matches!(stale, Err(Error::StalePlan { .. })), "{stale:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_takes_longer_to_read_than_a_call_may_take_is_split_at_its_median() {
    let store = Arc::new(OwnStore::default());
    let config = ShardConfig {
        strategy: ShardStrategy::HashRanges,
        ..ShardConfig::default()
    };
    let manager = filled(config, &store, 100).await;
    store.is_slow.store(true, Ordering::SeqCst);
    let split = manager.begin_split("shard-1", SplitAt::Median, Gating::Force);
    let split = split.await.expect("it is waited for");
    assert!(!store.is_slow.load(Ordering::SeqCst), "it was read");
    manager.committed(&split).await.expect("it commits");
}
