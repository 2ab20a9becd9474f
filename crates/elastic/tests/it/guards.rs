//! Writes under guards, and writes without one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use shardwright_elastic::{
    ElasticShardManager, Error, Gating, Notice, Settings, ShardConfig, ShardDataOps, SplitAt,
    topology::{NodeId, Phase},
};

use crate::own::{OwnStore, filled, put};

async fn manager(settings: Settings, store: &Arc<OwnStore>) -> ElasticShardManager {
    let node = NodeId::new("node-1").expect("a name");
    let manager = ElasticShardManager::builder(ShardConfig::default())
        .node(node, store.clone())
        .settings(settings)
        .build()
        .await
        .expect("a manager");
    for user in 0..400 {
        let key = format!("user:{user}");
        put(&manager, store, &key, b"first")
            .await
            .expect("it serves");
    }
    manager
}

#[tokio::test(start_paused = true)]
async fn a_second_guard_of_a_task_is_refused_after_a_while() {
    let store = Arc::new(OwnStore::default());
    let manager = manager(Settings::local(), &store).await;
    let first = manager.write("user:1").await.expect("nothing is sealed");
    let shard = first.shard().clone();
    let split = manager
        .begin_split(shard.as_str(), SplitAt::Median, Gating::Force)
        .await
        .expect("nobody holds it");
    // Once the copy waits for the first guard, nobody else gets one.
    loop {
        match manager.write("user:1").await {
            Ok(second) => drop(second),
            Err(Error::Busy) => break,
            Err(other) => panic!("no reason to refuse: {other}"),
        }
        tokio::task::yield_now().await;
    }
    drop(first);
    manager.committed(&split).await.expect("it goes on");
}

#[tokio::test]
async fn a_guard_is_for_several_keys_of_one_shard() {
    let store = Arc::new(OwnStore::default());
    let manager = filled(ShardConfig::default(), &store, 400).await;
    let mut guard = manager.write("user:1").await.expect("nothing is sealed");
    for user in 0..400 {
        let key = format!("user:{user}");
        let owner = manager.shard_for_key(&key).expect("an owner");
        assert_eq!(guard.also(&key), owner == *guard.shard(), "{key}");
    }
}

#[tokio::test]
async fn a_write_without_a_guard_is_noticed_also_after_the_first_comparison() {
    check_that_a_write_without_a_guard_is_noticed(Settings::local()).await;
}

#[tokio::test]
async fn a_write_without_a_guard_is_noticed_also_where_a_shard_is_too_large_to_be_compared_again() {
    let settings = Settings {
        verify_sealed_rows: 0,
        ..Settings::local()
    };
    check_that_a_write_without_a_guard_is_noticed(settings).await;
}

async fn check_that_a_write_without_a_guard_is_noticed(settings: Settings) {
    let store = Arc::new(OwnStore::default());
    let settings = Settings {
        calm: Duration::from_millis(200),
        ..settings
    };
    let manager = manager(settings, &store).await;
    let key = "user:1";
    let shard = manager.shard_for_key(key).expect("an owner");
    let mut notices = manager.notices();
    let split = manager
        .begin_split(shard.as_str(), SplitAt::Median, Gating::Force)
        .await
        .expect("nobody holds it");
    loop {
        if let Notice::Phase { phase, .. } = notices.recv().await.expect("the manager is there")
            && phase == Phase::Verified
        {
            break;
        }
    }
    store.put(shard.as_str(), key, b"behind the back");
    match manager.committed(&split).await {
        Err(Error::Aborted { reason, .. }) => assert!(reason.contains("differs"), "{reason}"),
        other => panic!("it must not commit: {other:?}"),
    }
    assert_eq!(
        store.get(shard.as_str(), key).as_deref(),
        Some(&b"behind the back"[..])
    );
}

#[tokio::test]
async fn shards_that_an_earlier_process_made_are_left_alone() {
    let store = Arc::new(OwnStore::default());
    let row = ("user:1".to_owned(), b"before".to_vec());
    for shard in ["shard-4", "shard-6"] {
        let copied = store.copy_data(shard, HashMap::from([row.clone()])).await;
        copied.expect("it is in memory");
    }
    let manager = filled(ShardConfig::default(), &store, 400).await;
    let split = manager
        .split_shard_at("shard-1", SplitAt::Median, Gating::Force)
        .await
        .expect("a split");
    assert_eq!((split.0.as_str(), split.1.as_str()), ("shard-5", "shard-7"));
    for shard in ["shard-4", "shard-6"] {
        assert_eq!(store.get(shard, &row.0), Some(row.1.clone()), "{shard}");
    }
}
