//! The answering side: a route for axum, and a server for who has none.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Request as HttpRequest, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::Response as HttpResponse,
    routing::post,
};
use bytes::Bytes;
use shardwright_topology::{Epoch, ShardId};

use super::{ANSWER, BindError, CALL, OK, PATH, PAYLOAD_MAX, REFUSED, Server, Token};
use crate::{Refusal, Router, clock::Deadline, transport::Request};

/// How many connections are open at once: some from each of a thousand nodes.
const CONNECTIONS_MAX: usize = 8_192;

/// How requests are answered.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// What callers must show. Nothing by default: then a [`Server`] listens on loopback only.
    pub token: Option<Token>,
    /// The largest payload and the largest answer, in bytes. 8 MiB by default.
    pub payload_max: usize,
    /// How many connections a [`Server`] has open at once; more wait. 8,192 by default. A caller has one for each call that it waits
    /// for, and keeps it for some seconds after: leave room for all nodes of the cluster.
    pub connections_max: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            token: None,
            payload_max: PAYLOAD_MAX,
            connections_max: CONNECTIONS_MAX,
        }
    }
}

/// Returns the route by which other nodes call `router`, to be merged into an axum router.
///
/// Where it is served without a token, whoever reaches it may call: [`listen`] sees to that, and another server has to.
pub fn routes(router: Router, options: ServerOptions) -> axum::Router {
    let state = Arc::new(Answers { router, options });
    axum::Router::new()
        .route(PATH, post(answer))
        .with_state(state)
}

/// Serves an app that has these routes, at `address`, port 0 for any, with the token and the connections of `options`.
///
/// # Errors
/// [`BindError`] when the system does not let it listen there, or other machines reach the address and `options` have no token.
pub async fn listen(
    address: &str,
    app: axum::Router,
    options: &ServerOptions,
) -> Result<Server, BindError> {
    Server::bind(
        address,
        options.token.as_ref(),
        app,
        options.connections_max,
    )
    .await
}

#[derive(Debug)]
struct Answers {
    router: Router,
    options: ServerOptions,
}

async fn answer(State(answers): State<Arc<Answers>>, request: HttpRequest) -> HttpResponse {
    match answers.answer(request).await {
        Ok(answer) => respond(StatusCode::OK, OK, "application/octet-stream", answer),
        Err(refusal) => {
            let status = status_of(&refusal);
            // Plain data always has a JSON form.
            let body = serde_json::to_vec(&refusal).unwrap_or_default();
            respond(status, REFUSED, "application/json", body.into())
        }
    }
}

impl Answers {
    async fn answer(&self, request: HttpRequest) -> Result<Bytes, Refusal> {
        let (head, body) = request.into_parts();
        if let Some(token) = &self.options.token
            && !token.is_in(&head.headers)
        {
            return Err(Refusal::NotAuthorized);
        }
        let limit = self.options.payload_max;
        let announced = head.headers.get(CONTENT_LENGTH).and_then(number);
        if announced.is_some_and(|size| usize::try_from(size).map_or(true, |size| size > limit)) {
            return Err(Refusal::PayloadTooLarge { limit });
        }
        let mut request = read(&head.headers)?;
        // The caller's time runs while the payload is on its way.
        let deadline = Deadline::after(request.timeout);
        let payload = deadline.limit(payload(body, limit)).await;
        request.payload = payload.unwrap_or(Err(Refusal::DeadlinePassed { began: false }))?;
        let answer = self.router.answer_by(request, deadline).await?;
        match answer.len() {
            size if size > limit => Err(Refusal::AnswerTooLarge { size, limit }),
            _ => Ok(answer),
        }
    }
}

async fn payload(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    to_bytes(body, limit).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
            return Refusal::PayloadTooLarge { limit };
        }
        let what = error.to_string();
        Refusal::Malformed { what }
    })
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

/// Reads the headers of a request.
fn read(headers: &HeaderMap) -> Result<Request, Refusal> {
    let call = headers.get(CALL).and_then(|value| value.to_str().ok());
    call.and_then(parse).ok_or_else(|| Refusal::Malformed {
        what: format!("the header {CALL}"),
    })
}

/// Reads the epoch, the time left, the shard and the method.
fn parse(call: &str) -> Option<Request> {
    let mut parts = call.splitn(4, ' ');
    let mut next = || parts.next();
    Some(Request {
        epoch: Epoch(next()?.parse().ok()?),
        timeout: Duration::from_micros(next()?.parse().ok()?),
        shard: ShardId::new(next()?).ok()?,
        method: next()?.into(),
        payload: Bytes::new(),
    })
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::StaleEpoch { .. } | Refusal::NotPrimary { .. } => StatusCode::CONFLICT,
        Refusal::Behind { .. }
        | Refusal::CutOver { .. }
        | Refusal::NotServing { .. }
        | Refusal::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::UnknownShard | Refusal::UnknownMethod => StatusCode::NOT_FOUND,
        Refusal::HandlerFailed { .. } | Refusal::AnswerTooLarge { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        Refusal::DeadlinePassed { .. } => StatusCode::GATEWAY_TIMEOUT,
        Refusal::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::NotAuthorized => StatusCode::UNAUTHORIZED,
        Refusal::Malformed { .. } => StatusCode::BAD_REQUEST,
    }
}

fn respond(
    status: StatusCode,
    answer: HeaderValue,
    kind: &'static str,
    body: Bytes,
) -> HttpResponse {
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ANSWER, answer);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
