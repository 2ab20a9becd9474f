//! What keeps an operation from beginning, and what does not.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use shardwright_elastic::{
    ElasticShardManager, Error, Gating, MemoryShardStore, Notice, Settings, ShardConfig, SplitAt,
    topology::{NodeId, Phase},
};

use crate::{
    own::{OwnStore, filled},
    scripted::scripted,
};

#[tokio::test]
async fn paused_operations_keep_no_other_waiting() {
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
    put_in_both_halves(&manager, &store, "shard-0");
    let mut notices = manager.notices();
    let force = Gating::Force;
    let slow = manager
        .begin_split("shard-0", SplitAt::Middle, force)
        .await
        .expect("nobody has it");
    while !matches!(
        notices.recv().await.expect("the manager is there"),
        Notice::Phase {
            phase: Phase::Copying,
            ..
        }
    ) {}
    // The other one is begun first, and finds no room.
    let other = manager
        .begin_split("shard-1", SplitAt::Middle, force)
        .await
        .expect("nobody has it");
    let waits = manager.watch(&other).expect("it runs");
    assert_eq!(waits.borrow().record.phase(), Phase::Planned);
    manager.pause(&slow).await.expect("it is not late");
    manager.committed(&other).await.expect("there is room");
    manager.cancel(&slow).await.expect("it has not committed");
}

fn put_in_both_halves(manager: &ElasticShardManager, store: &MemoryShardStore, shard: &str) {
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
