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

static METHODS: LazyLock<Methods> = LazyLock::new(Methods::default);

/// The names of methods that have labels.
#[derive(Debug)]
struct Methods {
    known: ArcSwap<BTreeSet<Arc<str>>>,
    other: Arc<str>,
}

impl Default for Methods {
    fn default() -> Self {
        Self {
            known: ArcSwap::default(),
            other: "other".into(),
        }
    }
}

impl Methods {
    /// Returns the label of a method: its name, as long as names are few.
    fn label(&self, method: &Arc<str>) -> Arc<str> {
        let known = self.known.load();
        if known.contains(method) {
            return Arc::clone(method);
        }
        if known.len() < METHODS_MAX {
            self.known.rcu(|known| {
                let mut next = BTreeSet::clone(known);
                if next.len() < METHODS_MAX {
                    next.insert(Arc::clone(method));
                }
                next
            });
            if self.known.load().contains(method) {
                return Arc::clone(method);
            }
        }
        Arc::clone(&self.other)
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
            method: METHODS.label(method),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_methods_have_labels_and_the_next_cost_nothing() {
        let methods = Methods::default();
        let name = |number: usize| -> Arc<str> { format!("method-{number}").into() };
        for number in 0..METHODS_MAX {
            assert_eq!(methods.label(&name(number)), name(number));
        }
        let full = methods.known.load_full();
        for number in METHODS_MAX..METHODS_MAX + 10 {
            assert_eq!(&*methods.label(&name(number)), "other");
        }
        assert_eq!(methods.label(&name(0)), name(0));
        let same = Arc::ptr_eq(&full, &methods.known.load_full());
        assert!(same, "a set that is full is not stored again");
    }
}
