//! What workers say to a coordinator.

use serde_json::{Value, json};
use shardwright_coordinator::{core::Settings as CoreSettings, http::Settings, worker::Worker};
use shardwright_rebalancer::PartitionId;
use shardwright_registry::Addresses;
use shardwright_topology::ShardId;
use tokio::{net::TcpListener, sync::mpsc};

use crate::setting::{Server, TIMEOUT, Working, leader, memory, name, two, wait, worker};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_registers_anywhere_and_leaves_through_the_leader() {
    let (_leader, standby) = two().await;
    let body = json!({"version": 1, "id": "w1", "address": "http://127.0.0.1:9"});
    let registered = standby.post("/shardz/v1/register", body.clone()).await.ok();
    let expected =
        json!({"version": 1, "incarnation": 1, "check_interval_ms": 40, "hold_ms": 2700});
    assert_eq!(registered, expected);
    let again = standby.post("/shardz/v1/register", body).await.ok();
    assert_eq!(again["incarnation"], 2);
    let leave = json!({"version": 1, "id": "w1", "incarnation": 2, "gone": true});
    let seen = standby.handle().view_when(|view| !view.nodes.is_empty());
    seen.await.expect("it runs");
    wait("the leader to know the worker", async || {
        standby.post("/shardz/v1/leave", leave.clone()).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_versions_and_addresses_are_refused() {
    let server = leader(Settings::default()).await;
    let register = json!({"version": 2, "id": "w1", "address": "http://127.0.0.1:9"});
    let refused = server.post("/shardz/v1/register", register).await;
    refused.refused(400, "UNSUPPORTED_VERSION");
    let register = json!({"version": 1, "id": "w1", "address": "127.0.0.1:9"});
    let refused = server.post("/shardz/v1/register", register).await;
    refused.refused(400, "BAD_REQUEST");
    let leave = json!({"version": 1, "id": "w9", "incarnation": 1, "gone": true});
    let refused = server.post("/shardz/v1/leave", leave).await;
    refused.refused(404, "UNKNOWN_NODE");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workers_say_of_their_copies_is_shown_by_the_leader() {
    let store = memory();
    let core = |number| CoreSettings {
        replicas: 2,
        ..Server::core(number, TIMEOUT)
    };
    let leader = Server::with_core(&store, core(1), Settings::default()).await;
    leader.handle().view_when(|view| view.is_leading).await;
    let standby = Server::with_core(&store, core(2), Settings::default()).await;
    let workers = [
        worker("w1", &[&leader], None).await,
        worker("w2", &[&leader], None).await,
    ];
    let added = leader.post("/api/v1/partitions", json!({"ids": ["a"]}));
    added.await.ok();
    let id = ShardId::new("a").expect("a name");
    let partition = PartitionId::new(CoreSettings::partitions(), id);
    wait("both to serve", async || {
        let serves = |each: &Working| each.worker.is_serving(&partition).is_some();
        workers.iter().all(serves)
    })
    .await;
    let replicas =
        async |server: &Server| server.get("/api/v1/shards").await.ok()[0]["replicas"].clone();
    wait("a replica to be shown by each", async || {
        let shown = [replicas(&leader).await, replicas(&standby).await];
        shown.iter().all(|replicas| replicas[0]["node"].is_string())
    })
    .await;
    let shown = replicas(&leader).await;
    let replica = shown[0]["node"].as_str().expect("a name");
    let copies =
        |in_sync: Value, lag: Value| json!([{"node": replica, "in_sync": in_sync, "lag": lag}]);
    let nothing = copies(Value::Null, Value::Null);
    assert_eq!(shown, nothing);

    for Working { worker, .. } in &workers {
        let (position, in_sync) = match worker.id().as_str() == replica {
            true => (7, Some(false)),
            false => (9, None),
        };
        worker.report_progress(partition.clone(), Some(position), in_sync);
    }
    wait("the leader to show it", async || {
        replicas(&leader).await == copies(json!(false), json!(2))
    })
    .await;
    assert_eq!(replicas(&standby).await, nothing, "only the leader is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_noted_does_not_hold() {
    let server = leader(Settings::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (offers, mut offered) = mpsc::unbounded_channel();
    let worker = Worker::builder(name("w1"), address, vec![server.url.clone()])
        .on_lease(move |news| {
            offers.send(news.left)?;
            Err("the disk is full".into())
        })
        .start();
    let router = worker.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    for _ in 0..3 {
        offered.recv().await.expect("a lease is offered");
        assert!(!worker.holds_lease(), "what is not noted must not hold");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_finds_the_coordinators_that_the_registry_names() {
    let store = memory();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    // It starts before there is anybody to register at.
    let worker = Worker::builder(name("w1"), address, Vec::new())
        .coordinators_of(Addresses::of_coordinators(store.clone()))
        .start();
    let router = worker.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let gone = Addresses::of_coordinators(store.clone());
    let announced = gone.announce(&name("c0"), "http://127.0.0.1:9").await;
    announced.expect("a store");
    let _server = Server::with_core(&store, Server::core(1, TIMEOUT), Settings::default()).await;
    worker.registered().await;
    wait("a lease", async || worker.holds_lease()).await;
}
