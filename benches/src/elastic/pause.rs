//! `split_pause` and `merge_pause`: the longest that a client waits while a shard of a million rows is split, and merged again, on three
//! nodes.
//!
//! Clients send at fixed times, whether or not the one before was answered, so that a stall is seen by all who would have come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    runtime::Runtime,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use super::cluster::Cluster;
use crate::harness::{Better, Suite, directory};

/// How many rows the shard has.
const ROWS: u64 = 1_000_000;

/// How many clients there are.
const CLIENTS: u64 = 64;

/// How often each sends something.
const EVERY: Duration = Duration::from_millis(250);

/// What a client may wait, in milliseconds.
const GOAL_MS: f64 = 100.0;

/// Measures both.
pub(super) fn run(suite: &mut Suite, runtime: &Runtime) -> anyhow::Result<()> {
    if !suite.wants("split_pause") && !suite.wants("merge_pause") {
        return Ok(());
    }
    let home = directory()?;
    let cluster = runtime.block_on(async {
        let cluster = Cluster::start(home.path(), 3).await?;
        cluster.fill(ROWS).await?;
        anyhow::Ok(Arc::new(cluster))
    })?;
    let mut merges = Vec::new();
    let split = suite.median_of(|| {
        let [split, merge] = ["split", "merge"]
            .map(|kind| runtime.block_on(longest_wait(&cluster, kind)).expect(kind));
        merges.push(merge);
        split
    });
    merges.sort_by(f64::total_cmp);
    let merge = merges[merges.len() / 2];
    let goal = (Some(1.0), Better::Lower);
    suite.figure("split_pause", "ms", goal, split, GOAL_MS);
    suite.figure("merge_pause", "ms", goal, merge, GOAL_MS);
    if let Ok(cluster) = Arc::try_unwrap(cluster) {
        runtime.block_on(cluster.stop());
    }
    Ok(())
}

/// Lets clients write and read while an operation is carried out, and returns the longest wait of one, in milliseconds.
async fn longest_wait(cluster: &Arc<Cluster>, kind: &str) -> anyhow::Result<f64> {
    let (over, longest) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (cluster, over, longest) =
            (Arc::clone(cluster), Arc::clone(&over), Arc::clone(&longest));
        clients.spawn(async move {
            tokio::time::sleep(EVERY * u32::try_from(client).unwrap_or(0) / 64).await;
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut number = client;
            while !over.load(Ordering::Relaxed) {
                let due = ticks.tick().await;
                number = (number + 7_919) % ROWS;
                send(&cluster, client, number).await;
                let waited = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
                longest.fetch_max(waited, Ordering::Relaxed);
            }
        });
    }
    cluster.reshape(kind).await?;
    tokio::time::sleep(EVERY * 2).await;
    over.store(true, Ordering::Relaxed);
    while clients.join_next().await.is_some() {}
    Ok(longest.load(Ordering::Relaxed) as f64 / 1_000.0)
}

/// Writes or reads a row, again until that is done.
async fn send(cluster: &Cluster, client: u64, number: u64) {
    let key = format!("item-{number:08}");
    let body = if client.is_multiple_of(2) {
        json!({ "sql": "UPDATE items SET kind = kind + 1 WHERE id = ?1", "args": [key] })
    } else {
        json!({ "sql": "SELECT kind FROM items WHERE id = ?1", "args": [key] })
    };
    let node = usize::try_from(client % 3).unwrap_or(0);
    let began = Instant::now();
    while cluster.sql(node, &body).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "no answer");
    }
}
