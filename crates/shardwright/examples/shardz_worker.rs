//! A worker as in Shardz: it serves the partitions that a coordinator gives it, and says so.
//!
//! Alone it starts a coordinator and two workers, adds partitions, and lets one worker leave. In a cluster the coordinators are
//! processes of their own (`shardwright coordinator`), and each worker is one.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::{error::Error, future::pending, sync::Arc, time::Duration};

use shardwright::{
    coordinator::{
        Coordinator,
        core::{Command, Settings, View},
        http::{self, Api},
        worker::Worker,
    },
    rebalancer::ReplicaPolicy,
    registry::MemoryStore,
    topology::{Incarnation, NodeId, ShardId},
};
use tokio::net::TcpListener;

async fn start_worker(name: &'static str, coordinator: &str) -> Result<Worker, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let worker = Worker::builder(NodeId::new(name)?, address, vec![coordinator.to_owned()])
        .on_serve(move |assignment| async move {
            // Here a service opens what it needs. Nobody is told that the partition is served before this ends.
            println!(
                "{name}: serve {} at {}",
                assignment.partition, assignment.epoch
            );
            Ok(())
        })
        .on_delete(move |assignment| async move {
            // And here it closes it. Nobody else begins before this ends.
            println!(
                "{name}: delete {} at {}",
                assignment.partition, assignment.epoch
            );
            Ok(())
        })
        .start();
    // A service merges this with routes of its own, which ask `worker.is_serving` before they do anything.
    let router = worker.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(worker)
}

async fn start_coordinator() -> Result<(Coordinator, String), Box<dyn Error>> {
    let store = Arc::new(MemoryStore::new());
    let settings = Settings {
        check_interval: Duration::from_millis(50),
        ..Settings::new(NodeId::new("coordinator-1")?, Incarnation(1))
    };
    let policy = Box::new(ReplicaPolicy::default());
    let coordinator = Coordinator::start(store.clone(), settings, policy);
    let listener = http::bind("127.0.0.1:0", None).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let api = Api::new(
        coordinator.handle().clone(),
        store,
        http::Settings::default(),
    );
    tokio::spawn(http::serve(listener, api, pending()));
    Ok((coordinator, url))
}

/// Waits until a worker serves so many partitions.
async fn serves(worker: &Worker, partitions: usize) {
    while worker.serving().len() != partitions {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (coordinator, url) = start_coordinator().await?;
    let first = start_worker("worker-1", &url).await?;
    let second = start_worker("worker-2", &url).await?;
    let both_are_up = |view: &View| view.nodes.iter().filter(|node| node.leased).count() == 2;
    coordinator.handle().view_when(both_are_up).await;

    let names = ["blog", "docs", "shop", "wiki"].into_iter();
    let ids = names.map(ShardId::new).collect::<Result<_, _>>()?;
    let add = Command::AddPartitions {
        ids,
        replicas: None,
    };
    coordinator.handle().command(add).await?;
    tokio::join!(serves(&first, 2), serves(&second, 2));

    println!("worker-1 leaves");
    let is_handed_over = first.leave(Duration::from_secs(30)).await;
    assert!(is_handed_over);
    serves(&second, 4).await;
    coordinator.stop().await;
    Ok(())
}
