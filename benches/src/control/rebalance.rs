//! Plans at scale: 100,000 partitions of two copies on 1,000 nodes in three zones, in absolute times.

use std::hint::black_box;

use shardwright_rebalancer::{
    Cluster, Node, Partition, PartitionId, Policy, ReplicaPolicy, Spread, Standing,
};
use shardwright_topology::{Location, NodeId, ShardId};

use crate::harness::{Better, Suite, milliseconds};

const NODES: u32 = 1_000;
const PARTITIONS: u32 = 100_000;
const COPIES: u32 = 2;

/// What the first plan may take, in milliseconds.
const FIRST_MS: f64 = 1_000.0;
/// What the plan after the loss of a node may take, in milliseconds.
const AFTER_LOSS_MS: f64 = 200.0;

/// What the process may need for the cluster and its plans, in megabytes.
const MEMORY_MB: f64 = 500.0;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    let policy = ReplicaPolicy {
        spread: Spread::Zones,
        ..ReplicaPolicy::default()
    };
    let mut cluster = cluster()?;
    let lower = (Some(1.0), Better::Lower);
    let first = suite.median_of(|| milliseconds(|| policy.plan(black_box(&cluster))));
    suite.figure("plan_first", "ms", lower, first, FIRST_MS);

    cluster.apply_all(&policy.plan(&cluster))?;
    let lost = NodeId::new("node-500")?;
    let node = cluster.node(&lost).cloned();
    cluster.set_node(Node {
        standing: Standing::Down,
        ..node.unwrap_or_else(|| Node::new(lost))
    });
    let after_loss = suite.median_of(|| milliseconds(|| policy.plan(black_box(&cluster))));
    suite.figure("plan_after_loss", "ms", lower, after_loss, AFTER_LOSS_MS);
    if let Some(peak) = peak_megabytes() {
        suite.figure("plan_memory", "MB", lower, peak, MEMORY_MB);
    }
    Ok(())
}

/// Returns the most memory that this process has had, where the system tells.
fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0 / 1e6)
}

/// Nodes and partitions that nobody holds.
fn cluster() -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new();
    for number in 0..NODES {
        cluster.set_node(Node {
            location: Location {
                region: None,
                zone: Some(format!("zone-{}", number % 3)),
            },
            ..Node::new(NodeId::new(format!("node-{number}"))?)
        });
    }
    for number in 0..PARTITIONS {
        let id = PartitionId::from(ShardId::numbered(number));
        cluster.set_partition(id, Partition::new(COPIES));
    }
    Ok(cluster)
}
