//! The server for clients: events from outside of the cluster.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use super::{
    KEY_TAKEN, ServerOptions,
    guard::{checked, event, guarded, in_time},
    problem::Problem,
};
use crate::{Coordinator, CopyError, Error, Keys, PeerClient, Storage};

/// Returns the route by which clients put events, `POST /`, to be nested in or merged into an axum router.
pub fn client_routes<S: Storage, C: PeerClient>(
    coordinator: Coordinator<S, C>,
    options: &ServerOptions,
) -> Router {
    let clients = Arc::new(Clients {
        coordinator,
        keys: Keys::new(),
        options: options.clone(),
    });
    let routes = Router::new().route("/", post(put::<S, C>));
    guarded(routes.with_state(clients), options)
}

struct Clients<S: Storage, C: PeerClient> {
    coordinator: Coordinator<S, C>,
    keys: Keys,
    options: ServerOptions,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    level: Option<String>,
    key: Option<String>,
}

async fn put<S: Storage, C: PeerClient>(
    State(clients): State<Arc<Clients<S, C>>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(parameters) = parameters.map_err(|error| {
        Problem::bad_request(error.body_text(), "the query takes `level` and `key`")
    })?;
    let level = parameters.level.map(|level| level.parse()).transpose();
    let level = level.map_err(|error: crate::UnknownLevel| {
        Problem::bad_request(error.to_string(), "use ONE, QUORUM or ALL")
    })?;
    let key = match parameters.key {
        Some(key) => checked(key)?,
        None => clients.keys.generate(),
    };
    let event = event(request, &clients.options).await?;
    serde_json::from_slice::<IgnoredAny>(&event).map_err(|error| {
        let message = format!("the event is no JSON: {error}");
        Problem::bad_request(message, "send the event as JSON")
    })?;
    let level = level.unwrap_or_else(|| clients.coordinator.settings().commit_level);
    let put = clients.coordinator.put_at(&*key, event, level);
    let put = in_time(put, &key, &clients.options).await?;
    let receipt = put.map_err(|error| problem(&error, &key))?;
    let body = Json(json!({"key": key, "copies": receipt.copies}));
    Ok((StatusCode::CREATED, body).into_response())
}

fn problem(error: &Error, key: &str) -> Problem {
    let failed =
        |code, status, hint| Problem::new(status, code, error.to_string(), hint).of_key(key);
    let again = "repeat it with the same key";
    match error {
        Error::NotEnoughPeers { .. } => Problem::unavailable("NOT_ENOUGH_PEERS", error.to_string()),
        Error::Overloaded => Problem::unavailable("OVERLOADED", error.to_string()),
        Error::NotReached { failures, .. } => {
            let taken = |failure: &crate::CopyFailure| matches!(failure.error, CopyError::KeyTaken);
            if failures.iter().any(taken) {
                let message = "the key has another event";
                return Problem::new(StatusCode::CONFLICT, KEY_TAKEN, message, "use another key")
                    .of_key(key);
            }
            failed("NOT_REACHED", StatusCode::INTERNAL_SERVER_ERROR, again)
        }
        Error::Interrupted => failed("INDETERMINATE", StatusCode::GATEWAY_TIMEOUT, again),
    }
}
