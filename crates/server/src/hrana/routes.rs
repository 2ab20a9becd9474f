//! The routes, and what a request passes before its body is read.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::json;
use shardwright_http::{
    Role,
    axum::{
        Router,
        body::Bytes,
        extract::{DefaultBodyLimit, Request, State, rejection::BytesRejection},
        http::{HeaderMap, StatusCode, header},
        middleware::{Next, from_fn_with_state},
        response::{IntoResponse as _, Response},
        routing::{get, post},
    },
    is_foreign,
};

use super::{
    Shared,
    baton::Baton,
    error::{HttpError, json_response},
    reply::Room,
    request::{BatchBody, CursorBody, ExecuteBody, PipelineBody},
    stream::Stream,
    streams::Reason,
};
use crate::gateway::{Client, Passed};

/// How many bytes a request may have.
const BODY_MAX: usize = 16 << 20;

/// The header by which clients of libSQL name a keyspace.
const NAMESPACE: &str = "x-namespace";

/// What a client may call the keyspace that there is.
const DEFAULT: &str = "default";

/// Where a keyspace is named before the routes.
const PREFIXES: [&str; 2] = ["/db/", "/dev/"];

type Body = Result<Bytes, BytesRejection>;

pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let routes = || {
        Router::new()
            .route("/v1/execute", post(execute))
            .route("/v1/batch", post(batch))
            .route("/v2", get(supported))
            .route("/v2/pipeline", post(pipeline))
            .route("/v3", get(supported))
            .route("/v3/pipeline", post(pipeline))
            .route("/v3/cursor", post(cursor))
    };
    let named = PREFIXES.map(|prefix| format!("{prefix}{{keyspace}}"));
    let [database, development] = &named;
    routes()
        .nest(database, routes())
        .nest(development, routes())
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(Arc::clone(shared), guard))
        .with_state(Arc::clone(shared))
}

/// Says that a version of the protocol is spoken here.
async fn supported() -> StatusCode {
    StatusCode::OK
}

/// Refuses requests without a token, those of callers who may only read, those that a foreign web page makes a browser send, and those for another keyspace.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let role = shared.client.token().map(|token| token.role_in(headers));
    let refused = match role {
        Some(None) => {
            let message = "the request carries no token, or another one";
            Some((StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message.to_owned()))
        }
        // Its streams may write, whatever is in them now.
        Some(Some(Role::Read)) => {
            let message = "a caller with the role read asks by POST /v1/sql";
            Some((StatusCode::FORBIDDEN, "FORBIDDEN", message.to_owned()))
        }
        None if is_foreign(request.method(), headers) => {
            let message = "the request comes from a web page of another origin: address the server as localhost or by its number, or run it with a token";
            Some((StatusCode::FORBIDDEN, "FOREIGN_ORIGIN", message.to_owned()))
        }
        Some(_) | None => {
            let named = keyspace_of(request.uri().path(), headers, &shared.address);
            let is_known = |name: &&str| *name == shared.client.keyspace() || *name == DEFAULT;
            let unknown = named.filter(|name| !is_known(name));
            unknown.map(|name| {
                let message = format!("there is no keyspace {name}");
                (StatusCode::NOT_FOUND, "UNKNOWN_KEYSPACE", message)
            })
        }
    };
    match refused {
        Some((status, code, message)) => HttpError::new(status, code, message).into_response(),
        None => next.run(request).await,
    }
}

/// Returns the keyspace that a request names: before the route, in a header, or as the part of the host before that of the node.
fn keyspace_of<'r>(path: &'r str, headers: &'r HeaderMap, address: &str) -> Option<&'r str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let before = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix));
    let before = before.and_then(|rest| rest.split('/').next());
    let in_host = || {
        let host = text(header::HOST.as_str())?;
        let own = address.split_once("://").map_or(address, |(_, own)| own);
        let own = own.trim_end_matches('/');
        let name = host.strip_suffix(own)?.strip_suffix('.')?;
        (!name.is_empty()).then_some(name)
    };
    before.or_else(|| text(NAMESPACE)).or_else(in_host)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, HttpError> {
    serde_json::from_slice(body)
        .map_err(|error| HttpError::bad_request(format!("the body is not a request: {error}")))
}

fn whole(body: Body) -> Result<Bytes, HttpError> {
    body.map_err(|rejection| {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "TOO_LARGE",
            _ => "BAD_REQUEST",
        };
        HttpError::new(rejection.status(), code, rejection.body_text())
    })
}

async fn pipeline(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    let run = async move || {
        let bytes = whole(body)?;
        let body: PipelineBody = read(&bytes)?;
        let baton = match shared
            .own(body.baton.as_deref(), "/v3/pipeline", &headers, bytes)
            .await?
        {
            Turn::Here(baton) => baton,
            Turn::There(response) => return Ok(response),
        };
        let reply = shared.pipeline(baton.as_ref(), body).await?;
        Ok(json_response(StatusCode::OK, &reply))
    };
    to_the_end(run()).await
}

async fn cursor(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    let run = async move || {
        let bytes = whole(body)?;
        let body: CursorBody = read(&bytes)?;
        let baton = match shared
            .own(body.baton.as_deref(), "/v3/cursor", &headers, bytes)
            .await?
        {
            Turn::Here(baton) => baton,
            Turn::There(response) => return Ok(response),
        };
        shared.cursor(baton.as_ref(), &body.batch).await
    };
    to_the_end(run()).await
}

async fn execute(State(shared): State<Arc<Shared>>, body: Body) -> Response {
    let run = async move || {
        let ExecuteBody { stmt } = read(&whole(body)?)?;
        let (mut stream, mut room) = (Stream::default(), Room::default());
        let result = stream.execute(&shared.client, stmt, false, &mut room).await;
        stream.close().await;
        let result = result?;
        Ok(json_response(StatusCode::OK, &json!({ "result": result })))
    };
    to_the_end(run()).await
}

async fn batch(State(shared): State<Arc<Shared>>, body: Body) -> Response {
    let run = async move || {
        let BatchBody { batch } = read(&whole(body)?)?;
        let (mut stream, mut room) = (Stream::default(), Room::default());
        let result = stream.batch(&shared.client, &batch, &mut room).await;
        stream.close().await;
        let result = result?;
        Ok(json_response(StatusCode::OK, &json!({ "result": result })))
    };
    to_the_end(run()).await
}

/// Carries out a request also if its client has gone: what it has begun ends properly.
async fn to_the_end(
    run: impl Future<Output = Result<Response, HttpError>> + Send + 'static,
) -> Response {
    match tokio::spawn(run).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error.into_response(),
        Err(_) => {
            let message = "the request failed, and it is not known what of it has happened";
            HttpError::new(StatusCode::GATEWAY_TIMEOUT, "INDETERMINATE", message).into_response()
        }
    }
}

/// Where a request belongs.
enum Turn {
    Here(Option<Baton>),
    /// It was passed on, and this is the answer.
    There(Response),
}

impl Shared {
    /// Reads a baton, and passes the request on if that is of another node.
    async fn own(
        &self,
        baton: Option<&str>,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Turn, HttpError> {
        let Some(baton) = baton else {
            return Ok(Turn::Here(None));
        };
        let baton: Baton = baton.parse().map_err(|_| Reason::Invalid)?;
        if baton.node == self.node {
            return Ok(Turn::Here(Some(baton)));
        }
        if headers.contains_key(Client::FORWARDED) {
            return Err(Reason::Invalid.into());
        }
        match self.client.pass_on(&baton.node, path, body).await {
            Passed::Answered(response) => Ok(Turn::There(response)),
            Passed::Unreachable => Err(HttpError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "UNREACHABLE",
                format!(
                    "the node {} has the stream and cannot be reached; nothing of the request has happened, and if the node is lost, the open transaction of the stream is rolled back",
                    baton.node
                ),
            )),
            Passed::Lost => Err(HttpError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "INDETERMINATE",
                format!(
                    "the node {} was lost while it worked, and it is not known what of the request has happened",
                    baton.node
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, headers: &[(&'static str, &str)], expect: Option<&str>) {
        let headers = headers.iter().map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, value.parse().unwrap())
        });
        let headers: HeaderMap = headers.collect();
        let named = keyspace_of(path, &headers, "https://db.example.com:7558/");
        assert_eq!(named, expect, "{path} {headers:?}");
    }

    #[test]
    fn a_keyspace_is_named_in_three_ways() {
        check("/v2/pipeline", &[], None);
        check("/db/shop/v2/pipeline", &[], Some("shop"));
        check("/dev/shop/v3/cursor", &[("x-namespace", "x")], Some("shop"));
        check("/v3/cursor", &[("x-namespace", "shop")], Some("shop"));
        let host = |host| [("host", host)];
        check("/v3", &host("shop.db.example.com:7558"), Some("shop"));
        check("/v3", &host("db.example.com:7558"), None);
        check("/v3", &host("n1.elsewhere:7558"), None);
        check("/v3", &host("otherdb.example.com:7558"), None);
    }
}
