//! Splits and merges of shards: begun, shown, held up and taken back by the leader.

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
use shardwright_topology::{Decision, OperationId, ShardId};

use self::{
    problem::{problem, unknown},
    requests::Begin,
    shapes::{OperationShape, StatisticsShape},
};
use super::{
    Api, Problem, REVISION, admin::list, body::JsonBody, metrics::count_request, query::Asked,
};

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

async fn manager(api: &Api) -> Result<ElasticShardManager, Problem> {
    let manager = api.handle.operations();
    Ok(manager.manager(api.settings.leader_wait).await?)
}

/// Waits for what a command does, and no longer than a command may take.
async fn within<T>(
    api: &Api,
    command: impl Future<Output = Result<T, Error>>,
) -> Result<T, Problem> {
    let limit = api.settings.command_timeout;
    let done = tokio::time::timeout(limit, command).await.map_err(|_| {
        Problem::indeterminate("the command takes long and may go on")
            .hint("list the operations to see what became of it")
    })?;
    done.map_err(problem)
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
    let revision = api.handle.view().revision.0.to_string();
    let header = [(HeaderName::from_static(REVISION), revision)];
    Ok((status, header, Json(OperationShape::of(&found))).into_response())
}

async fn operations(
    State(api): State<Api>,
    Asked(Nothing { .. }): Asked<Nothing>,
) -> Result<Response, Problem> {
    let manager = manager(&api).await?;
    let all = manager.operations().await.map_err(problem)?;
    let shapes: Vec<_> = all.iter().map(OperationShape::of).collect();
    Ok(list(&api.handle.view(), &shapes))
}

async fn operation(
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(Nothing { .. }): Asked<Nothing>,
) -> Result<Response, Problem> {
    let (manager, id) = (manager(&api).await?, named(&id)?);
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
    let manager = manager(&api).await?;
    let (shard, method) = (request.shards[0].clone(), request.method());
    let answer = if request.dry_run {
        let planned = within(&api, request.plan(&manager)).await;
        planned.map(|work| list(&api.handle.view(), &OperationShape::planned(&work)))
    } else {
        match within(&api, request.begin(&manager)).await {
            Ok(id) => show(&api, &manager, &id, StatusCode::ACCEPTED).await,
            Err(problem) => Err(problem),
        }
    };
    let outcome = answer
        .as_ref()
        .map_or_else(|problem| problem.code, |_| "ok");
    count_request(shard.as_str(), method, outcome);
    answer
}

async fn pause(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (manager, id) = (manager(&api).await?, named(&id)?);
    within(&api, manager.pause(&id)).await?;
    show(&api, &manager, &id, StatusCode::OK).await
}

async fn resume(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (manager, id) = (manager(&api).await?, named(&id)?);
    within(&api, manager.resume(&id)).await?;
    show(&api, &manager, &id, StatusCode::OK).await
}

/// Answers once it is decided that the operation has no effect: what is left of it may take longer to go, if a node is away.
async fn cancel(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (manager, id) = (manager(&api).await?, named(&id)?);
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
    within(&api, decided).await?;
    show(&api, &manager, &id, StatusCode::OK).await
}

async fn reverse(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (manager, id) = (manager(&api).await?, named(&id)?);
    let begun = within(&api, manager.reverse(&id)).await?;
    show(&api, &manager, &begun, StatusCode::ACCEPTED).await
}
