//! Requests of the admin API that reach a node: a coordinator answers them.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::json;
use shardwright_registry::Addresses;
use shardwright_server::http::{
    Token, client, is_foreign, relayed_answer, relayed_headers, reqwest,
};
use tokio::sync::Semaphore;

/// How long a coordinator may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a coordinator may take for an answer to begin: it gives up a command itself before that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(310);

/// The largest body, as coordinators take it.
const BODY_MAX: usize = 16 << 20;

/// How long a body may take to arrive, as with coordinators.
const BODY_TIMEOUT: Duration = Duration::from_millis(22_500);

/// How many requests are passed on at once. Each may keep a body of the largest size in memory, and a coordinator takes fewer of them.
const REQUESTS_MAX: usize = 64;

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
    token: Option<Token>,
    places: Semaphore,
    body_timeout: Duration,
}

/// The routes below `/api/v1`, which pass on what carries the token. Coordinators look at it again.
///
/// # Errors
/// When no client can be made.
pub(crate) fn routes(coordinators: Coordinators, token: Option<&Token>) -> anyhow::Result<Router> {
    passing(coordinators, token, BODY_TIMEOUT)
}

fn passing(
    coordinators: Coordinators,
    token: Option<&Token>,
    body_timeout: Duration,
) -> anyhow::Result<Router> {
    let passing = Passing {
        coordinators,
        client: client(CONNECT_TIMEOUT)?,
        token: token.cloned(),
        places: Semaphore::new(REQUESTS_MAX),
        body_timeout,
    };
    Ok(Router::new()
        .route("/api/v1/{*rest}", any(pass_on))
        .with_state(Arc::new(passing)))
}

async fn pass_on(
    State(passing): State<Arc<Passing>>,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    // Who may not ask is not listened to.
    passing.admit(&parts.method, &parts.headers)?;
    let _place = passing
        .places
        .try_acquire()
        .map_err(|_| Refused::Overloaded)?;
    let body = passing.read(body).await?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    for address in passing.coordinators.addresses().await {
        let url = format!("{}{path}", address.trim_end_matches('/'));
        match passing.ask(&parts.method, url, &parts.headers, &body).await {
            Ok(answer) => return Ok(answer),
            // It did nothing: the next one may.
            Err(error)
                if parts.method.is_safe()
                    || error.as_ref().is_some_and(reqwest::Error::is_connect) => {}
            Err(_) => return Err(Refused::Indeterminate),
        }
    }
    Err(Refused::NoCoordinator)
}

impl Passing {
    /// Refuses what has no token, or what a web page makes a browser send. What a caller may do is for the coordinators to say.
    fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
        match &self.token {
            Some(token) if token.role_in(headers).is_some() => Ok(()),
            Some(_) => Err(Refused::NoToken),
            None if is_foreign(method, headers) => Err(Refused::Foreign),
            None => Ok(()),
        }
    }

    /// Reads a body to its end.
    async fn read(&self, body: Body) -> Result<Bytes, Refused> {
        let read = axum::body::to_bytes(body, BODY_MAX);
        match tokio::time::timeout(self.body_timeout, read).await {
            Ok(read) => read.map_err(|_| Refused::TooLarge),
            Err(_elapsed) => Err(Refused::TooSlow),
        }
    }

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

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug)]
enum Refused {
    Foreign,
    NoToken,
    Overloaded,
    TooLarge,
    TooSlow,
    /// A coordinator may have done it.
    Indeterminate,
    NoCoordinator,
}

impl IntoResponse for Refused {
    /// An error in the form of the admin API.
    fn into_response(self) -> Response {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let (status, code, message) = match self {
            Self::Foreign => {
                let message = "the request comes from a web page of another origin";
                (StatusCode::FORBIDDEN, "FOREIGN_ORIGIN", message)
            }
            Self::NoToken => {
                let message = "the request carries no token, or another one";
                (StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
            }
            Self::Overloaded => (unavailable, "OVERLOADED", "too many requests are passed on"),
            Self::TooLarge => {
                let message = "the body is too large, or did not arrive";
                (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
            }
            Self::TooSlow => (unavailable, "TIMEOUT", "the body took too long"),
            Self::Indeterminate => {
                let message = "no coordinator answered: what was asked may have happened";
                (StatusCode::GATEWAY_TIMEOUT, "INDETERMINATE", message)
            }
            Self::NoCoordinator => {
                let message = "no coordinator can be reached";
                (unavailable, "NO_COORDINATOR", message)
            }
        };
        let retryable = status == unavailable;
        let error =
            json!({ "code": code, "message": message, "hint": null, "retryable": retryable });
        (status, axum::Json(json!({ "error": error }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use shardwright_registry::MemoryStore;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A node with no coordinator behind it.
    async fn node(token: Option<&Token>, body_timeout: Duration) -> SocketAddr {
        let coordinators = Coordinators {
            named: vec!["http://127.0.0.1:9".to_owned()],
            registry: Addresses::of_coordinators(Arc::new(MemoryStore::new())),
        };
        let router = passing(coordinators, token, body_timeout).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }

    /// Sends a head that announces a body, and no body. Returns the head of the answer.
    async fn ask(address: SocketAddr, header: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /api/v1/drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n{header}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read_buf(&mut answer).await.unwrap();
            assert_ne!(read, 0, "the connection was closed without an answer");
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn who_may_not_ask_is_not_waited_for() {
        let hours = Duration::from_secs(36_000);
        let token = Token::new("a-token-of-some-length").unwrap();
        let guarded = node(Some(&token), hours).await;
        let answer = ask(guarded, "").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        let other = "authorization: Bearer another-token-of-some-length\r\n";
        let answer = ask(guarded, other).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        let open = node(None, hours).await;
        let answer = ask(open, "origin: http://elsewhere.example\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let token = Token::new("a-token-of-some-length").unwrap();
        let guarded = node(Some(&token), Duration::from_millis(20)).await;
        let answer = ask(guarded, "authorization: Bearer a-token-of-some-length\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        // Nothing of it is kept: the next one is read too.
        let answer = ask(guarded, "authorization: Bearer a-token-of-some-length\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
}
