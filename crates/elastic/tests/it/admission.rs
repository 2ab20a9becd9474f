//! What keeps an operation from beginning, and what does not.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use shardwright_elastic::{
    ElasticShardManager, Error, Gating, MemoryShardStore, Notice, Settings, ShardConfig, SplitAt,
    topology::{NodeId, OperationId, Phase},
};

use crate::{
    own::{OwnStore, filled},
    scripted::scripted,
};

/// A manager of two shards that runs one operation at a time, and one that has begun to copy the first, which takes very long.
async fn occupied() -> (ElasticShardManager, OperationId) {
    let (journal, store) = scripted();
    let node = NodeId::new("n1").expect("a name");
    let settings = Settings {
        operations_max: 1,
        // The first page is the last one for a long time.
        bytes_per_second: Some(1),
        batch: shardwright_elastic::Batch { rows: 1, bytes: 1 },
        ..Settings::local()
    };
    let manager = ElasticShardManager::builder(ShardConfig::default())
        .store(node, Arc::new(store.clone()))
        .journal(journal)
        .settings(settings)
        .build()
        .await
        .expect("a manager");
    fill(&manager, &store, "shard-0");
    let mut notices = manager.notices();
    let slow = split(&manager, "shard-0").await;
    while !matches!(
        notices.recv().await.expect("the manager is there"),
        Notice::Phase {
            phase: Phase::Copying,
            ..
        }
    ) {}
    (manager, slow)
}

async fn split(manager: &ElasticShardManager, shard: &str) -> OperationId {
    let (at, gating) = (SplitAt::Middle, Gating::Force);
    let begun = manager.begin_split(shard, at, gating).await;
    begun.expect("nobody has it")
}

#[tokio::test]
async fn paused_operations_keep_no_other_waiting() {
    let (manager, slow) = occupied().await;
    // It is begun before there is room.
    let other = split(&manager, "shard-1").await;
    let waits = manager.watch(&other).expect("it runs");
    assert_eq!(waits.borrow().record.phase(), Phase::Planned);
    manager.pause(&slow).await.expect("it is not late");
    manager.committed(&other).await.expect("there is room");
    manager.cancel(&slow).await.expect("it has not committed");
}

#[tokio::test]
async fn operations_that_ended_before_there_was_room_take_none() {
    let (manager, slow) = occupied().await;
    let unwanted = split(&manager, "shard-1").await;
    manager.cancel(&unwanted).await.expect("it has not begun");
    let other = split(&manager, "shard-1").await;
    manager.cancel(&slow).await.expect("it has not committed");
    manager.committed(&other).await.expect("there is room");
}

fn fill(manager: &ElasticShardManager, store: &MemoryShardStore, shard: &str) {
    for key in 0..100 {
        let key = format!("key-{key}");
        let owner = manager.shard_for_key(&key).expect("an owner");
        if owner.as_str() == shard {
            let put = store.put(&owner, key.as_bytes(), b"value");
            put.expect("it serves");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_nothing_of_its_sizes_keeps_nobody_waiting_for_ever() {
    let store = Arc::new(OwnStore::default());
    let manager = filled(ShardConfig::default(), &store, 400).await;
    store.is_silent.store(true, Ordering::SeqCst);
    let an_hour = Duration::from_secs(3_600);
    let within = async {
        let sized = manager.split_shard("shard-1").await;
        assert!(matches!(sized, Err(Error::Silent { .. })), "{sized:?}");
        assert!(sized.is_err_and(|error| error.is_retryable()));
        let merged = manager.merge_shards(&["shard-1", "shard-2"]).await;
        assert!(matches!(merged, Err(Error::Silent { .. })), "{merged:?}");
        let plan = manager.rebalance().await.expect("a plan");
        assert!(plan.is_empty(), "nothing is known of any shard");
        // Nothing is left reserved, and an operation does not need the sizes.
        let forced = (SplitAt::Median, Gating::Force);
        let split = manager.split_shard_at("shard-1", forced.0, forced.1);
        split.await.expect("it commits");
    };
    tokio::time::timeout(an_hour, within)
        .await
        .expect("somebody waits for ever");
}
