//! The answering side: a route for axum, and a server for who has none.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Request as HttpRequest, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::Response as HttpResponse,
    routing::post,
    serve::ListenerExt,
};
use bytes::Bytes;
use shardwright_topology::{Epoch, ShardId};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{ANSWER, CALL, OK, PATH, PAYLOAD_MAX, REFUSED, Token};
use crate::{Refusal, Router, transport::Request};

/// How requests are answered.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// What callers must show. Nothing by default, which is for loopback only.
    pub token: Option<Token>,
    /// The largest payload and the largest answer, in bytes. 8 MiB by default.
    pub payload_max: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            token: None,
            payload_max: PAYLOAD_MAX,
        }
    }
}

/// Returns the route by which other nodes call `router`, to be merged into an axum router.
pub fn routes(router: Router, options: ServerOptions) -> axum::Router {
    let state = Arc::new(Answers { router, options });
    axum::Router::new()
        .route(PATH, post(answer))
        .with_state(state)
}

/// A server of these routes alone.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens at `address`, port 0 for any, and answers until it is dropped.
    ///
    /// # Errors
    /// When the system does not let it listen there.
    pub async fn bind(address: SocketAddr, app: axum::Router) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let listener = listener.tap_io(|connection| {
            // Without it a small answer may wait for an acknowledgement; the system may refuse, and that is only slower.
            let _ = connection.set_nodelay(true);
        });
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let serve = axum::serve(listener, app);
            let serve = serve.with_graceful_shutdown(async move {
                // A server that is dropped drops the sender: that stops it too, connections included.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            });
            if let Err(error) = serve.await {
                tracing::error!(%error, "the server of calls ended");
            }
        });
        Ok(Self {
            address,
            stop,
            task,
        })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address as other nodes need it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening, and waits until the requests that are inside have been answered.
    pub async fn shut_down(mut self) {
        self.stop.send_replace(true);
        // A panic of the task was reported by the runtime.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
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
            && !token.is_shown(&head.headers)
        {
            return Err(Refusal::NotAuthorized);
        }
        let limit = self.options.payload_max;
        let announced = head.headers.get(CONTENT_LENGTH).and_then(number);
        if announced.is_some_and(|size| usize::try_from(size).map_or(true, |size| size > limit)) {
            return Err(Refusal::PayloadTooLarge { limit });
        }
        let request = Request {
            payload: payload(body, limit).await?,
            ..read(&head.headers)?
        };
        let answer = self.router.answer(request).await?;
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
