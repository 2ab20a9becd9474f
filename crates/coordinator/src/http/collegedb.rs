//! CollegeDB's coordinator endpoints. Their errors are `{"error": "..."}`, with what ours say beside it.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use shardwright_topology::ShardId;

use super::{Api, Problem, body::JsonBody, metrics::count_request};
use crate::{
    clock::wall_ms,
    directory::{Allocate, Counted, Error},
};

pub(super) fn routes(allow_flush: bool) -> Router<Api> {
    let routes = Router::new()
        .route("/shards", get(shards).post(add_shard).delete(remove_shard))
        .route("/stats", get(stats).post(count))
        .route("/allocate", post(allocate))
        .route("/sequence", post(sequence))
        .route("/health", get(health));
    if allow_flush {
        routes.route("/flush", post(flush))
    } else {
        routes
    }
}

/// An error in CollegeDB's form.
#[derive(Debug)]
struct Refused(StatusCode, &'static str, String, bool);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NoShards | Error::NoKey | Error::NoName => StatusCode::BAD_REQUEST,
            Error::UnknownShard { .. } => StatusCode::NOT_FOUND,
            Error::TooManyShards | Error::SequenceEnds => StatusCode::CONFLICT,
            Error::Full => StatusCode::INSUFFICIENT_STORAGE,
            Error::Contended | Error::Registry(_) if error.is_retryable() => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Error::Contended | Error::Registry(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let message = error.to_string();
        Self(status, error.code(), message, error.is_retryable())
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let Problem {
            status,
            code,
            message,
            is_retryable,
            ..
        } = problem;
        Self(status, code, message, is_retryable)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, code, message, retryable) = self;
        let body = json!({"error": message, "code": code, "retryable": retryable});
        (status, Json(body)).into_response()
    }
}

type Body<T> = Result<JsonBody<T>, Problem>;

fn done() -> Response {
    Json(json!({"success": true})).into_response()
}

async fn shards(State(api): State<Api>) -> Result<Response, Refused> {
    Ok(Json(api.directory.shards().await?).into_response())
}

#[derive(Debug, Deserialize)]
struct NamedShard {
    shard: ShardId,
}

async fn add_shard(State(api): State<Api>, body: Body<NamedShard>) -> Result<Response, Refused> {
    let JsonBody(NamedShard { shard }) = body?;
    api.directory.add_shard(&shard, wall_ms()).await?;
    Ok(done())
}

async fn remove_shard(State(api): State<Api>, body: Body<NamedShard>) -> Result<Response, Refused> {
    let JsonBody(NamedShard { shard }) = body?;
    api.directory.remove_shard(&shard).await?;
    Ok(done())
}

async fn stats(State(api): State<Api>) -> Result<Response, Refused> {
    Ok(Json(api.directory.stats().await?).into_response())
}

#[derive(Debug, Deserialize)]
struct Count {
    shard: ShardId,
    /// How many keys it has.
    count: Option<u64>,
    /// Or how many more, or fewer, it has than before.
    change: Option<i64>,
}

async fn count(State(api): State<Api>, body: Body<Count>) -> Result<Response, Refused> {
    let JsonBody(request) = body?;
    let counted = match (request.count, request.change) {
        (Some(count), None) => Counted::To(count),
        (None, Some(change)) => Counted::By(change),
        _ => return Err(Problem::bad_request("give either count or change").into()),
    };
    api.directory
        .count(&request.shard, counted, wall_ms())
        .await?;
    Ok(done())
}

async fn allocate(State(api): State<Api>, body: Body<Allocate>) -> Result<Response, Refused> {
    let JsonBody(request) = body?;
    let allocation = api.directory.allocate(&request, wall_ms()).await?;
    count_request(allocation.shard.as_str(), "allocate", "ok");
    Ok(Json(allocation).into_response())
}

#[derive(Debug, Deserialize)]
struct Next {
    name: String,
    #[serde(default)]
    min: u64,
}

async fn sequence(State(api): State<Api>, body: Body<Next>) -> Result<Response, Refused> {
    let JsonBody(request) = body?;
    let value = api.directory.next(&request.name, request.min).await?;
    Ok(Json(json!({"value": value})).into_response())
}

async fn health() -> &'static str {
    "OK"
}

async fn flush(State(api): State<Api>) -> Result<Response, Refused> {
    api.directory.flush().await?;
    Ok(done())
}
