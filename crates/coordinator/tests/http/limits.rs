//! What the server lets in.

use std::time::Duration;

use reqwest::header;
use serde_json::json;
use shardwright_coordinator::http::{Settings, Token};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::setting::{
    Answer, Server, TOKEN, leader, memory, refuses_strangers, two_with, wait, worker,
};

fn with_token() -> Settings {
    Settings {
        token: Some(Token::new(TOKEN).expect("a token")),
        ..Settings::default()
    }
}

async fn call(server: &Server, path: &str, authorization: Option<&str>) -> Answer {
    let mut request = reqwest::Client::new().get(format!("{}{path}", server.url));
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    Answer::of(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_everything_but_livez_needs_it() {
    let server = leader(with_token()).await;
    assert_eq!(call(&server, "/livez", None).await.status, 200);
    for path in [
        "/readyz",
        "/metrics",
        "/version",
        "/healthz",
        "/api/v1/nodes",
        "/shards",
        "/none",
    ] {
        call(&server, path, None).await.refused(401, "UNAUTHORIZED");
    }
    for wrong in [
        TOKEN,
        "Bearer",
        "Bearer a-token-of-some-lengtH",
        "Basic a-token-of-some-length",
    ] {
        let answer = call(&server, "/api/v1/nodes", Some(wrong)).await;
        answer.refused(401, "UNAUTHORIZED");
        assert!(!answer.text.contains(TOKEN), "a secret is not told");
    }
    let right = format!("Bearer {TOKEN}");
    call(&server, "/api/v1/nodes", Some(&right)).await.ok();
    let worker = worker("w1", &[&server], Some(TOKEN)).await;
    wait("the worker to be up", async || {
        let status = call(&server, "/api/v1/status", Some(&right)).await;
        status.ok()["nodes_up"] == 1
    })
    .await;
    refuses_strangers(&worker.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_goes_with_a_request_that_is_passed_on() {
    let store = memory();
    let first = Server::start(&store, 1, with_token()).await;
    first.handle().view_when(|view| view.is_leading).await;
    let second = Server::start(&store, 2, with_token()).await;
    second
        .handle()
        .view_when(|view| view.leader.is_some())
        .await;
    let right = format!("Bearer {TOKEN}");
    call(&second, "/api/v1/plans", Some(&right)).await.ok();
    call(&second, "/api/v1/plans", None)
        .await
        .refused(401, "UNAUTHORIZED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_web_page_is_refused() {
    let server = leader(Settings::default()).await;
    let url = format!("{}/api/v1/rebalance", server.url);
    let foreign = reqwest::Client::new()
        .post(&url)
        .header(header::ORIGIN, "https://evil.example");
    Answer::of(foreign).await.refused(403, "FOREIGN_ORIGIN");
    let rebound = reqwest::Client::new()
        .post(&url)
        .header(header::HOST, "evil.example");
    Answer::of(rebound).await.refused(403, "FOREIGN_ORIGIN");
    let own = reqwest::Client::new()
        .post(&url)
        .header(header::ORIGIN, &server.url);
    Answer::of(own).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_heads_are_limited() {
    let settings = Settings {
        body_max: 1_000,
        ..Settings::default()
    };
    let server = leader(settings).await;
    let declared = "content-length: 5000\r\n\r\n".to_owned();
    let chunk = "x".repeat(2_000);
    let undeclared = format!("transfer-encoding: chunked\r\n\r\n7d0\r\n{chunk}\r\n");
    for body in [declared, undeclared] {
        let answer = send_beginning(&server.url, &body).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("PAYLOAD_TOO_LARGE"), "{answer}");
    }
    let mut request = reqwest::Client::new().get(format!("{}/livez", server.url));
    for number in 0..70 {
        request = request.header(format!("x-header-{number}"), "x");
    }
    assert_eq!(Answer::of(request).await.status, 431);
}

/// Opens a connection, and sends the first lines of a request on it, and `rest` after them.
async fn send_head(url: &str, request: &str, rest: &str) -> TcpStream {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!("{request} HTTP/1.1\r\nhost: localhost\r\n{rest}");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

/// Sends the beginning of a request, and returns the answer to that: a server that has read enough does not wait for the rest.
async fn send_beginning(url: &str, rest: &str) -> String {
    let rest = format!("connection: close\r\ncontent-type: application/json\r\n{rest}");
    let mut stream = send_head(url, "POST /api/v1/partitions", &rest).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !String::from_utf8_lossy(&answer).contains("}}") {
        let read = stream.read(&mut buffer).await.expect("an answer");
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limit_may_be_repeated() {
    let settings = Settings {
        requests_max: 1,
        ..Settings::default()
    };
    let server = leader(settings).await;
    let mut slow = send_head(&server.url, "POST /sequence", "content-length: 12\r\n\r\n").await;
    wait("the place to be taken", async || {
        let answer = server.get("/version").await;
        answer.status == 503 && answer.refused(503, "OVERLOADED")["retryable"] == true
    })
    .await;
    slow.write_all(b"{\"name\":\"a\"}").await.expect("sent");
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_in_the_middle_is_given_up() {
    let settings = Settings {
        request_timeout: Duration::from_secs(1),
        ..Settings::default()
    };
    let (leader, standby) = two_with(settings).await;
    let stop_in_the_middle = async |server: &Server, path: &str| {
        let rest = "connection: close\r\ncontent-length: 12\r\n\r\n{";
        let mut stream = send_head(&server.url, &format!("POST {path}"), rest).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
        assert!(answer.contains("TIMEOUT"), "{path}: {answer}");
    };
    tokio::join!(
        stop_in_the_middle(&leader, "/sequence"),
        stop_in_the_middle(&leader, "/api/v1/rebalance"),
        stop_in_the_middle(&leader, "/shardz/v1/register"),
        stop_in_the_middle(&standby, "/sequence"),
        stop_in_the_middle(&standby, "/api/v1/rebalance"),
        stop_in_the_middle(&standby, "/shardz/v1/leave"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_partitions_fit_in_one_request() {
    // A build without optimisation takes longer over so many than short leases last.
    let timeout = Duration::from_secs(60);
    let server = Server::with_timeout(&memory(), 1, Settings::default(), timeout).await;
    server.handle().view_when(|view| view.is_leading).await;
    let ids: Vec<String> = (0..100_000)
        .map(|number| format!("partition-{number}"))
        .collect();
    let added = server.post("/api/v1/partitions", json!({"ids": ids})).await;
    assert_eq!(added.ok()["changes"], 100_000);
    let status = server.get("/api/v1/status").await.ok();
    assert_eq!(
        (&status["shards"], &status["assigned"]),
        (&json!(100_000), &json!(0))
    );
    let more: Vec<String> = (0..100_001).map(|number| format!("p{number}")).collect();
    let refused = server
        .post("/api/v1/partitions", json!({"ids": more}))
        .await;
    refused.refused(400, "BAD_REQUEST");
}
