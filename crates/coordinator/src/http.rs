//! The coordinator over HTTP: the admin API, health, metrics, the workers' registrations, and CollegeDB's endpoints.
//!
//! Any coordinator takes any request. What only the leader can answer is passed on to it, once, and answered as it answers. A
//! request that is passed on is never passed on again, so there are no loops.
//!
//! Without a token the server takes only requests to this machine by its own name or number, and none that a foreign web page
//! makes a browser send; [`bind`] refuses every address but loopback. With one, everything but `/livez` needs it.

mod admin;
mod balance;
mod body;
mod collegedb;
mod events;
mod forward;
mod guard;
mod health;
mod metrics;
mod operations;
mod peers;
mod problem;
mod query;
mod serve;
mod workers;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use shardwright_http::CONNECTIONS_MAX;
use shardwright_registry::{Error, Store};
use tokio::sync::{Semaphore, watch};

pub use self::{
    forward::FORWARDED,
    metrics::{AlreadyInstalled, Metrics},
    problem::Problem,
    serve::serve,
};
use self::{
    forward::{to_leader, to_leader_if_asked, to_leader_or_here},
    peers::Peers,
};
use crate::{client, directory::Directory, handle::Handle, protocol};
/// Where the interface listens, and what callers must present.
pub use shardwright_http::{BindError, InvalidToken, TOKEN_MAX, TOKEN_MIN, Token, bind};

/// The header of lists that says up to which revision of the registry they hold.
pub const REVISION: &str = "x-shardwright-revision";

/// The port of a coordinator, unless told otherwise.
pub const DEFAULT_PORT: u16 = 7557;

/// How a coordinator serves HTTP.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What callers must present; `None` is for loopback only.
    pub token: Option<Token>,
    /// The metrics to show; `None` shows none.
    pub metrics: Option<Metrics>,
    /// Whether CollegeDB's `/flush` is there, which forgets everything. False, except for development.
    pub allow_flush: bool,
    /// The largest body, in bytes. 16 MiB: enough for 100,000 partitions in one request.
    pub body_max: usize,
    /// How many requests are handled at once; more are refused and may be repeated. 512.
    pub requests_max: usize,
    /// How many event streams are open at once. 64.
    pub streams_max: usize,
    /// How many connections are open at once; more wait. 1,024.
    pub connections_max: usize,
    /// How long a request may take, other than a command or an event stream. Any request's body has three quarters of that to
    /// arrive. 30 s.
    pub request_timeout: Duration,
    /// How long a command may take before its caller hears that it may happen yet. 5 minutes.
    pub command_timeout: Duration,
    /// How long a request waits for a leader to be known. 2 s.
    pub leader_wait: Duration,
    /// How often an event stream without events shows that it lives. 15 s.
    pub keep_alive: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            token: None,
            metrics: None,
            allow_flush: false,
            body_max: 16 << 20,
            requests_max: 512,
            streams_max: 64,
            connections_max: CONNECTIONS_MAX,
            request_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_secs(300),
            leader_wait: Duration::from_secs(2),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// A coordinator's HTTP interface. A clone is the same one.
#[derive(Debug, Clone)]
pub struct Api(Arc<Inner>);

/// What all requests share.
#[derive(Debug)]
pub struct Inner {
    handle: Handle,
    directory: Directory,
    peers: Peers,
    client: reqwest::Client,
    settings: Settings,
    places: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl std::ops::Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Api {
    /// Returns the interface of a running coordinator whose registry is `store`.
    #[must_use]
    pub fn new(handle: Handle, store: Arc<dyn Store>, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            handle,
            directory: Directory::new(store.clone()),
            peers: Peers::new(store),
            client: client::client(),
            places: Arc::new(Semaphore::new(settings.requests_max)),
            streams: Arc::new(Semaphore::new(settings.streams_max)),
            settings,
            stop: watch::Sender::new(false),
        }))
    }

    /// Says in the registry where other coordinators reach this one, for example `http://10.0.0.7:7557`. Until then it is
    /// passed no requests.
    ///
    /// # Errors
    /// [`Error::Store`] if the registry cannot be written.
    pub async fn announce(&self, address: &str) -> Result<(), Error> {
        self.peers.announce(self.handle.id(), address).await
    }

    /// Ends the event streams, so that a server that shuts down need not wait for them.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns all routes, for a server of the caller's own. [`serve()`] is the usual one.
    pub fn router(&self) -> Router {
        let api = self.clone();
        let timed = |api: &Self| middleware::from_fn_with_state(api.clone(), limit_time);
        let leader = middleware::from_fn_with_state(api.clone(), to_leader);
        let if_asked = middleware::from_fn_with_state(api.clone(), to_leader_if_asked);
        let any = middleware::from_fn_with_state(api.clone(), to_leader_or_here);

        let here = Router::new()
            .route("/livez", get(health::livez))
            .route("/healthz", get(health::livez))
            .route("/readyz", get(health::readyz))
            .route("/metrics", get(health::metrics))
            .route("/version", get(health::version))
            // One change of one record, which any coordinator makes, also while nobody leads.
            .route(protocol::REGISTER_PATH, post(workers::register))
            .merge(admin::mirrored().layer(if_asked))
            .layer(timed(&api));
        let led = Router::new()
            .route(protocol::LEAVE_PATH, post(workers::leave))
            .merge(admin::of_leader())
            .merge(balance::of_leader())
            .merge(operations::of_leader())
            .layer(leader.clone())
            .layer(timed(&api));
        let untimed = admin::commands()
            .merge(balance::commands())
            .merge(operations::commands())
            .route("/api/v1/events", get(events::events))
            .layer(leader);
        let documented = collegedb::routes(api.settings.allow_flush)
            .layer(any)
            .layer(timed(&api));
        here.merge(led)
            .merge(untimed)
            .merge(documented)
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(not_found)
            .layer(middleware::from_fn_with_state(api.clone(), guard::guard))
            .with_state(api)
    }

    /// Waits until the server stops.
    async fn stopping(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as `self`, which is borrowed.
        let _stopped = stop.wait_for(|stop| *stop).await;
    }
}

async fn limit_time(State(api): State<Api>, request: Request, next: Next) -> Response {
    let is_safe = request.method().is_safe();
    let answer = tokio::time::timeout(api.settings.request_timeout, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let message = "the request took too long";
        if is_safe {
            Problem::unavailable("TIMEOUT", message).into_response()
        } else {
            Problem::indeterminate(message).into_response()
        }
    })
}

async fn not_found(request: Request) -> Problem {
    let path = request.uri().path();
    let message = format!("there is nothing at {path}");
    let problem = Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", message);
    let other_version = path
        .strip_prefix("/api/")
        .is_some_and(|rest| rest != "v1" && !rest.starts_with("v1/"));
    if other_version {
        problem.hint("this server speaks version 1: /api/v1")
    } else {
        problem
    }
}

async fn method_not_allowed(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{path} takes no {method}");
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        message,
    )
    .hint("the header `Allow` names the methods that it takes")
}
