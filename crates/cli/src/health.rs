//! What a process with a worker in it answers about itself.

use axum::{Json, Router, http::StatusCode, routing::get};
use serde_json::json;
use shardwright_coordinator::{http::Metrics, worker::Worker};

/// The routes `/livez`, `/health`, `/readyz`, `/version` and `/metrics`; `held` says how many shards the process has.
///
/// # Errors
/// When this process counts elsewhere already.
pub(crate) fn routes(
    worker: Worker,
    held: impl Fn() -> Held + Clone + Send + Sync + 'static,
) -> anyhow::Result<Router> {
    let metrics = Metrics::install()?;
    let asked = worker.clone();
    let ready = async move || readiness(&asked, held());
    let version = Json(json!({ "name": "shardwright", "version": env!("CARGO_PKG_VERSION") }));
    let shown = async move || {
        metrics.show_worker(&worker);
        metrics.render()
    };
    Ok(Router::new()
        .route("/livez", get(async || "ok\n"))
        // Where clients of libSQL look.
        .route("/health", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/version", get(async move || version))
        .route("/metrics", get(shown)))
}

/// What a process has at a moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Held {
    /// So many partitions that it may serve.
    Serving(usize),
    /// So many copies of shards.
    Copies(usize),
}

/// A worker without a lease may serve nothing, and gets nothing.
fn readiness(worker: &Worker, held: Held) -> (StatusCode, Json<serde_json::Value>) {
    let status = if worker.holds_lease() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let id = worker.id();
    let said = match held {
        Held::Serving(serving) => json!({ "id": id, "serving": serving }),
        Held::Copies(copies) => json!({ "id": id, "copies": copies }),
    };
    (status, Json(said))
}
