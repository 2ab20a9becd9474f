//! Splits, merges and moves of shards: begun, shown, held up and taken back by the leader.
//!
//! The manager of the leader has those that copy rows; the core itself moves shards that commit on several members.

mod moves;
mod problem;
mod requests;
mod shapes;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::future::join_all;
use serde::Deserialize;
use shardwright_elastic::{ElasticShardManager, Error, OperationStatus};
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{Decision, OperationId, ShardId};

pub(super) use self::moves::until_shown;
use self::{
    problem::{problem, unknown},
    requests::{Asked as AskedFor, Begin},
    shapes::{OperationShape, StatisticsShape},
};
use super::{
    Api, Problem, REVISION, admin::list, balance::pin_moved, body::JsonBody,
    metrics::count_request, query::Asked,
};
use crate::core::{Refusal, Steering, View};

/// What the leader shows.
pub(super) fn of_leader() -> Router<Api> {
    Router::new()
        .route("/api/v1/operations", get(operations))
        .route("/api/v1/operations/{id}", get(operation))
        .route("/api/v1/stats", get(statistics))
}

/// What the leader does, for as long as it takes.
pub(super) fn commands() -> Router<Api> {
    Router::new()
        .route("/api/v1/operations", post(begin))
        .route("/api/v1/operations/{id}/pause", post(pause))
        .route("/api/v1/operations/{id}/resume", post(resume))
        .route("/api/v1/operations/{id}/cancel", post(cancel))
        .route("/api/v1/operations/{id}/reverse", post(reverse))
}

/// Nothing is asked for that the leader would not show anyway.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {
    /// Whether the leader is to answer. It does.
    #[serde(default, rename = "leader")]
    _leader: bool,
}

/// Of which shard statistics are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    shard: Option<ShardId>,
}

async fn manager(api: &Api) -> Result<ElasticShardManager, Refusal> {
    let manager = api.handle.operations();
    manager.manager(api.settings.leader_wait).await
}

/// Returns the manager, and the operation of that name that it may know.
async fn managed(
    api: &Api,
    id: OperationId,
) -> Result<(ElasticShardManager, OperationId), Problem> {
    match manager(api).await {
        Ok(manager) => Ok((manager, id)),
        // There are no operations but the moves.
        Err(Refusal::NoOperations) => Err(unknown(id.as_str())),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Waits for what a command does, and no longer than a command may take.
async fn within<T, E>(
    api: &Api,
    command: impl Future<Output = Result<T, E>>,
    refused: impl FnOnce(E) -> Problem,
) -> Result<T, Problem> {
    let limit = api.settings.command_timeout;
    let done = tokio::time::timeout(limit, command).await.map_err(|_| {
        Problem::indeterminate("the command takes long and may go on")
            .hint("list the operations to see what became of it")
    })?;
    done.map_err(refused)
}

/// How far the registry was followed for an answer.
fn revision_of(view: &View) -> [(HeaderName, String); 1] {
    let name = HeaderName::from_static(REVISION);
    [(name, view.revision.0.to_string())]
}

fn named(id: &str) -> Result<OperationId, Problem> {
    OperationId::new(id).map_err(|_| unknown(id))
}

async fn find(manager: &ElasticShardManager, id: &OperationId) -> Result<OperationStatus, Problem> {
    // Whoever follows one asks often: what runs here needs no look into the registry.
    if let Ok(status) = manager.watch(id) {
        return Ok(status.borrow().clone());
    }
    let all = manager.operations().await.map_err(problem)?;
    let found = all.into_iter().find(|status| status.record.id() == id);
    found.ok_or_else(|| unknown(id.as_str()))
}

/// Answers with an operation as it is now.
async fn show(
    api: &Api,
    manager: &ElasticShardManager,
    id: &OperationId,
    status: StatusCode,
) -> Result<Response, Problem> {
    let found = find(manager, id).await?;
    let view = api.handle.view();
    let shape = OperationShape::of(&found).with_moves(&view);
    Ok((status, revision_of(&view), Json(shape)).into_response())
}

async fn operations(
    State(api): State<Api>,
    Asked(Nothing { .. }): Asked<Nothing>,
) -> Result<Response, Problem> {
    let all = match manager(&api).await {
        Ok(manager) => manager.operations().await.map_err(problem)?,
        Err(Refusal::NoOperations) => Vec::new(),
        Err(refusal) => return Err(refusal.into()),
    };
    let view = api.handle.view();
    let moves: Vec<_> = moves::all(&view).collect();
    let shapes = all
        .iter()
        .map(|status| OperationShape::of(status).with_moves(&view));
    let shapes = shapes.chain(moves.iter().map(OperationShape::moving));
    Ok(list(&view, &shapes.collect::<Vec<_>>()))
}

async fn operation(
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(Nothing { .. }): Asked<Nothing>,
) -> Result<Response, Problem> {
    let id = named(&id)?;
    if moves::has(&api, &id) {
        return moves::show(&api, &id);
    }
    let (manager, id) = managed(&api, id).await?;
    show(&api, &manager, &id, StatusCode::OK).await
}

async fn statistics(
    State(api): State<Api>,
    Asked(Wanted { shard }): Asked<Wanted>,
) -> Result<Response, Problem> {
    let manager = manager(&api).await?;
    let layout = manager.layout();
    if let Some(shard) = &shard
        && layout.part(shard.as_str()).is_none()
    {
        let shard = shard.to_string();
        return Err(problem(Error::UnknownShard { shard }));
    }
    let wanted = layout.parts().map(|part| &part.shard);
    let wanted = wanted.filter(|id| shard.as_ref().is_none_or(|shard| shard == *id));
    let asked = wanted.map(async |id| (id, manager.shard_statistics(id.as_str()).await));
    let found = join_all(asked).await;
    let view = api.handle.view();
    let shapes: Vec<_> = found
        .iter()
        .map(|(shard, found)| StatisticsShape::of(shard, found.as_ref(), &view))
        .collect();
    Ok(list(&view, &shapes))
}

async fn begin(
    State(api): State<Api>,
    JsonBody(request): JsonBody<Begin>,
) -> Result<Response, Problem> {
    let request = request.checked()?;
    let (shard, method) = (request.shards[0].clone(), request.method());
    let record = moves::record(&api.handle.view(), &shard);
    let answer = match (request.migration(), record) {
        (Some((from, to)), Some(record)) => {
            let (from, to) = (from.cloned(), to.clone());
            let begun = moves::begin(&api, &record, from, to, request.dry_run).await;
            if begun.is_ok() && !request.dry_run {
                let partition = PartitionId::new(record.keyspace.clone(), shard.clone());
                pin_moved(&api, &partition, request.pinning).await;
            }
            begun
        }
        (Some((Some(_), _)), None) => Err(Problem::bad_request(
            "from is for a shard that commits on several members: others have one copy",
        )),
        _ => begin_managed(&api, request).await,
    };
    let outcome = answer
        .as_ref()
        .map_or_else(|problem| problem.code, |_| "ok");
    count_request(shard.as_str(), method, outcome);
    answer
}

/// Begins what copies rows, or says what it would do.
async fn begin_managed(api: &Api, mut request: AskedFor) -> Result<Response, Problem> {
    let manager = manager(api).await?;
    let gathering = match request.is_merge() {
        true => moves::gathering(api, &mut request.shards).await?,
        false => Vec::new(),
    };
    if request.dry_run {
        let work = within(api, request.plan(&manager), problem).await?;
        let shape = OperationShape::planned(&work).after(&gathering);
        return Ok(list(&api.handle.view(), &shape));
    }
    let id = within(api, request.begin(&manager), problem).await?;
    show(api, &manager, &id, StatusCode::ACCEPTED).await
}

async fn pause(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = named(&id)?;
    if moves::has(&api, &id) {
        return moves::steer(&api, &id, Steering::Pause).await;
    }
    let (manager, id) = managed(&api, id).await?;
    within(&api, manager.pause(&id), problem).await?;
    show(&api, &manager, &id, StatusCode::OK).await
}

async fn resume(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = named(&id)?;
    if moves::has(&api, &id) {
        return moves::steer(&api, &id, Steering::Resume).await;
    }
    let (manager, id) = managed(&api, id).await?;
    within(&api, manager.resume(&id), problem).await?;
    show(&api, &manager, &id, StatusCode::OK).await
}

/// Answers once it is decided that the operation has no effect: what is left of it may take longer to go, if a node is away.
async fn cancel(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = named(&id)?;
    if moves::has(&api, &id) {
        return moves::steer(&api, &id, Steering::Cancel).await;
    }
    let (manager, id) = managed(&api, id).await?;
    let decided = async {
        let Ok(mut status) = manager.watch(&id) else {
            return manager.cancel(&id).await;
        };
        let is_aborted =
            |status: &OperationStatus| status.record.phase().decision() == Decision::Abort;
        tokio::select! {
            biased;
            done = manager.cancel(&id) => done,
            Ok(_) = status.wait_for(is_aborted) => Ok(()),
        }
    };
    within(&api, decided, problem).await?;
    show(&api, &manager, &id, StatusCode::OK).await
}

async fn reverse(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = named(&id)?;
    if moves::has(&api, &id) {
        return moves::steer(&api, &id, Steering::Reverse).await;
    }
    let (manager, id) = managed(&api, id).await?;
    let begun = within(&api, manager.reverse(&id), problem).await?;
    show(&api, &manager, &begun, StatusCode::ACCEPTED).await
}
