//! The cluster as plans of the balance see it: the nodes that keep copies, and the shards that commit on several members.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_elastic::ShardMetrics;
use shardwright_failover::replication::Condition;
use shardwright_rebalancer::{Cluster, Load, MapRevision, Node, Partition, PartitionId, Standing};
use shardwright_topology::{KeyspaceName, ShardId, ShardRecord, ShardState};

use super::{Options, Settings, options::By};
use crate::core::{NodeView, View};

/// Returns the shards that are balanced here.
pub(super) fn shards(view: &View) -> impl Iterator<Item = &ShardRecord> {
    let main = KeyspaceName::main();
    let shards = view.shards.iter().map(AsRef::as_ref);
    shards.filter(move |record| {
        record.replicated && record.keyspace == main && record.state == ShardState::Serving
    })
}

/// Whether there is such a shard, also while an operation takes it away that may not come to that.
pub(super) fn exists(view: &View, shard: &ShardId) -> bool {
    let main = KeyspaceName::main();
    let mut shards = view.settled();
    shards.any(|record| record.id == *shard && record.replicated && record.keyspace == main)
}

/// Returns the nodes that can have copies.
pub(super) fn nodes(view: &View) -> impl Iterator<Item = &NodeView> {
    let nodes = view.nodes.iter();
    nodes.filter(|node| view.keepers.contains(&node.record.id))
}

/// Returns the revision of the last change of any shard's record: plans are bound to it.
pub(super) fn revision(view: &View) -> MapRevision {
    MapRevision(view.shards_revision.0)
}

/// Whether it is known what each shard does that has all its copies. Others stay where they are anyway.
pub(super) fn is_measured(view: &View, metrics: &BTreeMap<ShardId, ShardMetrics>) -> bool {
    let mut asked = shards(view).filter(|record| record.range.is_some() && is_whole(view, record));
    asked.all(|record| metrics.contains_key(&record.id))
}

fn is_whole(view: &View, record: &ShardRecord) -> bool {
    let id = PartitionId::new(record.keyspace.clone(), record.id.clone());
    let known = view.replicated.get(&id);
    known.is_some_and(|known| known.condition == Condition::Whole)
}

/// Returns the cluster. What others are at work on, or have to mend first, stays where it is.
pub(super) fn cluster(
    view: &View,
    metrics: &BTreeMap<ShardId, ShardMetrics>,
    options: &Options,
    pins: &BTreeSet<ShardId>,
) -> Cluster {
    cluster_of(view, metrics, options, pins, &Settings::default())
}

/// Does the same, with what is next to idle as the settings say.
pub(super) fn cluster_of(
    view: &View,
    metrics: &BTreeMap<ShardId, ShardMetrics>,
    options: &Options,
    pins: &BTreeSet<ShardId>,
    settings: &Settings,
) -> Cluster {
    let mut cluster = Cluster::new();
    for node in nodes(view) {
        let mut known = Node::from(&node.record);
        if let Some(weight) = options.weights.get(&known.id) {
            known.weight = *weight;
        }
        cluster.set_node(known);
    }
    let operations = view.operations.iter();
    let moving: BTreeSet<&ShardId> = operations
        .filter(|operation| !operation.phase.is_final())
        .flat_map(|operation| &operation.sources)
        .collect();
    for record in shards(view) {
        let Some(active) = &record.active else {
            continue;
        };
        let id = PartitionId::new(record.keyspace.clone(), record.id.clone());
        let is_up = |node| {
            let known = cluster.node(node);
            known.is_some_and(|node| node.standing == Standing::Accepting)
        };
        let is_settled = record.pending.is_none()
            && record.hold.is_none()
            && is_whole(view, record)
            && !moving.contains(&record.id)
            && active.members.iter().all(|member| is_up(&member.node));
        let copies = u32::try_from(active.members.len()).unwrap_or(u32::MAX);
        let groups = options.apart.iter().enumerate();
        let groups = groups.filter(|(_, group)| group.contains(&record.id));
        let measured = metrics.get(&record.id).filter(|_| options.by == By::Load);
        let partition = Partition {
            pinned: !is_settled || pins.contains(&record.id) || options.pins.contains(&record.id),
            measured: measured.map(|metrics| load(metrics, settings)),
            apart: groups.map(|(number, _)| number.to_string()).collect(),
            ..Partition::of_record(record, copies)
        };
        cluster.set_partition(id, partition);
    }
    cluster
}

/// Returns what a copy needs, without what is next to nothing: otherwise a few requests would be all of the load of an idle cluster.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are not negative, and what is larger than a number can be is as large as that"
)]
fn load(metrics: &ShardMetrics, settings: &Settings) -> Load {
    let at_least = |number: f64, least: u64| {
        let number = number.round() as u64;
        if number < least { 0 } else { number }
    };
    Load {
        bytes: metrics.storage_bytes,
        requests: at_least(metrics.request_rate, settings.requests_min),
        cpu: at_least(metrics.cpu_usage * 1_000.0, settings.cpu_min),
        memory: 0,
        keys: metrics.key_count as u64,
    }
}
