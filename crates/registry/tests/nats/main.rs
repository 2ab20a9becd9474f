//! The store in NATS, on real servers of the oldest and of the current release.

#[cfg(feature = "campaign")]
mod campaign;
mod conformance;
mod contention;
mod faults;
mod setting;

use std::sync::atomic::{AtomicU32, Ordering};

use shardwright_registry::{NatsOptions, NatsStore};
use shardwright_testkit::nats::NatsCluster;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

/// Options for a bucket that nobody else uses.
fn options(cluster: &NatsCluster) -> NatsOptions {
    static BUCKETS: AtomicU32 = AtomicU32::new(0);
    let number = BUCKETS.fetch_add(1, Ordering::Relaxed);
    NatsOptions {
        bucket: format!("bucket-{number}"),
        replicas: u32::try_from(cluster.size()).expect("a few"),
        ..NatsOptions::new(cluster.url())
    }
}

async fn open(options: &NatsOptions) -> NatsStore {
    let opened = NatsStore::open(options.clone()).await;
    opened.expect("a server that runs")
}
