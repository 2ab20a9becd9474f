//! The admin API.

use reqwest::Method;
use serde_json::{Value, json};
use shardwright_coordinator::http::Settings;

use crate::setting::{Server, Working, leader, metrics, wait, worker};

fn names(list: &Value, field: &str) -> Vec<String> {
    let items = list.as_array().expect("a list").iter();
    let text = |item: &Value| item[field].as_str().expect("a text").to_owned();
    items.map(text).collect()
}

/// Waits until as many nodes are up.
async fn up(server: &Server, count: u64) {
    wait("the nodes to be up", async || {
        server.get("/api/v1/status").await.ok()["nodes_up"] == count
    })
    .await;
}

async fn assignments(server: &Server) -> Vec<Value> {
    let list = server.get("/api/v1/assignments").await.ok();
    list.as_array().expect("a list").clone()
}

/// A leader, and two workers that it takes for up.
async fn with_two_workers() -> (Server, [Working; 2]) {
    let server = leader(Settings::default()).await;
    let workers = [
        worker("w1", &[&server], None).await,
        worker("w2", &[&server], None).await,
    ];
    up(&server, 2).await;
    (server, workers)
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_added_assigned_moved_and_removed() {
    let (server, _workers) = with_two_workers().await;
    let body = json!({"ids": ["a", "b", "c", "d"]});
    let added = server.post("/api/v1/partitions", body).await;
    assert_eq!(added.ok(), json!({"changes": 4}));

    let shards = server.get("/api/v1/shards").await;
    assert!(shards.revision >= added.revision, "{shards:?}");
    assert_eq!(names(&shards.ok(), "id"), ["a", "b", "c", "d"]);
    wait("all to be assigned", async || {
        assignments(&server).await.len() == 4
    })
    .await;
    let nodes = server.get("/api/v1/nodes").await.ok();
    assert_eq!(names(&nodes, "id"), ["w1", "w2"]);
    assert_eq!(
        (&nodes[0]["shards"], &nodes[1]["shards"]),
        (&json!(2), &json!(2))
    );

    let first = assignments(&server).await.remove(0);
    let fields: Vec<&String> = first.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["epoch", "node", "replica", "role", "shard"]);
    let other = if first["node"] == "w1" { "w2" } else { "w1" };
    let moved = server
        .post("/api/v1/move", json!({"shard": "a", "to": other}))
        .await;
    let note = "only the assignment changes, no data is moved";
    assert_eq!(moved.ok(), json!({"changes": 1, "note": note}));
    wait("the shard to have moved", async || {
        let now = assignments(&server).await.remove(0);
        now["node"] == other && now["epoch"].as_u64() > first["epoch"].as_u64()
    })
    .await;
    let again = server
        .post("/api/v1/move", json!({"shard": "a", "to": other}))
        .await;
    again.refused(409, "HOLDS");

    let removed = server
        .delete("/api/v1/partitions", json!({"ids": ["a", "b"]}))
        .await;
    assert_eq!(removed.ok()["changes"], 2);
    let shards = server.get("/api/v1/shards").await.ok();
    assert_eq!(names(&shards, "id"), ["c", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_stays_where_somebody_has_put_it_unless_they_say_otherwise() {
    let (server, _workers) = with_two_workers().await;
    let ids = json!({"ids": ["a", "b"]});
    server.post("/api/v1/partitions", ids).await.ok();
    let on = async |shard: &str, node: &str| {
        wait("a partition to be there", async || {
            let all = assignments(&server).await;
            let mut all = all.iter();
            all.any(|known| known["shard"] == shard && known["node"] == node)
        })
        .await;
    };
    wait("both to be assigned", async || {
        assignments(&server).await.len() == 2
    })
    .await;
    let first = assignments(&server).await;
    let node = |place: usize| first[place]["node"].as_str().expect("a name");
    let (here, there) = (node(0), node(1));
    let put = async |shard: &str, to: &str, pin: bool| {
        let body = json!({"shard": shard, "to": to, "pin": pin});
        wait("it to be moved", async || {
            // What moves is refused for a moment.
            let answer = server.post("/api/v1/move", body.clone()).await;
            answer.status == 200
        })
        .await;
    };
    put("a", there, true).await;
    // The other one gives way.
    on("b", here).await;
    put("b", there, true).await;
    on("b", there).await;
    put("b", here, true).await;
    on("b", here).await;
    // One of the two has to go, and one of them is to stay.
    put("a", here, false).await;
    on("a", there).await;
    on("b", here).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_do_not_fit_change_nothing() {
    let server = leader(Settings::default()).await;
    server
        .post("/api/v1/partitions", json!({"ids": ["a"]}))
        .await
        .ok();
    let exists = server
        .post("/api/v1/partitions", json!({"ids": ["b", "a"]}))
        .await;
    assert_eq!(exists.refused(409, "EXISTS")["ids"], json!(["a"]));
    let twice = server
        .post("/api/v1/partitions", json!({"ids": ["b", "b"]}))
        .await;
    assert_eq!(twice.refused(409, "DUPLICATE")["ids"], json!(["b"]));
    let unknown = server
        .delete("/api/v1/partitions", json!({"ids": ["a", "x"]}))
        .await;
    assert_eq!(unknown.refused(404, "SHARD_NOT_FOUND")["ids"], json!(["x"]));
    let copies = json!({"ids": ["b"], "replicas": 2});
    server
        .post("/api/v1/partitions", copies)
        .await
        .refused(409, "COPIES");
    let shards = server.get("/api/v1/shards").await.ok();
    assert_eq!(names(&shards, "id"), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_understood_says_why() {
    let server = leader(Settings::default()).await;
    for (path, body) in [
        ("partitions", "{"),
        ("partitions", "{}"),
        ("partitions", r#"{"ids": []}"#),
        ("partitions", r#"{"ids": ["no name"]}"#),
        ("partitions", r#"{"ids": ["a"], "replicas": 0}"#),
        ("partitions", r#"{"ids": ["a"], "replica": 1}"#),
        ("move", r#"{"shard": "a"}"#),
        ("promote", r#"{"shard": "a", "node": "n", "force": 1}"#),
        ("rebalance", r#"{"now": true}"#),
    ] {
        let path = format!("/api/v1/{path}");
        let answer = server.call(Method::POST, &path, body).await;
        let message = answer.refused(400, "BAD_REQUEST")["message"].clone();
        assert!(
            message.as_str().is_some_and(|text| text.len() > 10),
            "{answer:?}"
        );
    }
    for path in ["shards?keyspaces=main", "nodes?at=now", "events?since=x"] {
        let answer = server.get(&format!("/api/v1/{path}")).await;
        answer.refused(400, "BAD_REQUEST");
    }
    let unknown = json!({"shard": "a", "to": "w9"});
    server
        .post("/api/v1/move", unknown)
        .await
        .refused(404, "SHARD_NOT_FOUND");
    let drain = server.post("/api/v1/drain", json!({"node": "w9"})).await;
    drain.refused(404, "UNKNOWN_NODE");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_versions_and_methods_have_the_same_shape() {
    let server = leader(Settings::default()).await;
    let other = server.get("/api/v2/nodes").await.refused(404, "NOT_FOUND");
    assert_eq!(other["hint"], "this server speaks version 1: /api/v1");
    let missing = server
        .get("/api/v1/nothing")
        .await
        .refused(404, "NOT_FOUND");
    assert_eq!(missing["hint"], Value::Null);
    for path in ["/api/v1/nodes", "/livez", "/allocate", "/api/v1/partitions"] {
        let answer = server.call(Method::PUT, path, "").await;
        answer.refused(405, "METHOD_NOT_ALLOWED");
        assert!(answer.allow.is_some(), "{answer:?}");
    }
    server
        .post("/flush", json!({}))
        .await
        .refused(404, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_loses_its_shards() {
    let (server, _workers) = with_two_workers().await;
    let ids: Vec<String> = (0..10).map(|number| format!("p{number}")).collect();
    server
        .post("/api/v1/partitions", json!({"ids": ids}))
        .await
        .ok();
    wait("all to be assigned", async || {
        assignments(&server).await.len() == 10
    })
    .await;
    server
        .post("/api/v1/drain", json!({"node": "w1"}))
        .await
        .ok();
    wait("the drained node to be empty", async || {
        let list = server.get("/api/v1/assignments?node=w2").await.ok();
        list.as_array().map(Vec::len) == Some(10)
    })
    .await;
    let nodes = server.get("/api/v1/nodes?node=w1").await.ok();
    assert_eq!(
        (&nodes[0]["state"], &nodes[0]["shards"]),
        (&json!("draining"), &json!(0))
    );
    let plan = server.get("/api/v1/plans").await.ok();
    assert_eq!(plan["moves"], json!([]), "{plan}");
    server
        .call(Method::POST, "/api/v1/rebalance", "")
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_not_answered_yet_may_be_asked_again() {
    let server = leader(Settings::default()).await;
    let added = json!({"ids": ["a"]});
    server.post("/api/v1/partitions", added).await.ok();
    // Nobody answers there.
    let register = json!({"version": 1, "id": "w1", "address": "http://127.0.0.1:9"});
    server.post("/shardz/v1/register", register).await.ok();
    let known = server.handle().view_when(|view| !view.nodes.is_empty());
    known.await.expect("it runs");
    let to_it = json!({"shard": "a", "to": "w1"});
    let refused = server.post("/api/v1/move", to_it.clone()).await;
    let error = refused.refused(503, "NODE_NOT_READY");
    assert_eq!(error["retryable"], true);
    wait("the session to be given up", async || {
        server.post("/api/v1/move", to_it.clone()).await.status == 409
    })
    .await;
    let refused = server.post("/api/v1/move", to_it).await;
    let error = refused.refused(409, "NOT_ACCEPTING");
    assert_eq!(error["retryable"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_wait_for_the_revision_that_is_asked_for() {
    let settings = Settings {
        leader_wait: std::time::Duration::from_millis(50),
        ..Settings::default()
    };
    let server = leader(settings).await;
    let added = server
        .post("/api/v1/partitions", json!({"ids": ["a"]}))
        .await;
    let at = added.revision.expect("a revision");
    let shards = server.get(&format!("/api/v1/shards?at={at}")).await;
    assert_eq!(names(&shards.ok(), "id"), ["a"]);
    let later = server.get("/api/v1/shards?at=1000000").await;
    assert_eq!(later.refused(503, "BEHIND")["retryable"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_version_are_there() {
    let server = leader(Settings::default()).await;
    assert_eq!(server.get("/livez").await.text, "ok\n");
    assert_eq!(server.get("/healthz").await.text, "ok\n");
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text.contains("[+] leader: c1, term 1"), "{ready:?}");
    let version = server.get("/version").await.ok();
    assert_eq!(
        (&version["api"], &version["protocol"]),
        (&json!("v1"), &json!(1))
    );
    server.get("/metrics").await.refused(404, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_follow_what_happens() {
    let settings = Settings {
        metrics: Some(metrics()),
        ..Settings::default()
    };
    let server = leader(settings).await;
    let first = worker("m1", &[&server], None).await;
    up(&server, 1).await;
    server
        .post("/api/v1/partitions", json!({"ids": ["counted"]}))
        .await
        .ok();
    wait("the shard to be assigned", async || {
        !assignments(&server).await.is_empty()
    })
    .await;
    let held = json!({"shard": "counted", "to": "m1"});
    server
        .post("/api/v1/move", held)
        .await
        .refused(409, "HOLDS");
    shows(
        &server,
        &[
            "shardwright_shard_assignments{node=\"m1\"} 1",
            "shardwright_rpc_requests_total{shard=\"counted\",method=\"move\",outcome=\"HOLDS\"} 1",
            "shardwright_http_requests_total{path=\"/api/v1/move\",method=\"POST\",status=\"409\"}",
            "shardwright_events_total{event=\"assigned\"}",
            "shardwright_coordinator_leading",
        ],
    )
    .await;
    let _second = worker("m2", &[&server], None).await;
    up(&server, 2).await;
    first.server.abort();
    shows(
        &server,
        &[
            "shardwright_failover_events_total{shard=\"counted\",from=\"m1\",to=\"m2\"} 1",
            "shardwright_shard_assignments{node=\"m1\"} 0",
            "shardwright_shard_assignments{node=\"m2\"} 1",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_methods_are_counted_as_one() {
    let settings = Settings {
        metrics: Some(metrics()),
        ..Settings::default()
    };
    let server = leader(settings).await;
    for method in ["BREW", "WHEN"] {
        let method = method.parse().expect("a method");
        let answer = server.call(method, "/version", "").await;
        answer.refused(405, "METHOD_NOT_ALLOWED");
    }
    let text = server.get("/metrics").await.text;
    let counted =
        "shardwright_http_requests_total{path=\"/version\",method=\"other\",status=\"405\"} 2";
    assert!(text.contains(counted), "{text}");
    assert!(!text.contains("BREW"), "{text}");
}

/// Waits until the metrics have these lines.
async fn shows(server: &Server, lines: &[&str]) {
    wait(&lines.join(" and "), async || {
        let text = server.get("/metrics").await.text;
        lines.iter().all(|line| text.contains(line))
    })
    .await;
}
