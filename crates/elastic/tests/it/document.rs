//! What HeliosDB's document shows, with stores of one's own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shardwright_elastic::{
    BalancePolicy, ElasticShardManager, Error, Extent, Gating, KeySpan, Layout, MemoryJournal,
    Notice, Part, Settings, ShardConfig, ShardStrategy, SplitAt,
    topology::{KeyRange, NodeId, Phase, ShardId},
};

use crate::own::{OwnStore, check, filled, put};

fn expected(users: usize, value: &[u8]) -> BTreeMap<String, Vec<u8>> {
    (0..users)
        .map(|user| (format!("user:{user}"), value.to_vec()))
        .collect()
}

#[tokio::test]
async fn the_usage_of_the_document_works() {
    let config = ShardConfig {
        initial_shards: 4,
        virtual_nodes_per_shard: 150,
        split_threshold: 0.8,
        merge_threshold: 0.3,
        auto_rebalance: true,
        ..Default::default()
    };
    let store = Arc::new(OwnStore::default());
    let manager = filled(config, &store, 8_000).await;
    let shard = manager
        .get_shard_for_key("user:1234")
        .await
        .expect("an owner");
    assert!(["shard-0", "shard-1", "shard-2", "shard-3"].contains(&shard.as_str()));
    let before = manager.layout();

    let (left, right) = manager
        .split_shard("shard-1")
        .await
        .expect("it is large enough");
    let merged = manager
        .merge_shards(&["shard-2", "shard-3"])
        .await
        .expect("they adjoin");
    assert_eq!(
        [left.as_str(), right.as_str(), merged.as_str()],
        ["shard-4", "shard-5", "shard-6"]
    );
    check(&manager, &store, &expected(8_000, b"first"));

    // A split and a merge move the keys of their own shards, and no other key.
    let after = manager.layout();
    for user in 0..8_000 {
        let key = format!("user:{user}");
        let [old, new] = [&before, &after].map(|layout| layout.owner(key.as_bytes()).unwrap());
        match old.shard.as_str() {
            "shard-0" => assert_eq!(new.shard.as_str(), "shard-0"),
            "shard-1" => assert!(new.shard == left || new.shard == right),
            _ => assert_eq!(new.shard, merged),
        }
    }
    let halves = [&left, &right].map(|shard| manager.get_shard_statistics(shard.as_str()));
    let [low, high] = halves.map(futures_executor::block_on).map(Result::unwrap);
    assert!(
        low.key_count.abs_diff(high.key_count) <= 1,
        "the median divides them"
    );
    assert!(low.metrics.cpu_usage > 0.0 && low.storage_bytes > 0);
    assert!(low.operations_per_sec >= 0.0 && low.metrics.memory_usage >= 0.0);

    let plan = manager.rebalance().await.expect("a plan");
    if !plan.is_empty() {
        manager
            .execute_rebalance(plan)
            .await
            .expect("nothing changed meanwhile");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_lost_while_shards_are_split_merged_and_moved() {
    let stores = [false, true].map(|deletes| OwnStore {
        deletes,
        ..OwnStore::default()
    });
    for store in stores {
        let store = Arc::new(store);
        let manager = filled(ShardConfig::default(), &store, 6_000).await;
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..3).map(|writer| {
            let (manager, store, stop) = (manager.clone(), store.clone(), stop.clone());
            tokio::spawn(async move {
                let mut written = BTreeMap::new();
                let mut round = 0_usize;
                while !stop.load(Ordering::Relaxed) || round < 100 {
                    round += 1;
                    let key = format!("user:{}", (round * 7 % 2_000) * 3 + writer);
                    let guard = manager.write(&key).await.expect("a seal is short");
                    if round.is_multiple_of(5) {
                        store.take(guard.shard().as_str(), &key);
                        written.insert(key, None);
                    } else {
                        let value = round.to_string().into_bytes();
                        store.put(guard.shard().as_str(), &key, &value);
                        written.insert(key, Some(value));
                    }
                    tokio::task::yield_now().await;
                }
                written
            })
        });
        let writers: Vec<_> = writers.collect();
        let (left, right) = manager.split_shard("shard-0").await.expect("a split");
        let names = [left.as_str(), right.as_str()];
        let merged = manager.merge_shards(&names).await.expect("they adjoin");
        let at = (SplitAt::Middle, Gating::Force);
        manager
            .split_shard_at(merged.as_str(), at.0, at.1)
            .await
            .expect("a split");
        stop.store(true, Ordering::Relaxed);
        let mut expected = expected(6_000, b"first");
        for writer in writers {
            for (key, value) in writer.await.expect("a writer does not panic") {
                match value {
                    Some(value) => expected.insert(key, value),
                    None => expected.remove(&key),
                };
            }
        }
        check(&manager, &store, &expected);
    }
}

/// Each key of `parent` belongs to a child, and every other key stays where it was.
fn check_moved(before: &Layout, after: &Layout, parent: &ShardId, children: &[ShardId; 2]) {
    for key in expected(3_000, b"").keys() {
        let owner = |layout: &Layout| layout.owner(key.as_bytes()).map(|part| part.shard.clone());
        let (was, is) = (owner(before), owner(after));
        if was.as_ref() != Some(parent) {
            assert_eq!(was, is, "{key} is none of {parent}'s, and moved");
            continue;
        }
        let is = is.expect("it has an owner");
        assert!(children.contains(&is), "{key} went to {is}");
    }
}

#[tokio::test]
async fn shards_of_every_strategy_are_split() {
    let strategies = [
        ShardStrategy::Hash,
        ShardStrategy::HashRanges,
        ShardStrategy::Range {
            cuts: vec!["user:3".to_owned()],
        },
        ShardStrategy::Composite {
            buckets: 2,
            cuts: Vec::new(),
        },
    ];
    for strategy in strategies {
        let config = ShardConfig {
            initial_shards: 2,
            strategy,
            ..ShardConfig::default()
        };
        let store = Arc::new(OwnStore::default());
        let manager = filled(config, &store, 3_000).await;
        for (at, gating) in [
            (SplitAt::Median, Gating::Sizes),
            (SplitAt::Middle, Gating::Force),
        ] {
            let shard = manager.shard_for_key("user:1234").expect("an owner");
            let before = manager.layout();
            let split = manager.split_shard_at(shard.as_str(), at, gating).await;
            let children = split.expect("it can be divided");
            check(&manager, &store, &expected(3_000, b"first"));
            check_moved(&before, &manager.layout(), &shard, &children.into());
        }
        let names: Vec<_> = manager
            .layout()
            .parts()
            .map(|part| part.shard.clone())
            .collect();
        assert_eq!(names.len(), 4);
    }
    let all = KeySpan::all();
    assert!(all.contains(b"user:1"));
}

#[tokio::test]
async fn a_shard_moves_to_the_node_that_is_named() {
    let (here, there) = (Arc::new(OwnStore::default()), Arc::new(OwnStore::default()));
    let node = |name| NodeId::new(name).expect("a name");
    let config = ShardConfig {
        initial_shards: 1,
        ..ShardConfig::default()
    };
    let manager = ElasticShardManager::builder(config)
        .node(node("node-1"), here.clone())
        .node(node("node-2"), there.clone())
        .build()
        .await
        .expect("a manager");
    for user in 0..500 {
        put(&manager, &here, &format!("user:{user}"), b"first")
            .await
            .expect("it serves");
    }
    let moved = manager
        .migrate_shard("shard-0", "node-2")
        .await
        .expect("it moves");
    assert_eq!((here.rows(), there.rows()), (0, 500));
    check(&manager, &there, &expected(500, b"first"));
    let again = manager.migrate_shard(moved.as_str(), "node-2").await;
    assert!(
        matches!(again, Err(Error::AlreadyThere { .. })),
        "{again:?}"
    );
}

#[tokio::test]
async fn an_operation_is_paused_cancelled_and_reversed() {
    let store = Arc::new(OwnStore::default());
    let settings = Settings {
        // A copy that takes for ever.
        bytes_per_second: Some(1),
        batch: shardwright_elastic::Batch { rows: 1, bytes: 1 },
        ..Settings::local()
    };
    let node = NodeId::new("node-1").expect("a name");
    let manager = ElasticShardManager::builder(ShardConfig::default())
        .node(node, store.clone())
        .settings(settings)
        .build()
        .await
        .expect("a manager");
    for user in 0..400 {
        put(&manager, &store, &format!("user:{user}"), b"first")
            .await
            .expect("it serves");
    }
    let slow = manager
        .begin_split("shard-1", SplitAt::Median, Gating::Force)
        .await
        .unwrap();
    manager.pause(&slow).await.expect("it is not decided");
    let status = manager.operations().await.expect("a list").remove(0);
    assert!(status.record.is_paused());
    manager.resume(&slow).await.expect("it is not decided");
    let busy = manager
        .split_shard_at("shard-1", SplitAt::Median, Gating::Force)
        .await;
    assert!(matches!(busy, Err(Error::InOperation { .. })), "{busy:?}");
    manager.cancel(&slow).await.expect("it is not decided");
    manager.cancel(&slow).await.expect("again changes nothing");
    check(&manager, &store, &expected(400, b"first"));
    let aborted = manager.committed(&slow).await;
    assert!(matches!(aborted, Err(Error::Aborted { .. })), "{aborted:?}");
}

#[tokio::test]
async fn a_manager_ends_what_the_process_before_it_has_left() {
    let (store, journal) = (
        Arc::new(OwnStore::default()),
        MemoryJournal::new([one_shard()]),
    );
    let slow = Settings {
        bytes_per_second: Some(1),
        ..Settings::local()
    };
    let manager = async |settings| {
        ElasticShardManager::builder(ShardConfig::default())
            .node(NodeId::new("node-1").expect("a name"), store.clone())
            .journal(Arc::new(journal.clone()))
            .settings(settings)
            .build()
            .await
            .expect("a manager")
    };
    let first = manager(slow).await;
    for user in 0..2_000 {
        let key = format!("user:{user}");
        put(&first, &store, &key, b"first")
            .await
            .expect("it serves");
    }
    let left = first
        .begin_split("shard-0", SplitAt::Median, Gating::Sizes)
        .await
        .unwrap();
    // It has stored its first page, and waits to copy the next one.
    while store.rows() == 2_000 {
        tokio::task::yield_now().await;
    }
    let next = manager(Settings::local()).await;
    next.cancel(&left).await.expect("it is aborted already");
    check(&next, &store, &expected(2_000, b"first"));
    next.split_shard("shard-0")
        .await
        .expect("nobody holds it any more");
    check(&next, &store, &expected(2_000, b"first"));
}

fn one_shard() -> Part {
    Part {
        shard: ShardId::numbered(0),
        node: NodeId::new("node-1").expect("a name"),
        extent: Extent::range(KeyRange::ALL),
    }
}

#[tokio::test]
async fn a_committed_operation_is_reversed_by_another() {
    let store = Arc::new(OwnStore::default());
    let manager = filled(ShardConfig::default(), &store, 400).await;
    let split = manager
        .begin_split("shard-1", SplitAt::Median, Gating::Force)
        .await
        .unwrap();
    let extent = manager
        .layout()
        .part("shard-1")
        .expect("it splits")
        .extent
        .clone();
    manager.committed(&split).await.expect("it commits");
    assert!(matches!(
        manager.cancel(&split).await,
        Err(Error::TooLate { .. })
    ));
    put(&manager, &store, "user:7", b"second")
        .await
        .expect("it serves");
    let back = manager.reverse(&split).await.expect("it has committed");
    let record = manager.committed(&back).await.expect("it commits");
    assert_eq!(record.work.targets[0].extent, extent);
    let mut expected = expected(400, b"first");
    expected.insert("user:7".to_owned(), b"second".to_vec());
    check(&manager, &store, &expected);
    assert_eq!(manager.layout().len(), 4);
    let again = manager.reverse(&split).await;
    assert!(matches!(again, Err(Error::StalePlan { .. })), "{again:?}");
}

#[tokio::test]
async fn a_write_without_a_guard_ends_the_operation_without_effect() {
    let store = Arc::new(OwnStore::default());
    let manager = filled(ShardConfig::default(), &store, 400).await;
    let mut notices = manager.notices();
    let split = manager
        .begin_split("shard-1", SplitAt::Median, Gating::Force)
        .await
        .unwrap();
    loop {
        let phase = match notices.recv().await.expect("the manager is there") {
            Notice::Phase { phase, .. } => phase,
            _ => continue,
        };
        if phase == Phase::Copying {
            let keys = (0..400).map(|user| format!("user:{user}"));
            let own = keys.filter(|key| manager.shard_for_key(key).unwrap().as_str() == "shard-1");
            own.for_each(|key| store.put("shard-1", &key, b"behind the back"));
        }
        if phase.is_final() {
            break;
        }
    }
    match manager.committed(&split).await {
        Err(Error::Aborted { reason, .. }) => assert!(reason.contains("differs"), "{reason}"),
        other => panic!("it must not commit: {other:?}"),
    }
    assert!(manager.layout().part("shard-1").is_some());
}

#[tokio::test(start_paused = true)]
async fn hot_shards_are_split_by_themselves_once_they_have_been_hot_for_a_while() {
    let store = Arc::new(OwnStore::default());
    let config = ShardConfig {
        auto_rebalance: true,
        rebalance_interval_secs: 20,
        ..ShardConfig::default()
    };
    let policy = BalancePolicy {
        // The manager's clock is no clock of tokio, and goes on while the test skips its waiting.
        lasting: Duration::from_millis(20),
        ..BalancePolicy::default()
    };
    let manager = ElasticShardManager::builder(config)
        .node(NodeId::new("node-1").expect("a name"), store.clone())
        .policy(policy)
        .build()
        .await
        .expect("a manager");
    for user in 0..8_000 {
        let key = format!("user:{user}");
        put(&manager, &store, &key, b"first")
            .await
            .expect("it serves");
    }
    store.cpu.lock().unwrap().insert("shard-1".to_owned(), 0.95);
    let mut notices = manager.notices();
    let (mut waited, mut decided) = (false, None);
    while decided.is_none() {
        let notice = tokio::time::timeout(Duration::from_secs(600), notices.recv()).await;
        match notice
            .expect("it does not wait for ever")
            .expect("the manager is there")
        {
            Notice::Waits { planned, .. } => {
                waited = true;
                assert_eq!(planned.step.to_string(), "split shard-1");
            }
            Notice::Decided { planned } => decided = Some(planned),
            _ => {}
        }
    }
    assert!(waited, "a peak splits nothing");
    assert!(decided.unwrap().reason.contains("cpu is 0.95"));
}
