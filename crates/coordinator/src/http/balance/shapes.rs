//! What is shown of the balance. The table of shapes in the documentation is made from these.

use serde::Serialize;
use shardwright_rebalancer::{MapRevision, Move, Plan, execution::GivenUp};
use shardwright_topology::ShardId;

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
}

impl<'a> RebalancePlanShape<'a> {
    pub(super) fn of(proposed: &'a Proposed, view: &View) -> Self {
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
    pins: &'a [ShardId],
    execution: Option<ExecutionShape<'a>>,
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
            pins: &status.pins,
            execution: status.execution.as_ref().map(ExecutionShape::of),
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
