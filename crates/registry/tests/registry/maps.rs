//! Maps from records, and their watch.

use futures_executor::block_on;
use futures_util::{FutureExt, StreamExt};
use shardwright_registry::{Error, MapWatch, Partitioning};
use shardwright_topology::{
    KeyRange, Operation, OperationKind, Phase, ShardMap, ShardRecord, ShardState,
};

use super::{record_watch::Forgetful, *};

fn owners(map: &ShardMap) -> String {
    let names: Vec<_> = map
        .shards()
        .iter()
        .map(|shard| shard.id().as_str())
        .collect();
    names.join(" ")
}

async fn next(watch: &mut MapWatch) -> Arc<ShardMap> {
    watch.next().await.expect("no end").expect("no error")
}

#[test]
fn records_that_make_no_map_are_an_error_that_may_pass() {
    block_on(async {
        let registry = registry();
        let error = registry.map().await.expect_err("no shard");
        assert!(
            matches!(error, Error::Map { .. }) && error.is_retryable(),
            "{error}"
        );
    });
}

#[test]
fn a_watcher_gets_the_map_and_each_later_one() {
    block_on(async {
        let registry = registry();
        registry
            .bootstrap(Partitioning::Ranges, 2)
            .await
            .expect("new");
        let mut watch = registry.watch_map();
        let first = next(&mut watch).await;
        assert_eq!(owners(&first), "shard-0 shard-1");
        assert!(watch.next().now_or_never().is_none(), "no change, no map");
        register(&registry, "n1", &[1]).await;
        let second = next(&mut watch).await;
        assert_eq!(second.shards()[1].primary(), Some(&node("n1")));
        assert!(first.revision() < second.revision());
        assert_eq!(first.shards()[1].primary(), None, "a map never changes");
        assert_eq!(*second, registry.map().await.expect("a map"));
        let changed = second.changed_since(&first).expect("the same ranges");
        let changed: Vec<_> = changed.map(|shard| shard.id().clone()).collect();
        assert_eq!(changed, [shard(1)], "the rest is shared");
    });
}

#[test]
fn a_map_is_later_than_the_one_before_also_where_its_parts_were_read_at_two_moments() {
    block_on(async {
        let store = Arc::new(Forgetful::default());
        let registry = on(store.clone());
        registry
            .bootstrap(Partitioning::Ranges, 2)
            .await
            .expect("new");
        let shards = store.list(registry.shards().prefix()).await;
        register(&registry, "n1", &[0, 1]).await;
        // The shards were listed before the node came, and the operations after it.
        *store.old.lock().expect("no panic") = Some(shards.expect("a listing"));
        let mut watch = registry.watch_map();
        let mut map = next(&mut watch).await;
        assert_eq!(map.shards()[0].primary(), None);
        while map.shards().iter().any(|shard| shard.primary().is_none()) {
            let later = next(&mut watch).await;
            assert!(map.revision() < later.revision(), "a router takes it");
            map = later;
        }
    });
}

#[test]
fn a_watch_that_starts_before_the_keyspace_waits_for_it() {
    block_on(async {
        let registry = registry();
        let mut watch = registry.watch_map();
        assert!(watch.next().now_or_never().is_none(), "there is no map yet");
        registry
            .bootstrap(Partitioning::Ranges, 3)
            .await
            .expect("new");
        assert_eq!(next(&mut watch).await.len(), 3);
    });
}

#[test]
fn a_watcher_that_fell_behind_starts_over() {
    block_on(async {
        let registry = on(Arc::new(MemoryStore::keeping(2)));
        registry
            .bootstrap(Partitioning::Ranges, 2)
            .await
            .expect("new");
        let mut watch = registry.watch_map();
        assert_eq!(next(&mut watch).await.shards()[0].primary(), None);
        for name in ["n1", "n2", "n3", "n4"] {
            register(&registry, name, &[]).await;
            registry
                .assign_shard(&shard(0), &node(name))
                .await
                .expect("registered");
        }
        assert_eq!(
            next(&mut watch).await.shards()[0].primary(),
            Some(&node("n4"))
        );
    });
}

/// Every write of a split, in the order in which a coordinator makes them.
async fn split(registry: &Registry, decision: Phase, mut after_each: impl AsyncFnMut(&str)) {
    let id = operation("op-1");
    prepare(registry, &mut after_each).await;
    let phases = [
        Phase::Copying,
        Phase::CatchingUp,
        Phase::Verified,
        Phase::Sealing,
    ];
    for phase in [Phase::Created].into_iter().chain(phases) {
        advance(registry, phase).await;
        after_each("moved on").await;
    }
    registry
        .update_shard(&shard(0), |record| Ok(record.seal_by(&id)?))
        .await
        .expect("held");
    after_each("sealed").await;
    for phase in [Phase::Sealed, decision] {
        advance(registry, phase).await;
        after_each("moved on").await;
    }
    let decided = registry
        .operations()
        .get(&id)
        .await
        .expect("readable")
        .expect("exists");
    for number in [2, 0, 1] {
        let resolve = |record: &ShardRecord| Ok(record.resolve(&decided.value)?);
        registry
            .update_shard(&shard(number), resolve)
            .await
            .expect("decided");
        after_each("resolved").await;
    }
    registry
        .operations()
        .delete(&decided)
        .await
        .expect("as read");
    after_each("forgotten").await;
}

/// Writes the operation, creates its targets and points its source at it.
async fn prepare(registry: &Registry, after_each: &mut impl AsyncFnMut(&str)) {
    let (left, right) = KeyRange::ALL.halve().expect("wide enough");
    let id = operation("op-1");
    let planned = Operation {
        id: id.clone(),
        keyspace: KeyspaceName::main(),
        kind: OperationKind::Split,
        sources: vec![shard(0)],
        targets: vec![shard(1), shard(2)],
        phase: Phase::Planned,
        error: None,
        paused: false,
        members: None,
    };
    registry
        .operations()
        .create(&id, planned)
        .await
        .expect("new");
    after_each("planned").await;
    for (number, range) in [(1, left), (2, right)] {
        let target = ShardRecord::target_of(id.clone(), KeyspaceName::main(), shard(number), range);
        registry.create_shard(target).await.expect("new");
        after_each("created").await;
    }
    registry
        .update_shard(&shard(0), |record| Ok(record.hold_by(&id)?))
        .await
        .expect("free");
    after_each("held").await;
}

async fn advance(registry: &Registry, to: Phase) {
    let step = |operation: &Operation| Ok(operation.advance(to)?);
    registry
        .update_operation(&operation("op-1"), step)
        .await
        .expect("the phases follow");
}

async fn one_shard() -> Registry {
    let registry = registry();
    registry
        .bootstrap(Partitioning::Ranges, 1)
        .await
        .expect("new");
    registry
}

#[test]
fn one_write_switches_the_map_from_the_sources_to_the_targets() {
    block_on(async {
        let registry = one_shard().await;
        let mut seen = Vec::new();
        split(&registry, Phase::Committed, async |step| {
            let map = registry.map().await.expect("a map after every write");
            seen.push((step.to_owned(), owners(&map)));
        })
        .await;
        let switch = seen
            .iter()
            .position(|(_, owners)| owners == "shard-1 shard-2");
        let switch = switch.expect("the split took effect");
        assert_eq!(seen[switch].0, "moved on", "the decision switches the map");
        assert!(seen[..switch].iter().all(|(_, owners)| owners == "shard-0"));
        assert!(
            seen[switch..]
                .iter()
                .all(|(_, owners)| owners == "shard-1 shard-2")
        );
    });
}

#[test]
fn an_aborted_split_never_shows() {
    block_on(async {
        let registry = one_shard().await;
        split(&registry, Phase::Aborting, async |step| {
            let map = registry.map().await.expect("a map after every write");
            assert_eq!(owners(&map), "shard-0", "{step}");
        })
        .await;
        let map = registry.map().await.expect("a map");
        assert_eq!(
            map.shards()[0].state(),
            ShardState::Serving,
            "the seal is off again"
        );
        let retired = registry
            .shard(&shard(1))
            .await
            .expect("kept until it is removed");
        assert_eq!(retired.value.state, ShardState::Retired);
    });
}

#[test]
fn a_watcher_sees_each_side_of_a_split_and_nothing_between() {
    block_on(async {
        let registry = one_shard().await;
        let mut watch = registry.watch_map();
        let mut seen = vec![owners(&*next(&mut watch).await)];
        split(&registry, Phase::Committed, async |_| {
            if let Some(map) = watch.next().now_or_never() {
                seen.push(owners(&map.expect("no end").expect("no error")));
            }
        })
        .await;
        seen.dedup();
        assert_eq!(seen, ["shard-0", "shard-1 shard-2"]);
    });
}
