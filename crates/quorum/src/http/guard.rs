//! What a request passes before its handler: the token, the origin of browsers, and the limits of number, size and time.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_LENGTH, ORIGIN},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::{sync::Semaphore, time::timeout};

use super::{KEY_MAX, ServerOptions, problem::Problem};

#[derive(Debug)]
struct Guard {
    options: ServerOptions,
    places: Semaphore,
}

/// Returns the routes behind a guard.
pub(super) fn guarded(routes: Router, options: &ServerOptions) -> Router {
    let state = Arc::new(Guard {
        options: options.clone(),
        places: Semaphore::new(options.requests_max),
    });
    routes
        .layer(DefaultBodyLimit::max(options.event_max))
        .layer(middleware::from_fn_with_state(state, guard))
}

async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if let Err(problem) = guard.admit(request.headers()) {
        return problem.into_response();
    }
    let Ok(_place) = guard.places.try_acquire() else {
        let message = "too many requests are under way: nothing was written";
        return Problem::unavailable("OVERLOADED", message).into_response();
    };
    next.run(request).await
}

impl Guard {
    /// Nothing of the body has been read by then.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match &self.options.token {
            Some(token) if !token.is_in(headers) => {
                let message = "the request carries no token, or another one";
                let hint = "send the header `Authorization: Bearer TOKEN`";
                return Err(Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "UNAUTHORIZED",
                    message,
                    hint,
                ));
            }
            // Browsers say where the page is from that sends a POST. No page may, not even one whose own name was made to point here.
            None if headers.contains_key(ORIGIN) => {
                let message = "the request comes from a web page";
                let hint = "run the server with a token";
                return Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "FOREIGN_ORIGIN",
                    message,
                    hint,
                ));
            }
            Some(_) | None => {}
        }
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let limit = self.options.event_max;
        if announced.is_some_and(|size| usize::try_from(size).map_or(true, |size| size > limit)) {
            return Err(Problem::too_large(limit));
        }
        Ok(())
    }
}

/// Reads the body.
pub(super) async fn event(request: Request, options: &ServerOptions) -> Result<Bytes, Problem> {
    let read = Bytes::from_request(request, &());
    match timeout(options.request_timeout, read).await {
        Ok(Ok(event)) => Ok(event),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Problem::too_large(options.event_max))
        }
        Ok(Err(_)) => Err(Problem::bad_request(
            "the body ended early",
            "send the whole event",
        )),
        Err(_) => {
            let (message, hint) = ("the body took too long to arrive", "send it again");
            let status = StatusCode::REQUEST_TIMEOUT;
            Err(Problem::new(status, "BODY_TIMEOUT", message, hint))
        }
    }
}

/// Waits for the outcome of a put as long as options say.
pub(super) async fn in_time<T>(
    put: impl Future<Output = T>,
    key: &str,
    options: &ServerOptions,
) -> Result<T, Problem> {
    let outcome = timeout(options.request_timeout, put).await;
    outcome.map_err(|_| {
        let (message, hint) = ("the put took too long", "repeat it with the same key");
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "INDETERMINATE", message, hint).of_key(key)
    })
}

/// Refuses keys that no server takes.
pub(super) fn checked(key: String) -> Result<String, Problem> {
    if key.is_empty() || key.len() > KEY_MAX {
        let message = format!("a key has 1 to {KEY_MAX} bytes");
        return Err(Problem::bad_request(message, "give another key"));
    }
    Ok(key)
}
