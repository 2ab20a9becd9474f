//! Statements that the keyspace's writer has to run, on their way to it.

use std::time::Duration;

use shardwright_http::{
    axum::{
        body::Body,
        http::{StatusCode, header::AUTHORIZATION},
        response::Response,
    },
    reqwest::header::CONTENT_TYPE,
};
use shardwright_topology::NodeId;

use super::{
    engine::Engine,
    request::SqlRequest,
    way::{There, Way},
};

/// The header of a request that a gateway has passed on. It is not passed on again.
pub(super) const FORWARDED: &str = "shardwright-forwarded";

/// How much longer than the node an answer is waited for.
const GRACE: Duration = Duration::from_millis(500);

/// What came of it.
pub(super) enum Passed {
    /// This is the answer.
    Answered(Response),
    /// The node is not the writer, or cannot be reached: nothing has happened.
    NotWriter,
    /// The answer was lost.
    Lost,
}

/// Passes a request on to a node.
pub(super) async fn ask(
    engine: &Engine,
    node: &NodeId,
    request: &SqlRequest,
    left: Duration,
) -> Passed {
    let Some(Way::There(There {
        url, client, token, ..
    })) = engine.cluster.way(node)
    else {
        return Passed::NotWriter;
    };
    let Ok(body) = serde_json::to_vec(request) else {
        return Passed::NotWriter;
    };
    let mut sending = client
        .post(format!("{url}/v1/sql"))
        .header(CONTENT_TYPE, "application/json")
        .header(FORWARDED, engine.cluster.router.node().as_str())
        .timeout(left + GRACE)
        .body(body);
    if let Some(token) = &token {
        sending = sending.header(AUTHORIZATION, token.header());
    }
    let answer = match sending.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Passed::NotWriter,
        Err(_) => return Passed::Lost,
    };
    let status = answer.status();
    let Ok(body) = answer.bytes().await else {
        return Passed::Lost;
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // Nothing has happened there, whatever the reason is.
        return Passed::NotWriter;
    }
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body));
    response.map_or(Passed::Lost, Passed::Answered)
}
