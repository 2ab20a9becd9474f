//! The server for peers: copies of events that another node coordinates.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;

use super::{
    ANSWER, KEY_TAKEN, PEER_PATH, STORED, ServerOptions,
    guard::{checked, event, guarded, in_time},
    problem::Problem,
};
use crate::{KeyTaken, Storage};

/// Returns the route by which peers store events in `storage`, [`PEER_PATH`], to be merged into an axum router.
///
/// No coordinator is asked: that of the peer made the choice.
pub fn peer_routes(storage: impl Storage, options: &ServerOptions) -> Router {
    let peers = Arc::new(Peers {
        storage,
        options: options.clone(),
    });
    let routes = Router::new().route(PEER_PATH, post(put));
    guarded(routes.with_state(peers), options)
}

struct Peers<S> {
    storage: S,
    options: ServerOptions,
}

#[derive(Debug, Deserialize)]
struct Parameters {
    key: String,
}

async fn put<S: Storage>(
    State(peers): State<Arc<Peers<S>>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(Parameters { key }) = parameters
        .map_err(|error| Problem::bad_request(error.body_text(), "the query takes `key`"))?;
    let key = checked(key)?;
    let event = event(request, &peers.options).await?;
    let put = peers.storage.put(&key, event);
    match in_time(put, &key, &peers.options).await? {
        Ok(()) => {
            let stored = (ANSWER, HeaderValue::from_static(STORED));
            Ok((StatusCode::CREATED, [stored]).into_response())
        }
        Err(error) if error.is::<KeyTaken>() => {
            let message = "the key has another event";
            Err(Problem::new(
                StatusCode::CONFLICT,
                KEY_TAKEN,
                message,
                "use another key",
            ))
        }
        Err(error) => {
            tracing::warn!(%error, %key, "store the event of a peer");
            // What exactly failed is for the log of this node.
            let (message, hint) = ("the event was not stored", "see the log of the node");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err(Problem::new(status, "STORAGE_FAILED", message, hint).of_key(&key))
        }
    }
}
