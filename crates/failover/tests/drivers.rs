//! The drivers in real time, on a store in memory: every test waits for what it expects, and never merely for time to pass.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::{sync::Arc, time::Duration};

use shardwright_failover::{
    Config, Copy, Eligible, Event, FailoverCoordinator, Heartbeat, Mode, PromotionError,
    PromotionRefused, StepDownReason,
};
use shardwright_registry::{MemoryStore, Partitioning, Registration, Registry};
use shardwright_testkit::Way;
use shardwright_topology::{Epoch, KeyspaceName, Lsn, NodeId, ShardId};
use tokio::sync::{broadcast, mpsc};

fn registry(way: &Way) -> Registry {
    Registry::new(Arc::new(way.clone()), KeyspaceName::main())
}

fn config() -> Config {
    Config {
        check_interval: Duration::from_millis(40),
        heartbeat_timeout: Duration::from_millis(240),
        ..Config::default()
    }
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn shard() -> ShardId {
    ShardId::numbered(0)
}

async fn bootstrapped() -> MemoryStore {
    let store = MemoryStore::new();
    let registry = Registry::new(Arc::new(store.clone()), KeyspaceName::main());
    registry.bootstrap(Partitioning::Ranges, 1).await.unwrap();
    store
}

/// Starts the heartbeat of a node that wants the shard if nobody has it.
async fn heartbeat(way: &Way, name: &str) -> Heartbeat {
    let registration = Registration {
        shards: vec![shard()],
        ..Registration::new(node(name), "http://localhost:0")
    };
    let heartbeat = Heartbeat::new(registry(way), registration, &config()).unwrap();
    heartbeat.start().await.unwrap();
    heartbeat
}

/// Registers a node that keeps a copy of the shard, and starts its heartbeat.
async fn replica(way: &Way, name: &str) -> Heartbeat {
    let registry = registry(way);
    let registration = Registration::new(node(name), "");
    registry.register(registration).await.unwrap();
    registry.add_replica(&shard(), &node(name)).await.unwrap();
    heartbeat(way, name).await
}

fn coordinator(store: &MemoryStore, name: &str, config: Config) -> FailoverCoordinator {
    let registry = Registry::new(Arc::new(store.clone()), KeyspaceName::main());
    FailoverCoordinator::new(registry, node(name), config).unwrap()
}

/// The first event that is wanted.
async fn wait_for<T>(
    events: &mut broadcast::Receiver<Event>,
    wanted: impl Fn(&Event) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(&events.recv().await.unwrap()) {
                return found;
            }
        }
    };
    within(found).await
}

/// What nobody waits for longer than this is a hang.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it happens in the end")
}

fn promoted(event: &Event) -> Option<(NodeId, NodeId, Epoch, bool)> {
    match event {
        Event::Promoted {
            from,
            to,
            epoch,
            lossless,
            ..
        } => Some((from.clone(), to.clone(), *epoch, *lossless)),
        _ => None,
    }
}

#[tokio::test]
async fn a_node_that_is_cut_off_stops_before_its_replica_begins_and_steps_down_when_it_returns() {
    let store = bootstrapped().await;
    let (first, second) = (Way::to(&store), Way::to(&store));
    let one = heartbeat(&first, "node-1").await;
    let epoch = within(one.serving(&shard())).await;
    let two = replica(&second, "node-2").await;
    let copy = Copy {
        epoch,
        position: Lsn(7),
        in_sync: false,
    };
    two.report([(shard(), copy)]).await.unwrap();
    let coordinator = coordinator(&store, "c1", config());
    let mut events = coordinator.events();
    let mut of_one = one.events();
    coordinator.start();
    within(coordinator.leading()).await;

    first.cut();
    let (from, to, taken_at, lossless) = wait_for(&mut events, promoted).await;
    assert!(
        !one.holds() && one.serves(&shard()).is_none(),
        "its lease ended first"
    );
    assert_eq!(
        (from, to, lossless),
        (node("node-1"), node("node-2"), false)
    );
    assert!(epoch < taken_at);
    let serves = within(two.serving(&shard())).await;
    assert!(taken_at <= serves);
    let record = registry(&second).shard(&shard()).await.unwrap().value;
    assert_eq!(record.data_loss_generation, 1, "a replica behind took over");

    first.mend();
    let replaced = |event: &Event| match event {
        Event::SteppedDown {
            shard: found,
            reason: StepDownReason::Replaced,
            ..
        } => (*found == shard()).then_some(()),
        _ => None,
    };
    wait_for(&mut of_one, replaced).await;
    let back = |event: &Event| match event {
        Event::NodeUp { node: found } => (*found == node("node-1")).then_some(()),
        _ => None,
    };
    wait_for(&mut events, back).await;
    assert_eq!(one.serves(&shard()), None);
    for each in [&one, &two] {
        each.stop().await;
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn a_process_that_stands_still_has_no_licence_when_its_replica_begins() {
    let store = bootstrapped().await;
    let way = Way::to(&store);
    // A runtime of its own, which runs only while it is driven: a process that can be stopped.
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let theirs = way.clone();
    let one = process
        .spawn(async move { heartbeat(&theirs, "node-1").await })
        .await
        .unwrap();
    within(one.serving(&shard())).await;
    let two = replica(&way, "node-2").await;
    let any = Config {
        eligible: Eligible::Any,
        ..config()
    };
    let coordinator = coordinator(&store, "c1", any);
    let mut events = coordinator.events();
    coordinator.start();
    within(coordinator.leading()).await;

    // Its only worker is blocked until the end.
    let (go_on, stopped) = std::sync::mpsc::channel::<()>();
    process.spawn(async move { stopped.recv() });
    let (from, ..) = wait_for(&mut events, promoted).await;
    assert_eq!(from, node("node-1"));
    assert!(!one.holds() && one.serves(&shard()).is_none());
    within(two.serving(&shard())).await;
    assert_eq!(one.serves(&shard()), None);
    drop(go_on);
    process.shutdown_background();
    coordinator.stop().await;
    two.stop().await;
}

type Answer = Result<Epoch, PromotionError>;

/// Promotes every replica of a node that is down, first by the rules and then by force, and tells what came of it.
fn promote_in_handler(
    coordinator: &FailoverCoordinator,
    registry: &Registry,
) -> mpsc::UnboundedReceiver<(NodeId, Answer, Answer)> {
    let (told, heard) = mpsc::unbounded_channel();
    let (promoter, registry) = (coordinator.clone(), registry.clone());
    coordinator.on_node_down(move |from, shards| {
        let (promoter, registry, told) = (promoter.clone(), registry.clone(), told.clone());
        async move {
            for shard in shards {
                for replica in registry.replicas(&shard).await.unwrap() {
                    let to = replica.node;
                    let refused = promoter.promote_replica(&shard, &to).await;
                    let forced = promoter.promote_replica_accepting_loss(&shard, &to).await;
                    told.send((from.clone(), refused, forced)).unwrap();
                }
            }
        }
    });
    heard
}

#[tokio::test]
async fn a_node_that_stops_is_followed_at_once_by_the_users_own_promotion() {
    let store = bootstrapped().await;
    let way = Way::to(&store);
    let one = heartbeat(&way, "node-1").await;
    within(one.serving(&shard())).await;
    let two = replica(&way, "node-2").await;
    let manual = Config {
        mode: Mode::Manual,
        ..config()
    };
    let coordinator = coordinator(&store, "c1", manual);
    let mut heard = promote_in_handler(&coordinator, &registry(&way));
    coordinator.start();
    within(coordinator.leading()).await;
    let refused = |outcome| match outcome {
        Err(PromotionError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    // Until the coordinator has seen everything, it knows less.
    let alive = within(async {
        loop {
            match refused(coordinator.promote_replica(&shard(), &node("node-2")).await) {
                PromotionRefused::NotReplica { .. } => tokio::task::yield_now().await,
                other => return other,
            }
        }
    });
    let primary = node("node-1");
    assert_eq!(
        alive.await,
        PromotionRefused::PrimaryAlive {
            shard: shard(),
            primary
        }
    );
    let stranger = coordinator.promote_replica(&shard(), &node("node-9")).await;
    assert!(matches!(
        refused(stranger),
        PromotionRefused::NotReplica { .. }
    ));

    one.stop().await;
    let (from, unreported, taken) = within(heard.recv()).await.unwrap();
    assert_eq!(from, node("node-1"));
    assert!(matches!(
        refused(unreported),
        PromotionRefused::NotReported { .. }
    ));
    let taken = taken.unwrap();
    assert!(taken <= within(two.serving(&shard())).await);
    let again = coordinator
        .promote_replica(&shard(), &node("node-2"))
        .await
        .unwrap();
    assert!(taken <= again, "the primary already: the epoch that it has");
    two.stop().await;
    coordinator.stop().await;
    let stopped = coordinator.promote_replica(&shard(), &node("node-2")).await;
    assert_eq!(stopped, Err(PromotionError::Stopped));
}

#[tokio::test]
async fn a_node_without_a_replica_is_told_of_and_serves_again_when_it_is_back() {
    let store = bootstrapped().await;
    let way = Way::to(&store);
    let one = heartbeat(&way, "node-1").await;
    let before = within(one.serving(&shard())).await;
    let coordinator = coordinator(&store, "c1", config());
    let mut events = coordinator.events();
    coordinator.start();
    within(coordinator.leading()).await;
    one.stop().await;
    let told = |event: &Event| match event {
        Event::NoReplica { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    let reason = wait_for(&mut events, told).await;
    assert_eq!(reason, PromotionRefused::NoReplica { shard: shard() });
    let again = heartbeat(&way, "node-1").await;
    let after = within(again.serving(&shard())).await;
    assert!(before < after, "another process, another epoch");
    again.stop().await;
    coordinator.stop().await;
}

#[tokio::test]
async fn another_coordinator_leads_when_the_leader_stops_and_only_the_leader_promotes() {
    let store = bootstrapped().await;
    let (first, second) = (
        coordinator(&store, "c1", config()),
        coordinator(&store, "c2", config()),
    );
    first.start();
    within(first.leading()).await;
    second.start();
    within(async {
        while second.leader() != Some(node("c1")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = second.promote_replica(&shard(), &node("node-1")).await;
    assert_eq!(
        refused,
        Err(PromotionError::NotLeader {
            leader: Some(node("c1"))
        })
    );
    first.stop().await;
    within(second.leading()).await;
    assert!(!first.leads());
    second.stop().await;
}
