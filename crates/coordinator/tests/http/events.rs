//! The stream of events.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use shardwright_coordinator::http::Settings;

use crate::setting::{Server, leader, two, worker};

/// An event as it came: its id, its kind and its data.
type Shown = (String, String, Value);

/// A stream of events that is read piece by piece.
struct Reader {
    response: reqwest::Response,
    text: String,
}

impl Reader {
    async fn open(server: &Server, last: Option<&str>) -> Self {
        let reader = Self::ask(server, last).await;
        assert_eq!(reader.response.status(), 200);
        assert_eq!(
            reader.response.headers()["content-type"],
            "text/event-stream"
        );
        reader
    }

    async fn ask(server: &Server, last: Option<&str>) -> Self {
        let mut request = reqwest::Client::new().get(format!("{}/api/v1/events", server.url));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("the server answers");
        let text = String::new();
        Self { response, text }
    }

    /// The next event, comments left out; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Shown> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                let field = |name: &str| {
                    let lines = block.lines().map(|line| line.split_once(": "));
                    let mut found = lines.flatten().filter(|(field, _)| *field == name);
                    found.next().map(|(_, value)| value.to_owned())
                };
                if let Some(data) = field("data") {
                    let data = serde_json::from_str(&data).expect("JSON");
                    let id = field("id").expect("an id");
                    return Some((id, field("event").expect("a kind"), data));
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await;
            let chunk = chunk.expect("something within the time").ok()??;
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_shown_as_they_happen_and_replayed_after_the_last_seen() {
    let (first, second) = two().await;
    // Through the standby: the stream is the leader's.
    let mut reader = Reader::open(&second, None).await;
    let _worker = worker("w1", &[&first], None).await;
    let (id, kind, data) = reader.next().await.expect("an event");
    assert_eq!((kind.as_str(), &data["node"]), ("node-up", &json!("w1")));
    assert_eq!(data["event"], "node-up");
    assert!(data["at_ms"].as_u64() > Some(1_500_000_000_000), "{data}");
    drop(reader);

    first
        .post("/api/v1/partitions", json!({"ids": ["a"]}))
        .await
        .ok();
    let mut reader = Reader::open(&first, Some(&id)).await;
    let (next, kind, data) = reader.next().await.expect("an event");
    assert_eq!((kind.as_str(), &data["to"]), ("assigned", &json!("w1")));
    assert_ne!(next, id);

    // The same events as a list.
    let since = format!("/api/v1/events?since={id}&limit=1");
    let list = second.get(&since).await.ok();
    assert_eq!(
        (&list[0]["id"], list[0]["event"].as_str()),
        (&json!(next), Some("assigned"))
    );
    let all = second.get("/api/v1/events?since=0").await.ok();
    assert_eq!(all[0]["event"], "leading", "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_leadership_and_goes_on_at_the_next_leader() {
    let (first, second) = two().await;
    let mut reader = Reader::open(&second, Some("00-0")).await;
    let (last, kind, _) = reader.next().await.expect("an event");
    assert_eq!(kind, "leading");
    first.stop().await;
    while reader.next().await.is_some() {}
    second.handle().view_when(|view| view.is_leading).await;
    // The id is of another process's events: all of this one's are new.
    let mut reader = Reader::open(&second, Some(&last)).await;
    let (_, kind, data) = reader.next().await.expect("an event");
    assert_eq!(
        (kind.as_str(), &data["coordinator"]),
        ("leading", &json!("c2"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_shows_that_it_lives_and_there_are_not_too_many() {
    let settings = Settings {
        keep_alive: Duration::from_millis(10),
        streams_max: 1,
        ..Settings::default()
    };
    let server = leader(settings).await;
    let url = format!("{}/api/v1/events", server.url);
    let response = reqwest::get(url).await.expect("the server answers");
    let mut chunks = response.bytes_stream();
    let comment = chunks.next().await.expect("a chunk").expect("a chunk");
    assert!(comment.starts_with(b":\n\n"), "{comment:?}");
    server
        .get("/api/v1/events")
        .await
        .refused(503, "OVERLOADED");
    drop(chunks);
    // The place is free once the server has noticed.
    let mut reader = loop {
        let reader = Reader::ask(&server, Some("00-0")).await;
        if reader.response.status() == 200 {
            break reader;
        }
        assert_eq!(reader.response.status(), 503);
    };
    reader.next().await.expect("an event");
    // The server does not wait for readers.
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_refused_as_everywhere() {
    let (leader, standby) = two().await;
    for server in [&leader, &standby] {
        for query in ["bogus=1", "limit=x", "since=0&limit=-1"] {
            let answer = server.get(&format!("/api/v1/events?{query}")).await;
            answer.refused(400, "BAD_REQUEST");
        }
    }
}
