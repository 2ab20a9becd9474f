//! Where a node answers what coordinators and other nodes ask for operations.

use std::sync::Arc;

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
    flights::Flights,
    local::Local,
    placements::Placements,
    wire::{self, Refusal, Request},
};
use crate::node::Copies;

/// The path.
pub(super) const PATH: &str = "/shardwright/elastic";

/// How many bytes a request may have: a batch of records.
const BODY_MAX: usize = 64 << 20;

/// Returns the route of a node.
pub(crate) fn router(copies: Copies, members: Members) -> Router {
    let local = Local {
        copies,
        members,
        placements: Placements::default(),
        cuts: Arc::default(),
        flights: Flights::default(),
    };
    Router::new()
        .route(PATH, post(answer).layer(DefaultBodyLimit::max(BODY_MAX)))
        .with_state(local)
}

async fn answer(State(local): State<Local>, body: Bytes) -> Response {
    let Some(request) = wire::decode::<Request>(&body) else {
        let why = "this is not a request that this release understands\n";
        return (StatusCode::BAD_REQUEST, why).into_response();
    };
    // Whoever has gone by then gets no answer, and the request is carried out all the same.
    let answered = tokio::spawn(async move { local.answer(request).await }).await;
    let answer = answered.unwrap_or_else(|_| Err(Refusal::Later("it panicked".to_owned())));
    wire::encode(&answer).into_response()
}
