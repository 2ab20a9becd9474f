//! Any coordinator takes any request.

use std::time::Duration;

use serde_json::json;
use shardwright_coordinator::http::{FORWARDED, Settings};
use tokio::net::TcpListener;

use crate::setting::{Answer, Server, memory, name, two, two_with, wait};

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_lets_the_leader_answer() {
    let (leader, standby) = two().await;
    let added = standby
        .post("/api/v1/partitions", json!({"ids": ["a", "b"]}))
        .await;
    assert_eq!(added.ok(), json!({"changes": 2}));
    let at = added.revision.expect("a revision");
    for server in [&leader, &standby] {
        let shards = server.get(&format!("/api/v1/shards?at={at}")).await.ok();
        assert_eq!(shards.as_array().map(Vec::len), Some(2));
    }
    let exists = standby
        .post("/api/v1/partitions", json!({"ids": ["a"]}))
        .await;
    assert_eq!(exists.refused(409, "EXISTS")["ids"], json!(["a"]));
    let leading = |answer: &Answer| answer.ok()["leading"].clone();
    assert_eq!(leading(&leader.get("/api/v1/status").await), true);
    assert_eq!(leading(&standby.get("/api/v1/status").await), false);
    assert_eq!(standby.get("/api/v1/plans").await.ok()["moves"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_passed_on_once() {
    let (_leader, standby) = two().await;
    let url = format!("{}/api/v1/rebalance", standby.url);
    let request = reqwest::Client::new().post(url).header(FORWARDED, "c9");
    let answer = Answer::of(request).await;
    assert_eq!(answer.refused(503, "NO_LEADER")["retryable"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_freezes_is_not_waited_for_for_ever() {
    let settings = Settings {
        leader_wait: Duration::from_millis(50),
        command_timeout: Duration::from_millis(50),
        request_timeout: Duration::from_millis(200),
        ..Settings::default()
    };
    let (leader, standby) = two_with(settings).await;
    // It takes connections, and answers nothing.
    let frozen = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", frozen.local_addr().expect("an address"));
    leader.api.announce(&address).await.expect("a store");
    let leave = json!({"version": 1, "id": "w1", "incarnation": 1, "gone": false});
    let (command, leave, events, plans) = tokio::join!(
        standby.post("/api/v1/rebalance", json!({})),
        standby.post("/shardz/v1/leave", leave),
        standby.get("/api/v1/events?since=0"),
        standby.get("/api/v1/plans"),
    );
    assert_eq!(command.refused(504, "INDETERMINATE")["retryable"], false);
    leave.refused(504, "INDETERMINATE");
    assert_eq!(events.refused(503, "LEADER_UNREACHABLE")["retryable"], true);
    assert_eq!(plans.refused(503, "TIMEOUT")["retryable"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_takes_over_with_everything() {
    let (leader, standby) = two().await;
    standby
        .post("/api/v1/partitions", json!({"ids": ["a"]}))
        .await
        .ok();
    let home = standby.post(
        "/allocate",
        json!({"primaryKey": "k", "availableShards": ["x", "y"]}),
    );
    let home = home.await.ok()["shard"].clone();
    assert_eq!(
        standby.post("/sequence", json!({"name": "s"})).await.ok()["value"],
        1
    );
    leader.stop().await;
    standby.handle().view_when(|view| view.is_leading).await;
    standby
        .post("/api/v1/partitions", json!({"ids": ["b"]}))
        .await
        .ok();
    let again = standby.post(
        "/allocate",
        json!({"primaryKey": "k", "strategy": "random"}),
    );
    assert_eq!(again.await.ok()["shard"], home);
    assert_eq!(
        standby.post("/sequence", json!({"name": "s"})).await.ok()["value"],
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_leader_commands_may_be_repeated_and_allocations_are_answered() {
    let store = memory();
    let settings = Settings {
        leader_wait: Duration::from_millis(50),
        ..Settings::default()
    };
    let leader = Server::start(&store, 1, settings.clone()).await;
    leader.handle().view_when(|view| view.is_leading).await;
    // One that leads without being there: its lease is renewed by nobody, and its address by nobody answered.
    let standby = Server::start(&store, 2, settings).await;
    let knows = |view: &shardwright_coordinator::core::View| view.leader == Some(name("c1"));
    standby.handle().view_when(knows).await;
    let url = leader.url.clone();
    // The server ends and its coordinator leads on.
    let Server { coordinator, .. } = leader.without_server().await;
    let refused = standby.post("/api/v1/rebalance", json!({})).await;
    assert_eq!(
        refused.refused(503, "LEADER_UNREACHABLE")["retryable"],
        true
    );
    assert!(reqwest::get(url).await.is_err(), "nobody listens there");
    drop(coordinator);
    wait("the standby to lead", async || {
        standby.post("/api/v1/rebalance", json!({})).await.status == 200
    })
    .await;
}
