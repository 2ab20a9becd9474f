//! Requests that only the leader answers, passed on to it: once, never further, never by a redirect.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{HeaderName, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};
use shardwright_http::{relayed_answer, relayed_headers};

use super::{Api, Problem, Settings, body::read};
use crate::{client::CONNECT_MAX, core::View};

/// Marks a request that a coordinator has passed on, and names it: it is not passed on again.
pub const FORWARDED: HeaderName = HeaderName::from_static("x-shardwright-forwarded");

/// What a query has in it that is for the leader.
const LEADER_ASKED: &str = "leader=true";

/// Who answers.
enum Answerer {
    Here,
    At(String),
}

/// Answers here if this coordinator leads, and lets the leader answer otherwise.
pub(super) async fn to_leader(State(api): State<Api>, request: Request, next: Next) -> Response {
    let passed_on = request.headers().contains_key(FORWARDED);
    match answerer(&api, passed_on).await {
        Ok(Answerer::Here) => next.run(request).await,
        Ok(Answerer::At(address)) => pass_on(&api, &address, request)
            .await
            .unwrap_or_else(IntoResponse::into_response),
        Err(problem) => problem.into_response(),
    }
}

/// Does as [`to_leader`], and answers here while nobody leads: for what any coordinator may do.
pub(super) async fn to_leader_or_here(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Response {
    let view = api.handle.view();
    let other = view
        .leader
        .as_ref()
        .filter(|leader| *leader != api.handle.id());
    if view.is_leading || other.is_none() || request.headers().contains_key(FORWARDED) {
        next.run(request).await
    } else {
        to_leader(State(api), request, next).await
    }
}

/// Does as [`to_leader`] if the request asks for what the leader knows, with `leader=true`, and answers here otherwise.
pub(super) async fn to_leader_if_asked(
    state: State<Api>,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if query.split('&').any(|part| part == LEADER_ASKED) {
        to_leader(state, request, next).await
    } else {
        next.run(request).await
    }
}

async fn answerer(api: &Api, passed_on: bool) -> Result<Answerer, Problem> {
    let own = api.handle.id();
    let is_settled = |view: &View| {
        view.is_leading || (!passed_on && view.leader.as_ref().is_some_and(|leader| leader != own))
    };
    let wait = api.settings.leader_wait;
    let view = tokio::time::timeout(wait, api.handle.view_when(is_settled)).await;
    let Ok(Some(view)) = view else {
        return Err(no_leader());
    };
    match &view.leader {
        Some(leader) if !view.is_leading => {
            let address = api.peers.address(leader, view.term).await;
            let address = address.map_err(|error| {
                Problem::unavailable("REGISTRY", format!("the registry does not answer: {error}"))
            })?;
            address.map(Answerer::At).ok_or_else(no_leader)
        }
        _ => Ok(Answerer::Here),
    }
}

fn no_leader() -> Problem {
    Problem::unavailable("NO_LEADER", "no coordinator leads, or it cannot be found")
        .hint("ask again: a leader is elected within the heartbeat time-out")
}

async fn pass_on(api: &Api, address: &str, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read(api, body).await?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path}", address.trim_end_matches('/'));
    let mut headers = relayed_headers(&parts.headers);
    let own = api.handle.id().as_str().parse();
    headers.insert(FORWARDED, own.expect("a name fits in a header"));
    let sent = api
        .client
        .request(parts.method.clone(), url)
        .headers(headers)
        .body(body)
        .send();
    let answer = match tokio::time::timeout(patience(&api.settings), sent).await {
        Ok(sent) => sent.map_err(|error| unreachable(&parts.method, Some(&error)))?,
        Err(_) => return Err(unreachable(&parts.method, None)),
    };
    Ok(relayed_answer(answer))
}

/// For how long the leader is waited for. It gives everything up by itself before that, unless it is frozen.
fn patience(settings: &Settings) -> Duration {
    CONNECT_MAX + settings.leader_wait + settings.command_timeout
}

/// A request that never reached the leader did nothing; one whose answer was lost may have done it.
fn unreachable(method: &Method, error: Option<&reqwest::Error>) -> Problem {
    if error.is_some_and(reqwest::Error::is_connect) || method.is_safe() {
        return Problem::unavailable("LEADER_UNREACHABLE", "the leader cannot be reached").hint(
            "ask again: if it is gone, another one is elected within the heartbeat time-out",
        );
    }
    Problem::indeterminate("the leader did not answer: what was asked may have happened")
}
