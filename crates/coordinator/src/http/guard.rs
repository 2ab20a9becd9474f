//! What a request passes before its handler: the token, the origin of browsers, limits, and the count of requests.

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use metrics::counter;
use shardwright_http::{Role, is_foreign};

use super::{Api, Problem};

/// The one path that needs no token.
const OPEN_PATH: &str = "/livez";

/// Refuses requests without the token, requests that a foreign web page makes a browser send, and those beyond the limits.
pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unknown", MatchedPath::as_str)
        .to_owned();
    let method = label_of(request.method());
    let response = match admit(&api, &request) {
        Err(problem) => problem.into_response(),
        Ok(()) => match api.places.clone().try_acquire_owned() {
            Err(_) => overloaded().into_response(),
            Ok(place) => {
                let response = next.run(request).await;
                drop(place);
                response
            }
        },
    };
    counter!(
        "shardwright_http_requests_total",
        "path" => path,
        "method" => method,
        "status" => response.status().as_str().to_owned()
    )
    .increment(1);
    response
}

/// The label under which requests of a method are counted. Callers may make up methods, and must not make up labels.
fn label_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

fn overloaded() -> Problem {
    Problem::unavailable("OVERLOADED", "too many requests are under way")
        .hint("ask again a little later")
}

fn admit(api: &Api, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > api.settings.body_max) {
        return Err(too_large(api.settings.body_max));
    }
    match &api.settings.token {
        Some(_) if request.uri().path() == OPEN_PATH => Ok(()),
        Some(token) => check_role(token.role_in(headers), request),
        None => check_origin(request.method(), headers),
    }
}

/// Callers who may not do everything may look at the cluster.
fn check_role(role: Option<Role>, request: &Request) -> Result<(), Problem> {
    let looks = matches!(*request.method(), Method::GET | Method::HEAD)
        && request.uri().path().starts_with("/api/");
    match role {
        Some(Role::Admin) => Ok(()),
        Some(Role::Read | Role::Write) if looks => Ok(()),
        Some(Role::Read | Role::Write) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "this is for a caller with the role admin",
        )
        .hint("ask with the token of a caller who may do that")),
        None => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "the request carries no token, or another one",
        )
        .hint("send the header `Authorization: Bearer TOKEN`")),
    }
}

/// The refusal of a body that is too large.
pub(super) fn too_large(limit: usize) -> Problem {
    let message = format!("the body is larger than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
        .hint("send it in several requests")
}

/// Without a token, whoever reaches the loopback address may do anything; a web page must not be able to.
fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if is_foreign(method, headers) {
        let message = "the request comes from a web page of another origin";
        return Err(
            Problem::new(StatusCode::FORBIDDEN, "FOREIGN_ORIGIN", message)
                .hint("address the server as localhost or by its number, or run it with a token"),
        );
    }
    Ok(())
}
