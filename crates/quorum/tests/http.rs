//! Events over HTTP: clients and peers against real servers on loopback.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::{
    collections::BTreeMap,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::{Client, Response, StatusCode, header::AUTHORIZATION};
use serde_json::Value;
use shardwright_quorum::{
    BoxError, Bytes, CommitLevel, Coordinator, CopyError, Error, KeyTaken, PeerClient, PeerId,
    Place, Settings, Storage,
    http::{
        BindError, Http, HttpOptions, PEER_PATH, PeerError, PeerUrl, Server, ServerOptions, Token,
        serve_clients, serve_peers,
    },
};
use tokio::{io::AsyncWriteExt, net::TcpListener};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Stores,
    Fails,
    Hangs,
}

/// A store in memory that answers later, as a disk does.
#[derive(Debug, Clone, Default)]
struct Memory {
    events: Arc<Mutex<BTreeMap<String, Bytes>>>,
    mood: Arc<Mutex<Mood>>,
}

impl Memory {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        self.events.lock().unwrap().get(key).cloned()
    }
}

impl Storage for Memory {
    async fn put(&self, key: &str, event: Bytes) -> Result<(), BoxError> {
        tokio::task::yield_now().await;
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Stores => {}
            Mood::Fails => return Err("secret detail".into()),
            Mood::Hangs => pending().await,
        }
        let mut events = self.events.lock().unwrap();
        let stored = events.entry(key.to_owned()).or_insert(event.clone());
        if *stored == event {
            Ok(())
        } else {
            Err(KeyTaken.into())
        }
    }
}

const LOOPBACK: &str = "127.0.0.1:0";

fn token() -> Token {
    Token::new("correct-horse-battery").unwrap()
}

fn with_token() -> ServerOptions {
    ServerOptions {
        token: Some(token()),
        ..ServerOptions::default()
    }
}

fn http() -> Http {
    let options = HttpOptions {
        token: Some(token()),
        ..HttpOptions::default()
    };
    Http::new(&options).unwrap()
}

/// A node that coordinates, two peers that store, and the server of each.
struct Cluster {
    stores: [Memory; 3],
    coordinator: Coordinator<Memory, Http>,
    clients: Server,
    _peers: Vec<Server>,
}

async fn cluster(settings: Settings, options: ServerOptions) -> Cluster {
    let stores: [Memory; 3] = Default::default();
    let coordinator = Coordinator::new(stores[0].clone(), http(), settings).unwrap();
    let mut peers = Vec::new();
    for (number, store) in stores.iter().enumerate().skip(1) {
        let options = with_token();
        let server = serve_peers(LOOPBACK, store.clone(), &options);
        let server = server.await.unwrap();
        let url: PeerUrl = server.url().parse().unwrap();
        coordinator.add_peer(format!("peer-{number}").as_str(), url, Place::SameZone);
        peers.push(server);
    }
    let clients = serve_clients(LOOPBACK, coordinator.clone(), &options);
    Cluster {
        stores,
        coordinator,
        clients: clients.await.unwrap(),
        _peers: peers,
    }
}

fn three() -> Settings {
    Settings {
        replication_factor: 3,
        ..Settings::default()
    }
}

async fn post(cluster: &Cluster, query: &str, body: &'static str) -> Response {
    let url = format!("{}/{query}", cluster.clients.url());
    Client::new().post(url).body(body).send().await.unwrap()
}

async fn refused(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status(), status, "{code}");
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body["error"]["code"], code, "{body}");
    body
}

#[tokio::test]
async fn a_put_of_a_client_is_answered_with_its_key_and_stored_by_the_peers() {
    let cluster = cluster(three(), ServerOptions::default()).await;
    let response = post(&cluster, "?level=all", r#"{"order": 12}"#).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(answer["copies"], 3);
    let key = answer["key"].as_str().unwrap();
    for store in &cluster.stores {
        assert_eq!(store.get(key).unwrap(), r#"{"order": 12}"#);
    }
    cluster.clients.shut_down().await;
}

#[tokio::test]
async fn what_is_no_put_is_refused_and_nothing_is_written() {
    let cluster = cluster(three(), ServerOptions::default()).await;
    for (query, body, what) in [
        ("", "{\"order\": ", "no JSON"),
        ("?level=QUORRUM", "{}", "is no commit level"),
        ("?levl=ALL", "{}", "unknown field"),
        ("?key=", "{}", "a key has 1 to 1024 bytes"),
    ] {
        let body = refused(post(&cluster, query, body).await, 400, "BAD_REQUEST").await;
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(what), "{message}");
        assert_eq!(body["error"]["retryable"], false);
    }
    let client = Client::new();
    let read = client.get(cluster.clients.url()).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::METHOD_NOT_ALLOWED);
    let page = client
        .post(cluster.clients.url())
        .header("origin", "http://x.example");
    let page = page.body("{}").send().await.unwrap();
    refused(page, 403, "FOREIGN_ORIGIN").await;
    assert!(cluster.stores[0].events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bodies_are_limited_announced_or_not() {
    let options = ServerOptions {
        event_max: 100,
        ..ServerOptions::default()
    };
    let cluster = cluster(three(), options).await;
    let large = format!("\"{}\"", "x".repeat(200));
    let announced = Client::new()
        .post(cluster.clients.url())
        .body(large.clone());
    let announced = announced.send().await.unwrap();
    refused(announced, 413, "PAYLOAD_TOO_LARGE").await;

    // In chunks, without a length.
    let mut stream = tokio::net::TcpStream::connect(cluster.clients.address())
        .await
        .unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(chunk.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer)
        .await
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert!(cluster.stores[0].events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn whoever_does_not_show_the_token_is_refused() {
    let cluster = cluster(three(), with_token()).await;
    refused(post(&cluster, "", "{}").await, 401, "UNAUTHORIZED").await;
    let shown = Client::new().post(cluster.clients.url());
    let shown = shown
        .header(AUTHORIZATION, "Bearer correct-horse-battery")
        .body("{}");
    assert_eq!(shown.send().await.unwrap().status(), StatusCode::CREATED);

    let peer = cluster.coordinator.peers();
    let peer = peer.iter().next().unwrap().contact().clone();
    let stranger = Http::new(&HttpOptions::default()).unwrap();
    let error = stranger.put(&peer, "key", "{}".into()).await.unwrap_err();
    let error = error.downcast::<PeerError>().unwrap();
    assert!(
        matches!(&*error, PeerError::Refused { status: 401, code } if code == "UNAUTHORIZED"),
        "{error}"
    );
}

#[tokio::test]
async fn other_machines_need_a_token() {
    let everywhere = "0.0.0.0:0";
    let options = ServerOptions::default();
    let refused = serve_peers(everywhere, Memory::default(), &options).await;
    assert!(matches!(refused, Err(BindError::NeedsToken { .. })));
    let bound = serve_peers(everywhere, Memory::default(), &with_token()).await;
    assert!(bound.is_ok());
}

#[tokio::test]
async fn a_level_that_is_out_of_reach_is_an_error_with_the_key_to_repeat_it() {
    let cluster = cluster(three(), ServerOptions::default()).await;
    for store in &cluster.stores[1..] {
        store.set(Mood::Fails);
    }
    let body = refused(post(&cluster, "", "{}").await, 500, "NOT_REACHED").await;
    assert!(!body.to_string().contains("secret detail"), "{body}");
    assert_eq!(body["error"]["retryable"], true);
    let key = body["key"].as_str().unwrap().to_owned();
    cluster.stores[2].set(Mood::Stores);
    let again = post(&cluster, &format!("?key={key}"), "{}").await;
    assert_eq!(again.status(), StatusCode::CREATED);
    assert!(cluster.stores[2].get(&key).is_some());
}

#[tokio::test]
async fn a_key_with_another_event_is_refused_by_name() {
    let cluster = cluster(three(), ServerOptions::default()).await;
    // Any text is a key.
    let key = "?key=%C3%A4%20%26%2F";
    assert_eq!(post(&cluster, key, "1").await.status(), StatusCode::CREATED);
    cluster.coordinator.settle().await;
    for store in &cluster.stores {
        assert_eq!(store.get("ä &/").unwrap(), "1");
    }
    assert_eq!(post(&cluster, key, "1").await.status(), StatusCode::CREATED);
    let body = refused(post(&cluster, key, "2").await, 409, "KEY_TAKEN").await;
    assert_eq!(body["error"]["retryable"], false);
    let put = cluster.coordinator.put("ä &/", "2").await.unwrap_err();
    let Error::NotReached { failures, .. } = put else {
        panic!("{put}");
    };
    assert!(
        failures
            .iter()
            .all(|failure| matches!(failure.error, CopyError::KeyTaken))
    );
}

#[tokio::test]
async fn too_few_peers_and_too_many_puts_are_refused_for_a_while() {
    let settings = Settings {
        puts_max: 1,
        ..three()
    };
    let cluster = cluster(settings, ServerOptions::default()).await;
    cluster.stores[2].set(Mood::Hangs);
    assert_eq!(post(&cluster, "", "{}").await.status(), StatusCode::CREATED);
    let response = post(&cluster, "", "{}").await;
    assert_eq!(response.headers()["retry-after"], "1");
    refused(response, 503, "OVERLOADED").await;
    for peer in ["peer-1", "peer-2"] {
        cluster.coordinator.drop_peer(&PeerId::from(peer));
    }
    refused(post(&cluster, "", "{}").await, 503, "NOT_ENOUGH_PEERS").await;
}

#[tokio::test]
async fn requests_are_limited_in_number_and_in_time() {
    let store = Memory::default();
    store.set(Mood::Hangs);
    let options = ServerOptions {
        requests_max: 1,
        request_timeout: Duration::from_millis(300),
        ..ServerOptions::default()
    };
    let server = serve_peers(LOOPBACK, store.clone(), &options)
        .await
        .unwrap();
    let url = format!("{}{PEER_PATH}?key=key", server.url());
    let client = Client::new();
    let put = || client.post(&url).body("{}").send();
    let (first, second) = tokio::join!(put(), put());
    let mut codes = [first.unwrap(), second.unwrap()].map(|response| response.status().as_u16());
    codes.sort_unstable();
    assert_eq!(
        codes,
        [503, 504],
        "one has the place, and its time is limited"
    );
    let late = refused(put().await.unwrap(), 504, "INDETERMINATE").await;
    assert_eq!(late["key"], "key");
    store.set(Mood::Stores);
    assert_eq!(put().await.unwrap().status(), StatusCode::CREATED);

    let mut slow = tokio::net::TcpStream::connect(server.address())
        .await
        .unwrap();
    let head =
        format!("POST {PEER_PATH}?key=slow HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n");
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut slow, &mut answer)
        .await
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(store.get("slow"), None);
}

#[tokio::test]
async fn peers_that_are_gone_silent_or_no_peers_are_told_apart() {
    let gone = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let peer = |address: SocketAddr| format!("http://{address}").parse::<PeerUrl>().unwrap();
    let failed = async |address| {
        let error = http().put(&peer(address), "key", "{}".into()).await;
        *error.unwrap_err().downcast::<PeerError>().unwrap()
    };
    assert!(matches!(failed(address).await, PeerError::NotReached(_)));

    let other = axum::Router::new().route(PEER_PATH, axum::routing::post(async || "welcome"));
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, other).await });
    let status = 200;
    assert!(
        matches!(failed(address).await, PeerError::Foreign { status: found } if found == status)
    );

    let closing = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = closing.local_addr().unwrap();
    tokio::spawn(async move { while closing.accept().await.is_ok() {} });
    assert!(matches!(failed(address).await, PeerError::Unknown(_)));

    let silent = TcpListener::bind(LOOPBACK).await.unwrap();
    let settings = Settings {
        replication_factor: 2,
        copy_timeout: Duration::from_millis(100),
        ..Settings::default()
    };
    let coordinator = Coordinator::new(Memory::default(), http(), settings).unwrap();
    let url = peer(silent.local_addr().unwrap());
    coordinator.add_peer("silent", url, Place::SameZone);
    let put = coordinator.put_at("key", "{}", CommitLevel::All).await;
    let Err(Error::NotReached { failures, .. }) = put else {
        panic!("{put:?}");
    };
    assert!(matches!(failures[0].error, CopyError::TimedOut(_)));
}
