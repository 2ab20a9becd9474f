//! Handlers that do what they should not: what is due after them still happens.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::{sync::Arc, time::Duration};

use shardwright_failover::{Config, FailoverCoordinator, Heartbeat};
use shardwright_registry::{MemoryStore, Partitioning, Registration, Registry};
use shardwright_topology::{KeyspaceName, NodeId, ShardId};
use tokio::sync::mpsc;

fn config() -> Config {
    Config {
        check_interval: Duration::from_millis(40),
        heartbeat_timeout: Duration::from_millis(400),
        ..Config::default()
    }
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// A registry with one shard.
async fn registry() -> Registry {
    let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
    registry.bootstrap(Partitioning::Ranges, 1).await.unwrap();
    registry
}

/// The heartbeat of a node that wants the shard.
fn heartbeat(registry: &Registry, name: &str) -> Heartbeat {
    let registration = Registration {
        shards: vec![ShardId::numbered(0)],
        ..Registration::new(node(name), "http://localhost:0")
    };
    Heartbeat::new(registry.clone(), registration, &config()).unwrap()
}

/// What nobody waits for longer than this is a hang.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it happens in the end")
}

#[tokio::test]
async fn a_handler_of_a_heartbeat_that_panics_silences_no_other() {
    let registry = registry().await;
    let one = heartbeat(&registry, "node-1");
    // Once before there is a future, and once in it.
    one.on_serve(|_, _| -> std::future::Ready<()> { panic!("a handler fails") });
    let (told, mut heard) = mpsc::unbounded_channel();
    one.on_step_down(move |shard, _, _| {
        let told = told.clone();
        async move { told.send(shard).unwrap() }
    });
    one.start().await.unwrap();
    within(one.serving(&ShardId::numbered(0))).await;
    within(one.stop()).await;
    assert_eq!(heard.try_recv(), Ok(ShardId::numbered(0)), "before the end");
}

#[tokio::test]
async fn a_handler_of_a_coordinator_that_panics_silences_no_other() {
    let registry = registry().await;
    let id = node("c1");
    let coordinator = FailoverCoordinator::new(registry.clone(), id, config()).unwrap();
    coordinator.on_node_down(|_, _| async { panic!("a handler fails") });
    let (told, mut heard) = mpsc::unbounded_channel();
    coordinator.on_node_up(move |node| {
        let told = told.clone();
        async move { told.send(node).unwrap() }
    });
    coordinator.start();
    within(coordinator.leading()).await;
    let mut events = coordinator.events();
    let first = heartbeat(&registry, "node-1");
    first.start().await.unwrap();
    within(first.serving(&ShardId::numbered(0))).await;
    first.stop().await;
    let down = shardwright_failover::Event::NodeDown {
        node: node("node-1"),
        shards: vec![ShardId::numbered(0)],
    };
    within(async { while events.recv().await.unwrap() != down {} }).await;
    let second = heartbeat(&registry, "node-1");
    second.start().await.unwrap();
    assert_eq!(within(heard.recv()).await, Some(node("node-1")));
    second.stop().await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_handler_may_stop_its_own_heartbeat() {
    let registry = registry().await;
    let one = heartbeat(&registry, "node-1");
    let (told, mut heard) = mpsc::unbounded_channel();
    let (stopper, stopped) = (one.clone(), told.clone());
    one.on_serve(move |_, _| {
        let (stopper, stopped) = (stopper.clone(), stopped.clone());
        async move {
            stopper.stop().await;
            stopped.send("stopped").unwrap();
        }
    });
    one.on_step_down(move |_, _, _| {
        let told = told.clone();
        async move { told.send("stepped down").unwrap() }
    });
    one.start().await.unwrap();
    assert_eq!(within(heard.recv()).await, Some("stopped"));
    within(one.stop()).await;
    assert_eq!(heard.try_recv(), Ok("stepped down"), "before the end");
    assert!(!one.holds());
}
