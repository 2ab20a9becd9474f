//! What is shown of the balance. The table of shapes in the documentation is made from these.

use std::collections::BTreeSet;

use serde::Serialize;
use shardwright_rebalancer::{MapRevision, Move, Plan, execution::GivenUp};
use shardwright_topology::{NodeId, ShardId};

use crate::{
    balance::{Asked, Automatic, Carried, Proposed, RebalanceImpact, Settings, Status},
    core::View,
};

/// A plan: what the leader would do with shards that commit on several members, and what it is about to do with all others.
#[derive(Debug, Serialize)]
pub(super) struct RebalancePlanShape<'a> {
    revision: MapRevision,
    #[serde(flatten)]
    plan: Plan,
    /// How many shards are just on their way.
    moving: usize,
    /// How many moves are left for a later plan.
    deferred: usize,
    impact: &'a RebalanceImpact,
    /// The nodes without which it was planned, since the leader has yet to hear from them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    unheard: &'a BTreeSet<NodeId>,
}

impl<'a> RebalancePlanShape<'a> {
    pub(super) fn of(proposed: &'a Proposed, view: &'a View) -> Self {
        let (waiting, own) = (&view.plan, &proposed.proposal.plan);
        let both =
            |of: fn(&Plan) -> &Vec<Move>| of(waiting).iter().chain(of(own)).cloned().collect();
        let mut plan = Plan::clone(waiting);
        plan.moves = both(|plan| &plan.moves);
        plan.under_replicated
            .extend(own.under_replicated.iter().cloned());
        plan.crowded.extend(own.crowded.iter().cloned());
        plan.stuck.extend(own.stuck.iter().cloned());
        plan.together.extend(own.together.iter().cloned());
        Self {
            revision: proposed.proposal.revision,
            plan,
            moving: view.moving,
            deferred: proposed.proposal.deferred,
            impact: &proposed.impact,
            unheard: &view.unheard,
        }
    }
}

/// How the balance stands.
#[derive(Debug, Serialize)]
pub(super) struct BalanceShape<'a> {
    /// How many moves a command has begun, if it is what is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<usize>,
    automatic: Automatic,
    /// How often the leader looks, if it acts by itself.
    interval_seconds: u64,
    /// When it does what, as the leader is set.
    rules: RulesShape,
    pins: &'a [ShardId],
    execution: Option<ExecutionShape<'a>>,
}

/// When the leader does something by itself.
#[derive(Debug, Serialize)]
struct RulesShape {
    lasting_seconds: f64,
    cool_down_seconds: f64,
    rest_seconds: f64,
    shards_min: usize,
    split: SplitRules,
    merge: MergeRules,
}

/// When a shard is split: if it is above one of these, and has the rows.
#[derive(Debug, Serialize)]
struct SplitRules {
    bytes: u64,
    rows: Option<usize>,
    requests_per_second: f64,
    cpu: f64,
    rows_min: usize,
}

/// When neighbours are merged: if they are below all of these, each and together.
#[derive(Debug, Serialize)]
struct MergeRules {
    bytes: u64,
    rows_max: usize,
    requests_per_second: f64,
    cpu: f64,
}

/// A plan that is carried out, or was last.
#[derive(Debug, Serialize)]
struct ExecutionShape<'a> {
    id: &'a str,
    asked: Asked,
    revision: MapRevision,
    state: &'static str,
    moves: usize,
    waiting: usize,
    running: usize,
    done: usize,
    given_up: usize,
    bytes: u64,
    bytes_done: u64,
    /// What runs.
    runs: Vec<&'a Move>,
    /// What is not done, and is not tried again.
    left: Vec<LeftShape<'a>>,
}

#[derive(Debug, Serialize)]
struct LeftShape<'a> {
    #[serde(flatten)]
    planned: &'a Move,
    why: GivenUp,
}

impl<'a> BalanceShape<'a> {
    pub(super) fn of(status: &'a Status, settings: &Settings, changes: Option<usize>) -> Self {
        Self {
            changes,
            automatic: status.automatic,
            interval_seconds: settings.interval.as_secs(),
            rules: RulesShape::of(settings),
            pins: &status.pins,
            execution: status.execution.as_ref().map(ExecutionShape::of),
        }
    }
}

impl RulesShape {
    fn of(settings: &Settings) -> Self {
        let (policy, patience) = (&settings.shards, &settings.patience);
        let (split, merge) = (&policy.split, &policy.merge);
        Self {
            lasting_seconds: policy.lasting.as_secs_f64(),
            cool_down_seconds: policy.cool_down.as_secs_f64(),
            rest_seconds: patience.rest.as_secs_f64(),
            shards_min: settings.shards_min,
            split: SplitRules {
                bytes: split.storage_threshold,
                rows: policy.split_keys,
                requests_per_second: split.request_rate_threshold,
                cpu: split.cpu_threshold,
                rows_min: split.min_keys,
            },
            merge: MergeRules {
                bytes: merge.storage_threshold,
                rows_max: merge.max_merged_keys,
                requests_per_second: merge.request_rate_threshold,
                cpu: merge.cpu_threshold,
            },
        }
    }
}

impl<'a> ExecutionShape<'a> {
    fn of(carried: &'a Carried) -> Self {
        let execution = &carried.execution;
        let progress = execution.progress();
        let runs = execution.running().map(|(_, planned)| planned);
        let left = execution.given_up();
        Self {
            id: &carried.id,
            asked: carried.asked,
            revision: execution.revision(),
            state: match (execution.is_finished(), carried.is_cancelled) {
                (true, _) => "ended",
                (false, true) => "cancelled",
                (false, false) => "running",
            },
            moves: progress.moves,
            waiting: progress.waiting,
            running: progress.running,
            done: progress.ended,
            given_up: progress.given_up,
            bytes: progress.bytes,
            bytes_done: progress.bytes_done,
            runs: runs.collect(),
            left: left
                .map(|(planned, why)| LeftShape { planned, why })
                .collect(),
        }
    }
}
