//! The balance of shards that commit on several members: planned, begun, watched, and left to the leader.

mod requests;
mod shapes;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use metrics::counter;
use serde::Deserialize;
use shardwright_elastic::ShardMetrics;
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{KeyspaceName, ShardId};

pub(in crate::http) use self::requests::Pinning;
use self::{
    requests::{Apply, Mode, Pin, Plan, Saved, Wanted},
    shapes::{BalanceShape, RebalancePlanShape},
};
use super::{Api, Problem, admin::list, body::JsonBody, query::Asked};
use crate::{
    balance::{Asked as AskedBy, Balance, Options, Pinned, Proposed, Refused},
    core::{Command, Notice, Refusal, View},
};

/// What the leader shows.
pub(super) fn of_leader() -> Router<Api> {
    Router::new()
        .route("/api/v1/rebalance", get(status))
        .route("/api/v1/rebalance/plan", post(plan))
}

/// What the leader does.
pub(super) fn commands() -> Router<Api> {
    Router::new()
        .route("/api/v1/rebalance/apply", post(apply))
        .route("/api/v1/rebalance/cancel", post(cancel))
        .route("/api/v1/rebalance/auto", post(automatic))
        .route("/api/v1/rebalance/pins", post(pin))
}

/// Nothing is asked for that the leader would not show anyway.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {
    /// Whether the leader is to answer. It does.
    #[serde(default, rename = "leader")]
    _leader: bool,
}

fn balance(api: &Api) -> Result<&Balance, Problem> {
    let balance = api.handle.balance();
    balance.ok_or_else(|| Refusal::NoOperations.into())
}

/// Returns what there is to know once everything in the registry was seen.
async fn view(api: &Api) -> Result<Arc<View>, Problem> {
    let known = api.handle.view_when(|view| view.is_complete);
    let known = tokio::time::timeout(api.settings.leader_wait, known).await;
    let behind = || Problem::from(Refusal::NotTakenUp);
    known.ok().flatten().ok_or_else(behind)
}

/// What shards have and do; of a coordinator that asks no nodes, nothing.
async fn measured(api: &Api) -> BTreeMap<ShardId, ShardMetrics> {
    match api
        .handle
        .operations()
        .manager(api.settings.leader_wait)
        .await
    {
        Ok(manager) => manager.measured().await,
        Err(_) => BTreeMap::new(),
    }
}

/// Makes an answer of what was refused.
fn problem(refused: Refused) -> Problem {
    let message = refused.to_string();
    let status = match &refused {
        Refused::UnknownNode { .. } | Refused::UnknownShard { .. } => StatusCode::NOT_FOUND,
        Refused::TooLong { .. } => StatusCode::BAD_REQUEST,
        Refused::Registry(_) => return Problem::unavailable(refused.code(), message),
        _ => StatusCode::CONFLICT,
    };
    let hint = match &refused {
        Refused::NoCapacity => Some("start nodes, or give one of them a weight"),
        Refused::Stale(_) => Some("plan again, and look at the new plan"),
        Refused::InProgress { .. } => Some("wait until it is over, or cancel it"),
        _ => None,
    };
    let problem = Problem {
        is_retryable: matches!(refused, Refused::InProgress { .. }),
        ..Problem::new(status, refused.code(), message)
    };
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

async fn status(
    State(api): State<Api>,
    Asked(Nothing { .. }): Asked<Nothing>,
) -> Result<Response, Problem> {
    shown(&api, StatusCode::OK, None).await
}

/// Answers with how the balance stands, and how many moves a command has begun.
async fn shown(api: &Api, status: StatusCode, changes: Option<usize>) -> Result<Response, Problem> {
    let balance = balance(api)?;
    let known = balance.status(&api.handle.view()).await.map_err(problem)?;
    let shape = BalanceShape::of(&known, balance.settings(), changes);
    Ok((status, list(&api.handle.view(), &shape)).into_response())
}

/// What a plan is made from.
struct Found {
    metrics: BTreeMap<ShardId, ShardMetrics>,
    view: Arc<View>,
}

impl Found {
    /// Returns what is known once the leader has heard of all nodes; a while later, what it knows until then.
    async fn of(api: &Api) -> Result<Self, Problem> {
        let heard = api.handle.view_when(|view| view.unheard.is_empty());
        // One that has just died is not known to be down yet.
        let _late = tokio::time::timeout(api.settings.leader_wait, heard).await;
        let metrics = measured(api).await;
        let view = view(api).await?;
        Ok(Self { metrics, view })
    }

    /// Refuses to begin what is planned from a part of the nodes.
    fn check_whole(&self) -> Result<(), Problem> {
        match self.view.unheard.is_empty() {
            true => Ok(()),
            false => Err(Refusal::NotTakenUp.into()),
        }
    }
}

async fn proposed(
    api: &Api,
    found: &Found,
    options: &Options,
) -> Result<(Proposed, Response), Problem> {
    let Found { metrics, view } = found;
    let proposed = balance(api)?.propose(view, metrics, options).await;
    if matches!(proposed, Err(Refused::NoCapacity)) {
        // Whoever has capacity may have yet to say so.
        found.check_whole()?;
    }
    let proposed = proposed.map_err(problem)?;
    let answer = list(view, &RebalancePlanShape::of(&proposed, view));
    Ok((proposed, answer))
}

async fn plan(
    State(api): State<Api>,
    JsonBody(Plan { options }): JsonBody<Plan>,
) -> Result<Response, Problem> {
    let found = Found::of(&api).await?;
    let (_, answer) = proposed(&api, &found, &options).await?;
    Ok(answer)
}

async fn apply(
    State(api): State<Api>,
    JsonBody(request): JsonBody<Apply>,
) -> Result<Response, Problem> {
    let (plan, dry_run) = request.checked()?;
    let mut changes = 0;
    match plan {
        Wanted::Saved(plan) => {
            let Found { metrics, view } = Found::of(&api).await?;
            if dry_run {
                let considered = balance(&api)?.consider(&view, &metrics, plan.parts());
                let considered = considered.await.map_err(problem)?;
                return Ok(list(&view, &RebalancePlanShape::of(&considered, &view)));
            }
            changes += begin(&api, &view, &metrics, plan).await?;
        }
        Wanted::New(options) => {
            let found = Found::of(&api).await?;
            let (proposed, answer) = proposed(&api, &found, &options).await?;
            if dry_run {
                return Ok(answer);
            }
            found.check_whole()?;
            changes += begin(&api, &found.view, &found.metrics, Saved::of(&proposed)).await?;
            // The planner of all other shards does what it would do, too, and at once. It changes records, which the plan above is bound to.
            changes += api.handle.command(Command::Rebalance).await?.changes;
        }
    }
    shown(&api, StatusCode::ACCEPTED, Some(changes)).await
}

/// Begins to carry a plan out, and returns of how many moves.
async fn begin(
    api: &Api,
    view: &View,
    metrics: &BTreeMap<ShardId, ShardMetrics>,
    plan: Saved,
) -> Result<usize, Problem> {
    let applied = balance(api)?.apply(view, metrics, plan.parts(), AskedBy::ByHand);
    let Some(carried) = applied.await.map_err(problem)? else {
        return Ok(0);
    };
    let moves = carried.execution.progress().moves;
    tell(
        api,
        Notice::RebalanceBegun {
            plan: carried.id,
            moves,
            automatic: false,
        },
    );
    Ok(moves)
}

fn tell(api: &Api, notice: Notice) {
    counter!("shardwright_events_total", "event" => notice.kind()).increment(1);
    api.handle.events().push(notice);
}

async fn cancel(
    State(api): State<Api>,
    JsonBody(requests::NoBody {}): JsonBody<requests::NoBody>,
) -> Result<Response, Problem> {
    balance(&api)?.cancel().await.map_err(problem)?;
    shown(&api, StatusCode::OK, None).await
}

async fn automatic(
    State(api): State<Api>,
    JsonBody(Mode { mode }): JsonBody<Mode>,
) -> Result<Response, Problem> {
    let changed = balance(&api)?.set_automatic(mode).await;
    changed.map_err(problem)?;
    let mode = mode.as_str();
    tell(&api, Notice::Automatic { mode });
    shown(&api, StatusCode::OK, None).await
}

async fn pin(
    State(api): State<Api>,
    JsonBody(Pin { shard, pinned }): JsonBody<Pin>,
) -> Result<Response, Problem> {
    let to = if pinned { Pinned::Stays } else { Pinned::Free };
    pin_to(&api, &shard, to).await?;
    shown(&api, StatusCode::OK, None).await
}

async fn pin_to(api: &Api, shard: &ShardId, to: Pinned) -> Result<(), Problem> {
    let view = view(api).await?;
    let pinned = balance(api)?.set_pinned(&view, shard, to);
    pinned.await.map_err(problem)
}

/// Has what somebody has begun to move, or has promoted, stay where it is put, unless they say otherwise. Of other shards the core sees to that.
pub(super) async fn pin_moved(api: &Api, partition: &PartitionId, pinning: Pinning) {
    let view = api.handle.view();
    let shard = &partition.shard;
    let is_balanced =
        partition.keyspace == KeyspaceName::main() && crate::balance::has(&view, shard);
    let pinned = match (is_balanced, pinning) {
        (true, Pinning::Stays) => pin_to(api, shard, Pinned::Stays).await,
        (false, Pinning::Free) => {
            let partition = partition.clone();
            let unpinned = api.handle.command(Command::Unpin { partition }).await;
            unpinned.map(drop).map_err(Problem::from)
        }
        (true, Pinning::Free) | (false, Pinning::Stays) => Ok(()),
    };
    if let Err(problem) = pinned {
        // The move goes on, and whoever asked is not told that it failed.
        tracing::warn!(%shard, error = problem.message, "a shard that is moved was not pinned, or not let go");
    }
}
