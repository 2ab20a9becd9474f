//! What workers say to a coordinator: that they are there, and that they leave.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{Api, Problem, body::JsonBody};
use crate::protocol::{self, Leave, Register};

/// `POST /shardz/v1/register`.
pub(super) async fn register(
    State(api): State<Api>,
    JsonBody(register): JsonBody<Register>,
) -> Result<Response, Problem> {
    check_version(register.version)?;
    let address = &register.address;
    if !(address.starts_with("http://") || address.starts_with("https://")) {
        let message = format!("{address:?} is no address of a worker");
        return Err(Problem::bad_request(message).hint("use one such as http://10.0.0.7:9090"));
    }
    let registered = api.handle.register(register).await?;
    Ok(Json(registered).into_response())
}

/// `POST /shardz/v1/leave`.
pub(super) async fn leave(
    State(api): State<Api>,
    JsonBody(leave): JsonBody<Leave>,
) -> Result<Response, Problem> {
    check_version(leave.version)?;
    api.handle.leave(leave).await?;
    Ok(Json(json!({})).into_response())
}

fn check_version(version: u32) -> Result<(), Problem> {
    let known = protocol::VERSION;
    if version == known {
        return Ok(());
    }
    let message = format!("version {version} of the protocol is not known, {known} is");
    Err(
        Problem::new(StatusCode::BAD_REQUEST, "UNSUPPORTED_VERSION", message)
            .hint("run worker and coordinator of one release"),
    )
}
