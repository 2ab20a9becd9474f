//! Plans of the balance, with what they cost and what they lead to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use shardwright_elastic::ShardMetrics;
use shardwright_rebalancer::{
    Budget, Cluster, Impact, MapRevision, Move, Partition, Plan, Proposal, Rebalancer,
    ReplicatedPolicy, Step,
};
use shardwright_topology::{NodeId, ShardId};
use tokio::task::JoinError;

use super::{MOVES_MAX, Options, Refused, Settings, picture};
use crate::core::View;

/// A plan, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposed {
    /// The plan, bound to the revision of the map.
    pub proposal: Proposal,
    /// What it costs, and what it leads to.
    pub impact: RebalanceImpact,
}

/// What a plan costs, and what it leads to.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RebalanceImpact {
    /// How many bytes are copied, as far as they are measured.
    pub data_movement_bytes: u64,
    /// How many shards change.
    pub shards_affected: usize,
    /// How long the copying takes, by estimate.
    pub estimated_duration_secs: u64,
    /// How much lower the load of the most loaded node is afterwards, from 0 to 1, as a part of what it is.
    pub load_improvement: f64,
    /// How many copies are made.
    pub copies: usize,
    /// How many primaries are handed over, which copies nothing.
    pub hand_overs: usize,
    /// The nodes that may have shards.
    pub nodes: Vec<NodeLoad>,
}

/// What a plan does to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeLoad {
    /// The node.
    pub node: NodeId,
    /// Its load before, in hundredths of its share: of what copies need and of what primaries do, half each.
    pub percent_before: u64,
    /// Its load afterwards.
    pub percent_after: u64,
    /// How many copies it gets.
    pub gets: usize,
    /// How many copies it loses.
    pub loses: usize,
    /// How many bytes are copied to it.
    pub bytes_in: u64,
}

/// What a plan is made from.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) view: View,
    pub(super) metrics: BTreeMap<ShardId, ShardMetrics>,
    pub(super) pins: BTreeSet<ShardId>,
}

/// Plans, where that holds up nobody: with thousands of shards it takes a while.
pub(super) async fn propose_apart(
    known: Known,
    options: Options,
    settings: Settings,
) -> Result<Proposed, Refused> {
    let planning = tokio::task::spawn_blocking(move || {
        let Known {
            view,
            metrics,
            pins,
        } = &known;
        propose(view, metrics, &options, pins, &settings)
    });
    match planning.await.map_err(JoinError::try_into_panic) {
        Ok(proposed) => proposed,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and whoever waits with it.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Plans, and does nothing.
fn propose(
    view: &View,
    metrics: &BTreeMap<ShardId, ShardMetrics>,
    options: &Options,
    pins: &BTreeSet<ShardId>,
    settings: &Settings,
) -> Result<Proposed, Refused> {
    check(view, options)?;
    let cluster = picture::cluster_of(view, metrics, options, pins, settings);
    let has_shards = cluster.partitions().len() > 0;
    if has_shards && !cluster.nodes().any(shardwright_rebalancer::Node::accepts) {
        return Err(Refused::NoCapacity);
    }
    let mut policy = settings.policy;
    policy.copies.spread = options.spread.unwrap_or(policy.copies.spread);
    let rebalancer = Rebalancer {
        budget: Budget {
            moves_max: Some(options.moves_max.unwrap_or(MOVES_MAX).min(MOVES_MAX)),
            bytes_max: options.bytes_max,
        },
        blend: policy.copies.blend,
        policy,
    };
    let mut proposal = rebalancer.propose(picture::revision(view), &cluster);
    // What leaves a node of weight 0 counts as urgent, and a budget leaves that in.
    let most = rebalancer.budget.moves_max.unwrap_or(MOVES_MAX);
    proposal.deferred += proposal.plan.moves.len().saturating_sub(most);
    proposal.plan.moves.truncate(most);
    let impact = impact(&cluster, &proposal.plan, policy, settings);
    Ok(Proposed { proposal, impact })
}

/// Returns the proposal of some moves.
pub(super) fn of_moves(revision: MapRevision, moves: Vec<Move>) -> Proposal {
    Proposal {
        revision,
        plan: Plan {
            moves,
            ..Plan::default()
        },
        deferred: 0,
        impact: Impact::default(),
        pins: Vec::new(),
    }
}

/// Returns moves with a hand-over behind those that move a primary. Whoever has the primary gives it to any member in sync when its copy leaves, and who
/// gets the copy is to have the role: as a step of its own, that is tried again, and by the next leader, when only the copy has moved.
pub(super) fn with_roles(moves: Vec<Move>, cluster: &Cluster) -> Vec<Move> {
    let mut after = cluster.clone();
    let numbers = moves.iter().zip(0..);
    let last: BTreeMap<_, usize> = numbers
        .map(|(planned, number)| (planned.partition.clone(), number))
        .collect();
    let mut lost = BTreeSet::new();
    let mut steps = Vec::with_capacity(moves.len());
    for (planned, number) in moves.into_iter().zip(0..) {
        let (id, reason) = (planned.partition.clone(), planned.reason);
        let before = after.partition(&id).and_then(Partition::primary);
        match &planned.step {
            Step::Move { from, .. } if before == Some(from) => drop(lost.insert(id.clone())),
            Step::Promote { .. } => drop(lost.remove(&id)),
            _ => {}
        }
        // One that does not fit is given up where it is carried out, and what follows of its shard with it.
        let _fits = after.apply(&planned);
        steps.push(planned);
        let primary = after.partition(&id).and_then(Partition::primary);
        if let Some(to) = primary.filter(|_| last[&id] == number && lost.contains(&id)) {
            let step = Step::Promote { to: to.clone() };
            steps.push(Move {
                partition: id,
                step,
                reason,
            });
        }
    }
    steps
}

/// Returns what a proposal means, without moves of other shards.
pub(super) fn considered(
    view: &View,
    metrics: &BTreeMap<ShardId, ShardMetrics>,
    mut proposal: Proposal,
    settings: &Settings,
) -> Proposed {
    let (options, pins) = (Options::default(), BTreeSet::new());
    let cluster = picture::cluster_of(view, metrics, &options, &pins, settings);
    let moves = &mut proposal.plan.moves;
    moves.retain(|planned| cluster.partition(&planned.partition).is_some());
    let impact = impact(&cluster, &proposal.plan, settings.policy, settings);
    Proposed { proposal, impact }
}

fn check(view: &View, options: &Options) -> Result<(), Refused> {
    let keeps = |node: &NodeId| picture::nodes(view).any(|known| known.record.id == *node);
    if let Some(node) = options.weights.keys().find(|node| !keeps(node)) {
        let node = node.clone();
        return Err(Refused::UnknownNode { node });
    }
    let exists = |shard: &ShardId| picture::shards(view).any(|record| record.id == *shard);
    let mut named = options.pins.iter().chain(options.apart.iter().flatten());
    match named.find(|shard| !exists(shard)) {
        Some(shard) => Err(Refused::UnknownShard {
            shard: shard.clone(),
        }),
        None => Ok(()),
    }
}

fn impact(
    cluster: &Cluster,
    plan: &Plan,
    policy: ReplicatedPolicy,
    settings: &Settings,
) -> RebalanceImpact {
    let costs = Impact::of(cluster, plan, policy.copies.blend);
    let mut after = cluster.clone();
    let before = policy.percents(cluster);
    // It was made from this cluster, so all of it fits.
    for planned in &plan.moves {
        let _fits = after.apply(planned);
    }
    let after = policy.percents(&after);
    let most = |percents: &BTreeMap<NodeId, u64>| percents.values().copied().max().unwrap_or(0);
    let touched = |id: &NodeId| costs.nodes.iter().find(|node| node.node == *id);
    let nodes = before.iter().map(|(node, percent)| {
        let costs = touched(node);
        NodeLoad {
            node: node.clone(),
            percent_before: *percent,
            percent_after: after.get(node).copied().unwrap_or(0),
            gets: costs.map_or(0, |costs| costs.gets),
            loses: costs.map_or(0, |costs| costs.loses),
            bytes_in: costs.map_or(0, |costs| costs.bytes_in),
        }
    });
    let is_hand_over = |planned: &&Move| matches!(planned.step, Step::Promote { .. });
    let shards: BTreeSet<_> = plan
        .moves
        .iter()
        .map(|planned| &planned.partition)
        .collect();
    RebalanceImpact {
        data_movement_bytes: costs.bytes,
        shards_affected: shards.len(),
        estimated_duration_secs: costs.bytes.div_ceil(settings.bytes_per_second.max(1)),
        load_improvement: gain(most(&before), most(&after)),
        copies: costs.copies,
        hand_overs: plan.moves.iter().filter(is_hand_over).count(),
        nodes: nodes.collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a part that is shown")]
fn gain(before: u64, after: u64) -> f64 {
    let less = before.saturating_sub(after) as f64;
    if before > 0 {
        less / before as f64
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
