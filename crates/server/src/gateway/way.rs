//! The ways to a shard: here, or on another node over HTTP.

use std::{fmt, time::Duration};

use shardwright_http::{
    Token,
    axum::{
        Router,
        body::Bytes,
        extract::{DefaultBodyLimit, State},
        http::{StatusCode, header::AUTHORIZATION},
        response::{IntoResponse, Response},
        routing::post,
    },
    reqwest::Client,
};
use shardwright_topology::NodeId;

use super::{
    cluster::milliseconds,
    host::Host,
    wire::{Answer, Ask, Refusal, Request, Step, decode, encode},
};

/// Where a node answers what gateways ask of its copies.
const PATH: &str = "/shardwright/shards";

/// How many bytes a request may have.
const BODY_MAX: usize = 64 << 20;

/// How much longer than the node an answer is waited for.
const GRACE: Duration = Duration::from_millis(500);

/// How long the end of a session is waited for, which nobody needs to know.
const END: Duration = Duration::from_secs(1);

/// A way to a node.
#[derive(Clone)]
pub(super) enum Way {
    /// It is this one.
    Here(Host),
    /// It is another one.
    There(There),
}

/// Another node.
#[derive(Clone)]
pub(super) struct There {
    pub(super) node: NodeId,
    pub(super) url: String,
    pub(super) client: Client,
    pub(super) token: Option<Token>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nothing was sent.
    Unsent,
    /// It may have been carried out.
    Unknown,
}

impl Way {
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, Lost> {
        match self {
            Self::Here(host) => {
                let within = Duration::from_millis(request.within_ms) + GRACE;
                let answer = tokio::time::timeout(within, host.answer(request)).await;
                answer.map_err(|_| Lost::Unknown)
            }
            Self::There(there) => there.ask(&request).await,
        }
    }

    /// Lets a session end, without waiting for it.
    pub(super) fn end(&self, runtime: &tokio::runtime::Handle, mut request: Request, session: u64) {
        request.ask = Ask::Session {
            session,
            step: Step::End,
        };
        request.within_ms = milliseconds(END);
        let way = self.clone();
        // What is not heard of ends by itself soon.
        drop(runtime.spawn(async move { way.ask(request).await.is_ok() }));
    }
}

impl There {
    async fn ask(&self, request: &Request) -> Result<Answer, Lost> {
        let within = Duration::from_millis(request.within_ms) + GRACE;
        let mut sending = self.client.post(format!("{}{PATH}", self.url));
        if let Some(token) = &self.token {
            sending = sending.header(AUTHORIZATION, token.header());
        }
        let sent = sending.timeout(within).body(encode(request)).send().await;
        let response = sent.map_err(|error| match error.is_connect() {
            true => Lost::Unsent,
            false => Lost::Unknown,
        })?;
        if !response.status().is_success() {
            tracing::warn!(node = %self.node, status = %response.status(), "a node refuses what a gateway asks");
            return Err(Lost::Unsent);
        }
        let body = response.bytes().await.map_err(|_| Lost::Unknown)?;
        decode(&body).ok_or(Lost::Unknown)
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("Here"),
            Self::There(there) => write!(f, "There({})", there.node),
        }
    }
}

/// Returns the routes for the gateways of other nodes.
pub(super) fn router(host: Host) -> Router {
    Router::new()
        .route(PATH, post(answer).layer(DefaultBodyLimit::max(BODY_MAX)))
        .with_state(host)
}

async fn answer(State(host): State<Host>, body: Bytes) -> Response {
    let Some(request) = decode::<Request>(&body) else {
        let why = "this is not a request that this release understands\n";
        return (StatusCode::BAD_REQUEST, why).into_response();
    };
    if only_reads(&request.ask) {
        // Where nobody waits for the rows any more, they are not read either.
        return encode(&host.answer(request).await).into_response();
    }
    // Whoever has gone by then gets no answer, and the request is carried out all the same.
    let answered = tokio::spawn(async move { host.answer(request).await }).await;
    let answer: Answer = answered.unwrap_or(Err(Refusal::Indeterminate));
    encode(&answer).into_response()
}

fn only_reads(ask: &Ask) -> bool {
    match ask {
        Ask::Read { .. } | Ask::Size | Ask::Commits => true,
        Ask::Session { step, .. } => matches!(
            step,
            Step::Open(_) | Step::More(_) | Step::Detach | Step::Bytes(_)
        ),
        Ask::Write { .. }
        | Ask::Recall { .. }
        | Ask::Begin { .. }
        | Ask::Enlist { .. }
        | Ask::Commit(_) => false,
    }
}
