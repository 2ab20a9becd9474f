//! Requests of the admin API that reach a node: a coordinator answers them.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::json;
use shardwright_registry::Addresses;
use shardwright_server::http::{
    Token, client, is_foreign, relayed_answer, relayed_headers, reqwest,
};

/// How long a coordinator may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a coordinator may take for an answer to begin: it gives up a command itself before that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(310);

/// The largest body, as coordinators take it.
const BODY_MAX: usize = 16 << 20;

/// Where the coordinators are.
#[derive(Clone, Debug)]
pub(crate) struct Coordinators {
    /// Those that were named.
    pub(crate) named: Vec<String>,
    /// Who knows the others, if none was named.
    pub(crate) registry: Addresses,
}

impl Coordinators {
    async fn addresses(&self) -> Vec<String> {
        if self.named.is_empty() {
            self.registry.list().await.unwrap_or_default()
        } else {
            self.named.clone()
        }
    }
}

#[derive(Debug)]
struct Passing {
    coordinators: Coordinators,
    client: reqwest::Client,
    has_token: bool,
}

/// The routes below `/api/v1`, which pass everything on. Coordinators look at the token.
///
/// # Errors
/// When no client can be made.
pub(crate) fn routes(coordinators: Coordinators, token: Option<&Token>) -> anyhow::Result<Router> {
    let passing = Passing {
        coordinators,
        client: client(CONNECT_TIMEOUT)?,
        has_token: token.is_some(),
    };
    Ok(Router::new()
        .route(
            "/api/v1/{*rest}",
            any(pass_on).layer(DefaultBodyLimit::max(BODY_MAX)),
        )
        .with_state(Arc::new(passing)))
}

async fn pass_on(State(passing): State<Arc<Passing>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !passing.has_token && is_foreign(&parts.method, &parts.headers) {
        let message = "the request comes from a web page of another origin";
        return problem(StatusCode::FORBIDDEN, "FOREIGN_ORIGIN", message, false);
    }
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        let message = "the body is too large, or did not arrive";
        let code = "PAYLOAD_TOO_LARGE";
        return problem(StatusCode::PAYLOAD_TOO_LARGE, code, message, false);
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    for address in passing.coordinators.addresses().await {
        let url = format!("{}{path}", address.trim_end_matches('/'));
        match passing.ask(&parts.method, url, &parts.headers, &body).await {
            Ok(answer) => return answer,
            // It did nothing: the next one may.
            Err(error)
                if parts.method.is_safe()
                    || error.as_ref().is_some_and(reqwest::Error::is_connect) => {}
            Err(_) => {
                let message = "no coordinator answered: what was asked may have happened";
                let status = StatusCode::GATEWAY_TIMEOUT;
                return problem(status, "INDETERMINATE", message, false);
            }
        }
    }
    let message = "no coordinator can be reached";
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "NO_COORDINATOR",
        message,
        true,
    )
}

impl Passing {
    async fn ask(
        &self,
        method: &Method,
        url: String,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response, Option<reqwest::Error>> {
        let sending = self.client.request(method.clone(), url);
        let sending = sending.headers(relayed_headers(headers));
        let sent = sending.body(body.clone()).send();
        let sent = tokio::time::timeout(ANSWER_TIMEOUT, sent).await;
        let answer = sent.map_err(|_elapsed| None)?.map_err(Some)?;
        Ok(relayed_answer(answer))
    }
}

/// An error in the form of the admin API.
fn problem(
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    retryable: bool,
) -> Response {
    let error = json!({ "code": code, "message": message, "hint": null, "retryable": retryable });
    (status, axum::Json(json!({ "error": error }))).into_response()
}
