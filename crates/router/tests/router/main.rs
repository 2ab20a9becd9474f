//! The router as its users see it: local work, calls and their repeats, registries that come and go, and real transports.

mod calls;
mod errors;
mod follow;
#[cfg(feature = "http")]
mod http;
mod local;
mod maps;
mod metrics;
#[cfg(feature = "nats")]
mod nats;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use shardwright_router::{
    BoxError, CallOptions, Router, Settings,
    topology::{Epoch, NodeId, ShardId},
    transport::memory::Network,
};

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a valid name")
}

fn shard(number: u32) -> ShardId {
    ShardId::numbered(number)
}

/// A node of a network, which the others reach by its name.
fn join(network: &Network, name: &str) -> Router {
    let router = Router::new(node(name), Arc::new(network.clone()), Settings::default());
    network.serve(name, &router);
    router
}

/// Two nodes that know each other and agree that the second owns shard 0 at e3.
fn pair(network: &Network) -> (Router, Router) {
    let (caller, owner) = (join(network, "caller"), join(network, "owner"));
    for router in [&caller, &owner] {
        for name in ["caller", "owner"] {
            router.set_address(&node(name), Some(name));
        }
        router.set_owner(&shard(0), Some(node("owner")), Epoch(3));
    }
    (caller, owner)
}

/// Counts how often a method runs.
fn count(router: &Router, method: &str) -> Arc<AtomicU64> {
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    router.handle(method, move |_| {
        let run = counted.fetch_add(1, SeqCst) + 1;
        async move { Ok::<_, BoxError>(run.to_string()) }
    });
    runs
}

fn within(timeout: Duration) -> CallOptions {
    CallOptions {
        timeout: Some(timeout),
        ..CallOptions::default()
    }
}

const SHORT: Duration = Duration::from_millis(100);
