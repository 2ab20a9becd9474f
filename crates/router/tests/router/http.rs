//! Calls over HTTP, on loopback.

use shardwright_router::{
    Error, Outcome, Transport, TransportError,
    conformance::{self, Served},
    transport::http::{
        BindError, Http, HttpOptions, PATH, Server, ServerOptions, Token, listen, routes,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

const ANY_PORT: &str = "127.0.0.1:0";

fn http(options: &HttpOptions) -> Arc<dyn Transport> {
    Arc::new(Http::new(options).expect("a client"))
}

async fn serve(router: &Router, options: ServerOptions) -> Server {
    let app = routes(router.clone(), options.clone());
    let server = listen(ANY_PORT, app, &options).await;
    server.expect("a free port")
}

/// A node that answers over HTTP, and owns what it is told.
async fn start(name: &str, token: Option<Token>) -> (Router, Server) {
    let options = HttpOptions {
        token: token.clone(),
        ..HttpOptions::default()
    };
    let router = Router::new(node(name), http(&options), Settings::default());
    let options = ServerOptions {
        token,
        ..ServerOptions::default()
    };
    let server = serve(&router, options).await;
    (router, server)
}

#[tokio::test]
async fn http_obeys_the_rules_of_transports() {
    conformance::run_all(
        async || http(&HttpOptions::default()),
        async |router| {
            let server = serve(&router, ServerOptions::default()).await;
            Served::new(server.url(), async move { server.shut_down().await })
        },
    )
    .await;
}

#[tokio::test]
async fn three_nodes_and_a_proxy_reach_each_other() {
    let mut nodes = Vec::new();
    for name in ["n1", "n2", "n3", "proxy"] {
        nodes.push(start(name, None).await);
    }
    for (router, _) in &nodes {
        for (at, (other, server)) in nodes.iter().enumerate() {
            router.set_address(other.node(), Some(&server.url()));
            if at < 3 {
                router.set_owner(&shard(at as u32), Some(other.node().clone()), Epoch(1));
            }
        }
        let name = router.node().to_string();
        router.handle("who", move |_| {
            let name = name.clone();
            async move { Ok::<_, BoxError>(name) }
        });
    }
    for (router, _) in &nodes {
        for (number, owner) in (0..).zip(["n1", "n2", "n3"]) {
            let answer = router
                .call(&shard(number), "who", "")
                .await
                .expect("an answer");
            assert_eq!(answer, owner, "{} asked", router.node());
        }
    }
}

#[tokio::test]
async fn whoever_does_not_show_the_token_is_refused() {
    let token = Token::new("correct-horse-battery").expect("a token");
    let (owner, server) = start("owner", Some(token.clone())).await;
    owner.set_owner(&shard(0), Some(node("owner")), Epoch(1));
    let runs = count(&owner, "count");
    let (friend, _) = start("friend", Some(token)).await;
    let (stranger, _) = start("stranger", None).await;
    let (liar, _) = start(
        "liar",
        Some(Token::new("another-horse-battery").expect("a token")),
    )
    .await;
    for router in [&friend, &stranger, &liar] {
        router.set_address(&node("owner"), Some(&server.url()));
        router.set_owner(&shard(0), Some(node("owner")), Epoch(1));
    }
    friend
        .call(&shard(0), "count", "")
        .await
        .expect("the token opens");
    for router in [&stranger, &liar] {
        let error = router
            .call(&shard(0), "count", "")
            .await
            .expect_err("no token");
        assert!(matches!(error, Error::NotAuthorized { .. }), "{error}");
    }
    assert_eq!(runs.load(SeqCst), 1);
}

#[tokio::test]
async fn a_server_may_take_less_than_a_caller_sends() {
    let owner = Router::new(
        node("owner"),
        http(&HttpOptions::default()),
        Settings::default(),
    );
    let options = ServerOptions {
        payload_max: 1000,
        ..ServerOptions::default()
    };
    let server = serve(&owner, options).await;
    owner.set_owner(&shard(0), Some(node("owner")), Epoch(1));
    let runs = count(&owner, "count");
    let (caller, _) = start("caller", None).await;
    caller.set_address(&node("owner"), Some(&server.url()));
    caller.set_owner(&shard(0), Some(node("owner")), Epoch(1));
    caller
        .call(&shard(0), "count", vec![0; 1000])
        .await
        .expect("it fits");
    let error = caller
        .call(&shard(0), "count", vec![0; 1001])
        .await
        .expect_err("too large");
    assert!(
        matches!(
            error,
            Error::PayloadTooLarge {
                size: 1001,
                limit: 1000
            }
        ),
        "{error}"
    );
    assert_eq!(runs.load(SeqCst), 1);
}

/// A caller whose owner is whatever listens at an address.
async fn caller_of(url: &str) -> Router {
    let (caller, _) = start("caller", None).await;
    caller.set_address(&node("owner"), Some(url));
    caller.set_owner(&shard(0), Some(node("owner")), Epoch(1));
    caller
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_the_outcome_unknown() {
    let listener = TcpListener::bind(ANY_PORT).await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        let mut request = vec![0; 4096];
        let size = connection.read(&mut request).await.expect("a request");
        let text = String::from_utf8_lossy(&request[..size]).into_owned();
        drop(connection);
        // Nobody comes a second time: the listener would take the connection.
        (text, listener)
    });
    let caller = caller_of(&url).await;
    let error = caller
        .call(&shard(0), "pay", "")
        .await
        .expect_err("no answer");
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    let (text, _listener) = asked.await.expect("no panic");
    assert!(text.starts_with(&format!("POST {PATH} HTTP/1.1")), "{text}");
    let header = text
        .lines()
        .find_map(|line| line.strip_prefix("shardwright-call: "));
    let parts: Vec<_> = header.expect("the header").split(' ').collect();
    assert_eq!(
        [parts[0], parts[2], parts[3]],
        ["1", "shard-0", "pay"],
        "{text}"
    );
}

/// What answers every request with a head, and sends nothing after it.
async fn answers_with(head: &'static str) -> String {
    let listener = TcpListener::bind(ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _ = connection.read(&mut request).await;
            let head = format!("HTTP/1.1 {head}\r\n\r\n");
            let _ = connection.write_all(head.as_bytes()).await;
            open.push(connection);
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn what_another_server_says_is_no_answer_and_is_not_read() {
    for head in [
        "200 OK\r\ncontent-length: 2000000000",
        "200 OK\r\nshardwright-answer: perhaps\r\ncontent-length: 2000000000",
        "409 Conflict\r\nshardwright-answer: refused\r\ncontent-length: 2000000000",
    ] {
        let caller = caller_of(&answers_with(head).await).await;
        let error = caller
            .call(&shard(0), "pay", "")
            .await
            .expect_err("no answer");
        let Error::Interrupted { source, .. } = &error else {
            panic!("{head}: {error}");
        };
        assert!(source.to_string().contains("no router"), "{source}");
    }
}

/// Sends a text, and returns what comes back until the connection ends or `end` has come.
async fn exchange(connection: &mut TcpStream, text: &str, end: &str) -> String {
    connection.write_all(text.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let patience = Duration::from_secs(100);
        let read = tokio::time::timeout(patience, connection.read(&mut buffer)).await;
        // A connection that breaks has ended too.
        let size = read.expect("the server says something").unwrap_or(0);
        answer.extend_from_slice(&buffer[..size]);
        let text = String::from_utf8_lossy(&answer);
        if size == 0 || text.contains(end) {
            return text.into_owned();
        }
    }
}

/// The beginning of a call that says how long its caller waits, and waits itself for the word that its payload is welcome.
fn beginning(timeout: Duration) -> String {
    let timeout_us = timeout.as_micros();
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\
         shardwright-call: 1 {timeout_us} shard-0 count\r\n\r\n"
    )
}

async fn connect(server: &Server) -> TcpStream {
    let connected = TcpStream::connect(server.address()).await;
    connected.expect("a connection")
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_runs_while_its_payload_is_on_its_way() {
    let (owner, server) = start("owner", None).await;
    owner.set_owner(&shard(0), Some(node("owner")), Epoch(1));
    let runs = count(&owner, "count");
    let mut connection = connect(&server).await;
    let half = beginning(Duration::from_secs(1));
    let answer = exchange(&mut connection, &half, "}").await;
    assert!(answer.contains("504 Gateway Timeout"), "{answer}");
    let refusal = r#"{"code":"deadline-passed","began":false}"#;
    assert!(answer.contains(refusal), "{answer}");
    assert_eq!(runs.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_shuts_down_waits_ten_seconds_at_most() {
    let (_owner, server) = start("owner", None).await;
    let mut connection = connect(&server).await;
    let half = beginning(Duration::from_secs(3600));
    let welcome = exchange(&mut connection, &half, "\r\n\r\n").await;
    assert!(welcome.contains("100 Continue"), "{welcome}");
    let patience = Duration::from_secs(60);
    let shut_down = tokio::time::timeout(patience, server.shut_down()).await;
    shut_down.expect("nobody waits for a payload that does not come");
    let rest = exchange(&mut connection, "", "").await;
    assert_eq!(rest, "", "the connection has ended");
}

#[tokio::test(start_paused = true)]
async fn heads_are_limited_in_time_and_in_number() {
    let (_owner, server) = start("owner", None).await;
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n");
    let answer = exchange(&mut connect(&server).await, &head, "\r\n\r\n").await;
    assert_eq!(answer, "", "a head that does not end ends the connection");
    let many: String = (0..70).map(|number| format!("x-{number}: x\r\n")).collect();
    let head = format!("{head}{many}\r\n");
    let answer = exchange(&mut connect(&server).await, &head, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let router = Router::local(node("owner"));
    let options = ServerOptions {
        connections_max: 1,
        ..ServerOptions::default()
    };
    let server = serve(&router, options).await;
    let request = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    let mut first = connect(&server).await;
    let answer = exchange(&mut first, &request, "}").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let mut second = connect(&server).await;
    let mut waits = Box::pin(exchange(&mut second, &request, "}"));
    let waiting = tokio::time::timeout(SHORT, &mut waits).await;
    assert!(waiting.is_err(), "the one place is taken");
    drop(first);
    let answer = waits.await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn without_a_token_only_this_machine_is_answered() {
    let app = || routes(Router::local(node("owner")), ServerOptions::default());
    let open = ServerOptions::default();
    let refused = listen("0.0.0.0:0", app(), &open).await;
    assert!(
        matches!(refused, Err(BindError::NeedsToken { .. })),
        "{refused:?}"
    );
    let closed = ServerOptions {
        token: Some(Token::new("correct-horse-battery").expect("a token")),
        ..open
    };
    let server = listen("0.0.0.0:0", app(), &closed).await;
    assert!(server.is_ok(), "{server:?}");
}

#[tokio::test]
async fn a_malformed_request_is_refused() {
    let (owner, server) = start("owner", None).await;
    count(&owner, "count");
    let client = reqwest::Client::new();
    let url = format!("{}{PATH}", server.url());
    for (call, status) in [
        ("1 1000000 ../x count", 400),
        ("-1 1000000 shard-0 count", 400),
        ("1 soon shard-0 count", 400),
        ("1 1000000 shard-0", 400),
        ("1 1000000 shard-0 count", 409),
    ] {
        let post = client.post(&url).header("shardwright-call", call);
        let response = post.send().await.expect("a response");
        assert_eq!(response.status().as_u16(), status, "{call}");
        assert_eq!(response.headers()["shardwright-answer"], "refused");
    }
    let response = client.post(&url).send().await.expect("a response");
    assert_eq!(response.status().as_u16(), 400);
}

#[tokio::test]
async fn an_address_that_is_none_is_not_delivered() {
    let transport = http(&HttpOptions::default());
    let request = shardwright_router::Request {
        shard: shard(0),
        epoch: Epoch(1),
        method: "m".into(),
        timeout: Duration::from_secs(1),
        payload: "".into(),
    };
    let owner = node("owner");
    let peer = shardwright_router::Peer {
        node: &owner,
        address: "not a url",
    };
    let outcome = transport.call(peer, request).await;
    assert!(
        matches!(outcome, Err(TransportError::NotDelivered(_))),
        "{outcome:?}"
    );
}
