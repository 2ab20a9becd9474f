//! What is counted, and how it is shown.
//!
//! Crates count through the `metrics` facade. This is the recorder behind it, and the metrics of the coordinator itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::worker::Worker;

const ASSIGNMENTS: &str = "shardwright_shard_assignments";
const REQUESTS: &str = "shardwright_rpc_requests_total";
const FAILOVERS: &str = "shardwright_failover_events_total";
const SERVING: &str = "shardwright_worker_serving";
const LEASED: &str = "shardwright_worker_leased";

/// The metrics of a process. A clone shows the same ones.
#[derive(Clone)]
pub struct Metrics {
    recorder: PrometheusHandle,
    /// The nodes that were shown, so that one that is gone is shown without shards.
    shown: Arc<Mutex<BTreeSet<String>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Another recorder was installed before: this process shows its metrics elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another recorder of metrics is installed in this process")]
pub struct AlreadyInstalled;

impl Metrics {
    /// Collects all that this process counts from now on. Once per process.
    ///
    /// # Errors
    /// [`AlreadyInstalled`].
    pub fn install() -> Result<Self, AlreadyInstalled> {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| AlreadyInstalled)?;
        describe();
        Ok(Self {
            recorder: handle,
            shown: Arc::default(),
        })
    }

    /// Returns all metrics in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        self.recorder.run_upkeep();
        self.recorder.render()
    }

    /// Shows what a worker of this process may serve at this moment.
    pub fn show_worker(&self, worker: &Worker) {
        gauge!(SERVING).set(worker.serving().len() as f64);
        gauge!(LEASED).set(f64::from(u8::from(worker.holds_lease())));
    }

    /// Shows how many shards each node holds at this moment, on every coordinator alike.
    pub(super) fn show_cluster(&self, shards: &BTreeMap<&str, usize>, total: usize) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown
            .iter()
            .filter(|node| !shards.contains_key(node.as_str()))
        {
            gauge!(ASSIGNMENTS, "node" => gone.clone()).set(0.0);
        }
        for (node, count) in shards {
            gauge!(ASSIGNMENTS, "node" => (*node).to_owned()).set(*count as f64);
            shown.insert((*node).to_owned());
        }
        drop(shown);
        gauge!("shardwright_shards").set(total as f64);
    }
}

fn describe() {
    describe_gauge!(SERVING, "Shards that this worker may serve");
    describe_gauge!(LEASED, "1 while this worker's lease holds, 0 otherwise");
    describe_gauge!(ASSIGNMENTS, "Shards that a node holds, in any role");
    describe_counter!(REQUESTS, "Requests about one shard");
    describe_counter!(
        FAILOVERS,
        "Shards that another node owns because the former owner went down"
    );
    describe_gauge!("shardwright_shards", "Shards that exist");
    describe_gauge!(
        "shardwright_coordinator_leading",
        "1 on the coordinator that leads, 0 on the others"
    );
    describe_gauge!(
        "shardwright_replicated_shards",
        "Shards that commit on several members, by how they stand; 0 where nobody leads"
    );
    describe_gauge!(
        "shardwright_operations",
        "Splits, merges and moves of shards that are not over"
    );
    describe_counter!("shardwright_events_total", "Events, by their kind");
    describe_counter!("shardwright_http_requests_total", "Requests over HTTP");
}

/// Counts a request about one shard, with the labels that the router gives to calls: `ok` or a code is the outcome.
pub(super) fn count_request(shard: &str, method: &'static str, outcome: &'static str) {
    let shard = shard.to_owned();
    counter!(REQUESTS, "shard" => shard, "method" => method, "outcome" => outcome).increment(1);
}
