//! Coordinators and workers in one process, over HTTP on loopback and with short leases.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, routing::post};
use shardwright_coordinator::{
    Coordinator, Handle,
    core::{Command, Settings, View},
    protocol::{LEAVE_PATH, Leave, REGISTER_PATH, Register},
    worker::Worker,
};
use shardwright_rebalancer::{PartitionId, ReplicaPolicy};
use shardwright_registry::{MemoryStore, Store};
use shardwright_topology::{Incarnation, NodeId, ShardId};
use tokio::net::TcpListener;

fn name(text: &str) -> NodeId {
    NodeId::new(text).expect("a name")
}

fn settings(id: &str, number: u64) -> Settings {
    let mut settings = Settings::new(name(id), Incarnation(number));
    settings.check_interval = Duration::from_millis(40);
    // Long enough that no worker loses its lease to a machine that is busy with other tests.
    settings.timing = Settings::timing_of(Duration::from_secs(2)).expect("a valid time-out");
    settings
}

/// The two routes by which workers reach a coordinator.
async fn serve(handle: Handle) -> (String, tokio::task::JoinHandle<()>) {
    let (register, leave) = (handle.clone(), handle);
    let router = Router::new()
        .route(
            REGISTER_PATH,
            post(async move |Json(body): Json<Register>| {
                Json(register.register(body).await.expect("registered"))
            }),
        )
        .route(
            LEAVE_PATH,
            post(async move |Json(body): Json<Leave>| {
                leave.leave(body).await.map_err(|error| error.to_string())?;
                Ok::<_, String>(Json(()))
            }),
        );
    listen(router).await
}

async fn listen(router: Router) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let task = tokio::spawn(async move {
        axum::serve(listener, router).await.expect("it serves");
    });
    (address, task)
}

/// A worker with its own listener, and what its callbacks were called with.
struct Running {
    worker: Worker,
    calls: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
}

async fn worker(id: &str, coordinators: Vec<String>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = |what: &'static str| {
        let calls = calls.clone();
        move |assignment: shardwright_coordinator::protocol::Assignment| {
            let line = format!("{what} {} {}", assignment.partition.shard, assignment.epoch);
            calls.lock().expect("no panic").push(line);
            async { Ok(()) }
        }
    };
    let worker = Worker::builder(name(id), address, coordinators)
        .on_serve(log("serve"))
        .on_delete(log("delete"))
        .start();
    let router = worker.router();
    let server = tokio::spawn(async move {
        axum::serve(listener, router).await.expect("it serves");
    });
    Running {
        worker,
        calls,
        server,
    }
}

fn partitions(count: u32) -> Vec<ShardId> {
    (0..count).map(ShardId::numbered).collect()
}

fn partition(number: u32) -> PartitionId {
    PartitionId::new(Settings::partitions(), ShardId::numbered(number))
}

/// Waits until each partition is served by exactly one of the workers.
async fn all_served(workers: &[&Worker], count: u32) {
    wait("every partition to be served once", || {
        (0..count).all(|number| {
            let id = partition(number);
            let serving = workers
                .iter()
                .filter(|worker| worker.is_serving(&id).is_some());
            serving.count() == 1
        })
    })
    .await;
}

async fn wait(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}

async fn leading(handles: &[&Handle]) -> Handle {
    wait("a leader", || {
        handles.iter().any(|handle| handle.view().is_leading)
    })
    .await;
    let leader = handles.iter().find(|handle| handle.view().is_leading);
    (*leader.expect("there is one")).clone()
}

fn count_of(view: &View, node: &str) -> usize {
    let node = view.nodes.iter().find(|view| view.record.id == name(node));
    node.map_or(0, |view| view.shards)
}

/// Coordinators over one store, and their addresses.
async fn coordinators() -> (Coordinator, Coordinator, Vec<String>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let start = |id: &str, number| {
        Coordinator::start(
            store.clone(),
            settings(id, number),
            Box::new(ReplicaPolicy::default()),
        )
    };
    let (c1, c2) = (start("c1", 1), start("c2", 2));
    let (a1, _) = serve(c1.handle().clone()).await;
    let (a2, _) = serve(c2.handle().clone()).await;
    (c1, c2, vec![a1, a2])
}

async fn leased(leader: &Handle, nodes: &[&str]) {
    wait("the leases of the workers", || {
        let view = leader.view();
        let is_leased = |id: &&str| {
            let node = view.nodes.iter().find(|node| node.record.id == name(id));
            node.is_some_and(|node| node.leased)
        };
        nodes.iter().all(is_leased)
    })
    .await;
}

async fn add(leader: &Handle, count: u32) {
    let command = Command::AddPartitions {
        ids: partitions(count),
        replicas: None,
    };
    let added = leader.command(command.clone()).await.expect("added");
    assert_eq!(added.changes, count as usize);
    let again = leader.command(command).await.expect_err("they exist");
    assert_eq!(again.code(), "EXISTS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_assigned_moved_and_handed_over() {
    let (c1, c2, addresses) = coordinators().await;
    let leader = leading(&[c1.handle(), c2.handle()]).await;
    let w1 = worker("w1", addresses.clone()).await;
    let w2 = worker("w2", addresses.clone()).await;
    leased(&leader, &["w1", "w2"]).await;
    add(&leader, 6).await;
    all_served(&[&w1.worker, &w2.worker], 6).await;

    // A move by hand: released there before it is served here.
    let is_on_w1 = w1.worker.is_serving(&partition(0)).is_some();
    let target = if is_on_w1 { &w2 } else { &w1 };
    let moved = leader.command(Command::Move {
        partition: partition(0),
        from: None,
        to: target.worker.id().clone(),
    });
    moved.await.expect("moved");
    wait("the move", || {
        target.worker.is_serving(&partition(0)).is_some()
    })
    .await;
    all_served(&[&w1.worker, &w2.worker], 6).await;

    // A worker leaves: the other serves everything.
    assert!(
        w1.worker.leave(Duration::from_secs(30)).await,
        "handed over"
    );
    all_served(&[&w2.worker], 6).await;
    wait("the end of w1", || {
        let view = leader.view();
        view.nodes
            .iter()
            .any(|node| node.record.id == name("w1") && !node.leased)
    })
    .await;
    assert!(w1.worker.serving().is_empty());
    c1.stop().await;
    c2.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_cut_off_stops_before_others_begin() {
    let (c1, c2, addresses) = coordinators().await;
    let leader = leading(&[c1.handle(), c2.handle()]).await;
    let w1 = worker("w1", addresses.clone()).await;
    leased(&leader, &["w1"]).await;
    add(&leader, 6).await;
    all_served(&[&w1.worker], 6).await;

    let w2 = worker("w2", addresses).await;
    leased(&leader, &["w2"]).await;
    w1.server.abort();
    all_served(&[&w2.worker], 6).await;
    assert!(w1.worker.serving().is_empty(), "its lease had to end first");
    wait("w1 to stop what it may no longer serve", || {
        let calls = w1.calls.lock().expect("no panic");
        calls
            .iter()
            .filter(|call| call.starts_with("delete"))
            .count()
            == 6
    })
    .await;

    // The leader stops; the next one goes on where it was.
    let is_c1 = c1.handle().id() == leader.id();
    let (old, other) = if is_c1 { (c1, c2) } else { (c2, c1) };
    old.stop().await;
    let next = leading(&[other.handle()]).await;
    let command = Command::RemovePartitions { ids: partitions(6) };
    let removed = next.command(command).await.expect("removed");
    assert_eq!(removed.changes, 6);
    wait("the end of all partitions", || {
        w2.worker.serving().is_empty()
    })
    .await;
    wait("the calls", || {
        w2.calls.lock().expect("no panic").len() == 12
    })
    .await;
    let calls = w2.calls.lock().expect("no panic").clone();
    let served = calls
        .iter()
        .filter(|call| call.starts_with("serve"))
        .count();
    assert_eq!(served, 6, "{calls:?}");
    wait("nobody to hold anything", || {
        count_of(&next.view(), "w1") == 0
    })
    .await;
    other.stop().await;
}
