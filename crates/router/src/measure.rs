//! Metrics. Labels are shards, methods and outcomes, never tenants, and their number is bounded.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use arc_swap::ArcSwap;
use metrics::{counter, gauge, histogram};
use shardwright_topology::ShardId;

use crate::clock::Stopwatch;

/// How many names of methods have labels of their own; calls of others count as `other`.
const METHODS_MAX: usize = 256;

static METHODS: LazyLock<ArcSwap<BTreeSet<Arc<str>>>> = LazyLock::new(ArcSwap::default);

/// Returns the label of a method: its name, as long as names are few.
fn label(method: &Arc<str>) -> Arc<str> {
    let known = METHODS.load();
    if known.contains(method) {
        return Arc::clone(method);
    }
    METHODS.rcu(|known| {
        let mut next = BTreeSet::clone(known);
        if next.len() < METHODS_MAX {
            next.insert(Arc::clone(method));
        }
        next
    });
    if METHODS.load().contains(method) {
        Arc::clone(method)
    } else {
        "other".into()
    }
}

/// A call that has begun: counted as in flight until this is dropped.
#[derive(Debug)]
pub(crate) struct Measured {
    method: Arc<str>,
    begun: Stopwatch,
}

impl Measured {
    pub(crate) fn begin(method: &Arc<str>) -> Self {
        gauge!("shardwright_rpc_in_flight").increment(1.0);
        Self {
            method: label(method),
            begun: Stopwatch::start(),
        }
    }

    /// Counts the call. One that found no shard has none.
    pub(crate) fn end(&self, shard: Option<&ShardId>, outcome: &'static str) {
        let method = metrics::SharedString::from_shared(Arc::clone(&self.method));
        let shard = shard.map_or_else(|| "none".to_owned(), ToString::to_string);
        counter!(
            "shardwright_rpc_requests_total",
            "shard" => shard,
            "method" => method.clone(),
            "outcome" => outcome,
        )
        .increment(1);
        histogram!("shardwright_rpc_duration_seconds", "method" => method)
            .record(self.begun.elapsed());
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        gauge!("shardwright_rpc_in_flight").decrement(1.0);
    }
}

/// Counts a request that this node answered, or refused. `shard` counts as `unknown` if the node refused it, because anybody
/// may have made it up.
pub(crate) fn answered(shard: &ShardId, method: &str, outcome: &'static str) {
    let shard = if outcome == "refused" {
        "unknown"
    } else {
        shard.as_str()
    };
    counter!(
        "shardwright_rpc_answers_total",
        "shard" => shard.to_owned(),
        "method" => method.to_owned(),
        "outcome" => outcome,
    )
    .increment(1);
}
