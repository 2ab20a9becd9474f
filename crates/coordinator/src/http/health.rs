//! Whether the process lives, whether it is ready, what it counts, and what it is.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{Api, Problem};
use crate::protocol;

/// `GET /livez`: the process answers.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: each check with its outcome, one a line; 503 unless all are passed.
pub(super) async fn readyz(State(api): State<Api>) -> Response {
    let view = api.handle.view();
    let leader = view.leader.as_ref();
    let checks = [
        ("driver", api.handle.is_running(), "running".to_owned()),
        (
            "registry",
            view.is_complete,
            format!("seen up to {}", view.revision),
        ),
        (
            "leader",
            leader.is_some(),
            leader.map_or_else(
                || "none".to_owned(),
                |leader| format!("{leader}, term {}", view.term),
            ),
        ),
    ];
    let is_ready = checks.iter().all(|(_, passed, _)| *passed);
    let mut text = String::new();
    for (name, passed, detail) in checks {
        let mark = if passed { '+' } else { '-' };
        text.push_str(&format!("[{mark}] {name}: {detail}\n"));
    }
    let (status, verdict) = if is_ready {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    };
    (status, text + verdict).into_response()
}

/// `GET /metrics`, in the text format of Prometheus.
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let Some(metrics) = &api.settings.metrics else {
        let message = "this process collects no metrics";
        return Err(Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", message));
    };
    let view = api.handle.view();
    let shards: BTreeMap<&str, usize> = view
        .nodes
        .iter()
        .map(|node| (node.record.id.as_str(), node.shards))
        .collect();
    metrics.show_cluster(&shards, view.settled().count());
    let format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((format, metrics.render()).into_response())
}

/// `GET /version`.
pub(super) async fn version(State(api): State<Api>) -> Response {
    Json(json!({
        "name": "shardwright-coordinator",
        "version": env!("CARGO_PKG_VERSION"),
        "id": api.handle.id(),
        "api": "v1",
        "protocol": protocol::VERSION,
    }))
    .into_response()
}
