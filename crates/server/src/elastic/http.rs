//! Where a node answers what coordinators and other nodes ask for operations.

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_http::axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};

use super::{
    Members,
    local::Local,
    wire::{self, Answer, Refusal},
};
use crate::node::Copies;

/// The path.
pub(super) const PATH: &str = "/shardwright/elastic";

/// The path at which a node is asked about many shards at once.
pub(super) const METRICS_PATH: &str = "/shardwright/elastic/metrics";

/// How many bytes a request may have: a batch of records.
const BODY_MAX: usize = 64 << 20;

/// Returns the route of a node.
pub(crate) fn router(copies: Copies, members: Members) -> Router {
    let local = Local::new(copies, members);
    Router::new()
        .route(PATH, post(answer).layer(DefaultBodyLimit::max(BODY_MAX)))
        .route(METRICS_PATH, post(metrics))
        .with_state(local)
}

async fn answer(State(local): State<Local<Copies>>, body: Bytes) -> Response {
    // Whoever has gone by then gets no answer, and the request is carried out all the same.
    let answered = tokio::spawn(async move { local.answer(&body).await }).await;
    let panicked = || {
        Some(wire::encode(&Answer::Err(Refusal::Later(
            "it panicked".into(),
        ))))
    };
    match answered.unwrap_or_else(|_| panicked()) {
        Some(answer) => answer.into_response(),
        None => {
            let why = "this is not a request that this release understands\n";
            (StatusCode::BAD_REQUEST, why).into_response()
        }
    }
}

async fn metrics(State(local): State<Local<Copies>>, body: Bytes) -> Response {
    let Some(shards) = wire::decode::<Vec<PartitionId>>(&body) else {
        let why = "this is not a list of shards that this release understands\n";
        return (StatusCode::BAD_REQUEST, why).into_response();
    };
    wire::encode(&local.metrics_of(shards).await).into_response()
}
