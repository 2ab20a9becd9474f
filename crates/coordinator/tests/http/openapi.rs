//! The OpenAPI files against what the servers do: every operation is called, every field is seen, nothing is said that is not
//! described.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{Router, routing::post};
use reqwest::Method;
use serde_json::{Value, json};
use shardwright_coordinator::{
    core::{Notice, TroubleView},
    http::Settings,
    protocol::{Pong, Report, ReportedState, TroubleKind},
};
use shardwright_rebalancer::{
    Crowded, Move, PartitionId, Plan, Reason, Step, Stuck, UnderReplicated,
    sharder::Error as SharderError,
};
use shardwright_topology::{Epoch, Incarnation, ShardId};
use tokio::net::TcpListener;

use crate::{
    balance::{call_about_balance, notices_of_balance},
    copies::{check_instructions, copy_state, copy_trouble, notices_of_copies},
    operations::{call_about_operations, notices_of_operations},
    schema::Document,
    setting::{Answer, Server, leader, leader_of_copies, metrics, name, wait, worker},
};

async fn call(document: &Document, server: &Server, method: Method, path: &str, body: &str) {
    let (plain, _) = path.split_once('?').unwrap_or((path, ""));
    call_as(plain, document, server, method, path, body).await;
}

/// Calls what the file has under another name: with parameters in its path.
pub(crate) async fn call_as(
    described: &str,
    document: &Document,
    server: &Server,
    method: Method,
    path: &str,
    body: &str,
) -> Answer {
    let answer = server.call(method.clone(), path, body).await;
    let method = method.as_str().to_lowercase();
    document.check_call(&method, described, body, answer.status, &answer.text);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_file_describes_the_coordinator() {
    let document = Document::read("admin.json");
    let settings = Settings {
        allow_flush: true,
        metrics: Some(metrics()),
        ..Settings::default()
    };
    let server = leader(settings).await;
    let _workers = [
        worker("w1", &[&server], None).await,
        worker("w2", &[&server], None).await,
    ];
    wait("the nodes to be up", async || {
        server.get("/api/v1/status").await.ok()["nodes_up"] == 2
    })
    .await;
    let body = json!({"ids": ["a", "b", "c"], "replicas": 1}).to_string();
    call(
        &document,
        &server,
        Method::POST,
        "/api/v1/partitions",
        &body,
    )
    .await;
    wait("all to be assigned", async || {
        server.get("/api/v1/status").await.ok()["assigned"] == 3
    })
    .await;
    let assigned = server.get("/api/v1/assignments").await.ok();
    let from = assigned[0]["node"].as_str().expect("a node");
    let to = if from == "w1" { "w2" } else { "w1" };
    let command = json!({"shard": "a", "keyspace": "partitions", "from": from, "to": to});
    call(
        &document,
        &server,
        Method::POST,
        "/api/v1/move",
        &command.to_string(),
    )
    .await;
    wait("the shard to have moved", async || {
        let list = server.get("/api/v1/assignments").await.ok();
        list[0]["node"] == to && server.get("/api/v1/status").await.ok()["moving"] == 0
    })
    .await;
    call_the_rest(&document, &server, to).await;
    call_about_copies(&document).await;
    call_about_operations(&document).await;
    call_about_balance(&document).await;
    call_collegedb(&document, &server).await;
    check_what_is_rare(&document);
    assert_eq!(
        document.never_answered(),
        [""; 0],
        "every operation succeeds"
    );
    assert_eq!(document.never_seen(), [""; 0], "every field is there");
}

/// Two copies of a partition, and another one of its name.
async fn call_about_copies(document: &Document) {
    let server = leader_of_copies(2).await;
    let _workers = [
        worker("w1", &[&server], None).await,
        worker("w2", &[&server], None).await,
    ];
    let body = json!({"ids": ["a"]}).to_string();
    let path = "/api/v1/partitions";
    call(document, &server, Method::POST, path, &body).await;
    let exists = server.call(Method::POST, path, &body).await;
    assert_eq!(exists.refused(409, "EXISTS")["ids"], json!(["a"]));
    call(document, &server, Method::POST, path, &body).await;
    wait("both copies to be assigned", async || {
        let list = server.get("/api/v1/assignments").await.ok();
        list.as_array().map(Vec::len) == Some(2)
    })
    .await;
    let shards = server.get("/api/v1/shards").await.ok();
    assert_eq!(shards[0]["replicas"].as_array().map(Vec::len), Some(1));
    call(document, &server, Method::GET, "/api/v1/shards", "").await;
}

async fn call_the_rest(document: &Document, server: &Server, holder: &str) {
    let gets = [
        "/api/v1/nodes",
        "/api/v1/shards?keyspace=partitions",
        "/api/v1/shards?leader=true",
        "/api/v1/assignments",
        "/api/v1/status",
        "/api/v1/plans",
        "/api/v1/events?since=0",
        "/api/v1/events?since=0&limit=many",
        "/api/v1/events?bogus=1",
        "/livez",
        "/healthz",
        "/readyz",
        "/metrics",
        "/version",
    ];
    for path in gets {
        call(document, server, Method::GET, path, "").await;
    }
    let posts = [
        // Promoting the one copy is granted at once.
        (
            "promote",
            json!({"shard": "a", "keyspace": "partitions", "node": holder, "force": true}),
        ),
        ("promote", json!({"shard": "x", "node": "w1"})),
        (
            "promote",
            json!({"shard": "a", "node": "w1", "accept_data_loss": "a", "by": "Ada"}),
        ),
        ("move", json!({"shard": "a"})),
        ("replace", json!({"node": "w1", "by": "w2"})),
        ("replace", json!({"node": "w1", "by": "w1"})),
        ("remove", json!({"node": "w1"})),
        ("drain", json!({"node": "w1"})),
        ("drain", json!({"node": "w9"})),
        ("rebalance", json!({})),
    ];
    for (path, body) in posts {
        let path = format!("/api/v1/{path}");
        call(document, server, Method::POST, &path, &body.to_string()).await;
    }
    for body in [json!({"ids": ["c"]}), json!({"ids": ["x"]})] {
        let path = "/api/v1/partitions";
        call(document, server, Method::DELETE, path, &body.to_string()).await;
    }
    leave(server).await;
    let body = json!({"node": "w3"}).to_string();
    call(document, server, Method::POST, "/api/v1/remove", &body).await;
}

/// Registers a worker, and waits until it is known that it has gone.
async fn leave(server: &Server) {
    let register = json!({"version": 1, "id": "w3", "address": "http://127.0.0.1:9"});
    let registered = server.post("/shardz/v1/register", register).await.ok();
    let leave = json!({
        "version": 1, "id": "w3", "incarnation": registered["incarnation"], "gone": true,
    });
    wait("the leader to know the worker", async || {
        let left = server.post("/shardz/v1/leave", leave.clone()).await;
        left.status == 200
    })
    .await;
    wait("the worker to be down", async || {
        let nodes = server.get("/api/v1/nodes?node=w3").await.ok();
        nodes[0]["state"] == "down"
    })
    .await;
}

async fn call_collegedb(document: &Document, server: &Server) {
    let posts = [
        ("/shards", json!({"shard": "db-east"})),
        ("/stats", json!({"shard": "db-east", "count": 7})),
        ("/stats", json!({"shard": "db-east", "change": -2})),
        ("/stats", json!({"shard": "none", "count": 7})),
        ("/allocate", json!({"primaryKey": "k"})),
        ("/allocate", json!({"primaryKey": ""})),
        (
            "/allocate",
            json!({
                "primaryKey": "l",
                "operationType": "write",
                "strategy": {"read": "hash", "write": "location"},
                "availableShards": ["db-east", "db-west"],
                "targetRegion": "wnam",
                "shardLocations": {"db-east": "enam", "db-west": {"region": "wnam", "priority": 2}},
            }),
        ),
        ("/sequence", json!({"name": "s", "min": 5})),
        ("/sequence", json!({"name": ""})),
    ];
    for (path, body) in posts {
        call(document, server, Method::POST, path, &body.to_string()).await;
    }
    for path in ["/shards", "/stats", "/health"] {
        call(document, server, Method::GET, path, "").await;
    }
    let body = json!({"shard": "db-east"}).to_string();
    call(document, server, Method::DELETE, "/shards", &body).await;
    call(document, server, Method::POST, "/flush", "").await;
}

/// What takes a failure to be shown: the types that the server shows it with.
fn check_what_is_rare(document: &Document) {
    let partition = PartitionId::from(ShardId::numbered(0));
    let moves = [
        Step::Promote { to: name("n") },
        Step::Move {
            from: name("m"),
            to: name("n"),
        },
    ];
    let plan = Plan {
        moves: moves
            .map(|step| Move {
                partition: partition.clone(),
                step,
                reason: Reason::NodeDown,
            })
            .to_vec(),
        under_replicated: vec![UnderReplicated {
            partition: partition.clone(),
            has: 1,
            wants: 2,
        }],
        crowded: vec![Crowded {
            partition: partition.clone(),
            has: 1,
            wants: 2,
        }],
        stuck: vec![Stuck {
            partition: partition.clone(),
            node: name("n"),
        }],
        ..Plan::default()
    };
    let refusals = [
        SharderError::UnknownNode { node: name("n") },
        SharderError::UnknownPartition {
            partition: partition.clone(),
        },
    ];
    for refused in refusals {
        let plan = Plan {
            refused: Some(refused),
            ..plan.clone()
        };
        let mut shown = serde_json::to_value(plan).expect("JSON");
        shown["moving"] = 0.into();
        document.check("Plan", &shown);
    }
    let trouble = TroubleView {
        node: name("n"),
        kind: TroubleKind::Unusable,
        error: "no".to_owned(),
    };
    document.check("Trouble", &serde_json::to_value(trouble).expect("JSON"));
    let accepting = json!({"shard": "a", "node": "n", "accept_data_loss": "a", "by": "Ada"});
    document.check("Promote", &accepting);
    let begun = json!({"changes": 1, "operation": "move-1"});
    document.check("Done", &begun);
    for notice in rare_notices(partition) {
        let mut shown = serde_json::to_value(&notice).expect("JSON");
        assert_eq!(shown["event"], notice.kind());
        shown["id"] = "00-1".into();
        shown["at_ms"] = 1.into();
        document.check("Event", &shown);
    }
}

fn rare_notices(partition: PartitionId) -> Vec<Notice> {
    let (node, incarnation) = (name("n"), Incarnation(1));
    let mut notices = notices_of_copies(&partition);
    notices.extend(notices_of_operations());
    notices.extend(notices_of_balance());
    notices.extend([
        Notice::SteppedDown {
            coordinator: name("c"),
            term: 1,
        },
        Notice::NodeDown {
            node: node.clone(),
            incarnation,
            shards: 1,
        },
        Notice::CallbackFailed {
            node: node.clone(),
            partition: partition.clone(),
            epoch: Epoch(1),
            error: "no".to_owned(),
        },
        Notice::UnderReplicated {
            partitions: 1,
            example: partition,
        },
        Notice::NoReplica { node, shards: 1 },
    ]);
    notices
}

/// Every path that the sources of the server name.
#[test]
fn no_path_of_the_server_is_left_out() {
    let documents = ["admin.json", "shardz-worker.json"].map(Document::read);
    let described: BTreeSet<String> = documents
        .iter()
        .flat_map(Document::operations)
        .map(|(_, path)| path)
        .collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut served = BTreeSet::new();
    for file in [
        "http.rs",
        "http/admin.rs",
        "http/balance.rs",
        "http/collegedb.rs",
        "http/operations.rs",
        "protocol.rs",
    ] {
        let text = fs::read_to_string(source.join(file)).expect("the file is there");
        let literals = text.split('"').skip(1).step_by(2);
        let paths = literals.filter(|text| text.starts_with('/') && !text.contains(' '));
        served.extend(paths.map(str::to_owned));
    }
    served.remove("/api/");
    assert_eq!(served, described);
}

/// A worker that keeps what it is told, as it came, and serves what it should.
async fn recording_worker(id: &str, coordinator: &Server) -> Arc<Mutex<Vec<Value>>> {
    let pings: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = pings.clone();
    let answer = async move |body: String| {
        let ping: Value = serde_json::from_str(&body).expect("JSON");
        let pong = pong_to(&ping);
        kept.lock().expect("no panic").push(ping);
        axum::Json(pong)
    };
    let router = Router::new().route("/shardz", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    let location = json!({"region": "eu", "zone": "a"});
    let register =
        json!({"version": 1, "id": id, "address": address, "location": location, "weight": 100});
    let document = Document::read("shardz-worker.json");
    document.check("Location", &location);
    let register = register.to_string();
    call(
        &document,
        coordinator,
        Method::POST,
        "/shardz/v1/register",
        &register,
    )
    .await;
    pings
}

/// The answer of a worker that does at once what it is told.
fn pong_to(ping: &Value) -> Value {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let lists = &ping["assignments"];
    let report = |item: &Value, state: &str| {
        json!({
            "keyspace": item["keyspace"],
            "shard": item["shard"],
            "epoch": item["epoch"],
            "state": state,
        })
    };
    let items = |name: &str| lists[name].as_array().cloned().unwrap_or_default();
    let serving = items("serve")
        .into_iter()
        .map(|item| report(&item, "serving"));
    let released = items("release")
        .into_iter()
        .map(|item| report(&item, "released"));
    json!({
        "version": 1,
        "node": ping["node"],
        "incarnation": ping["incarnation"],
        "number": NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        "term": ping["term"],
        "list": ping["list"],
        "shards": serving.chain(released).collect::<Vec<_>>(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_file_describes_both_sides() {
    let document = Document::read("shardz-worker.json");
    let server = leader(Settings::default()).await;
    let register = json!({"version": 1, "id": "w0", "address": "http://127.0.0.1:9",
        "weight": 100, "location": {"region": "eu", "zone": null}});
    let path = "/shardz/v1/register";
    call(
        &document,
        &server,
        Method::POST,
        path,
        &register.to_string(),
    )
    .await;
    let other = json!({"version": 9, "id": "w0", "address": "http://127.0.0.1:9"});
    call(&document, &server, Method::POST, path, &other.to_string()).await;

    let pings = recording_worker("w1", &server).await;
    server
        .post("/api/v1/partitions", json!({"ids": ["a", "b"]}))
        .await
        .ok();
    let has = |field: &str| {
        let pings = pings.lock().expect("no panic");
        pings.iter().any(|ping| {
            ping.pointer(field)
                .is_some_and(|value| !value.is_null() && *value != json!([]))
        })
    };
    wait("a list and a grant", async || {
        has("/assignments/serve") && has("/granted")
    })
    .await;
    let _second = worker("w2", &[&server], None).await;
    wait("the second worker to be up", async || {
        server.get("/api/v1/nodes?node=w2").await.ok()[0]["state"] == "up"
    })
    .await;
    let to = json!({"shard": "a", "to": "w2"});
    server.post("/api/v1/move", to).await;
    wait("a release", async || has("/assignments/release")).await;
    for ping in &*pings.lock().expect("no panic") {
        document.check("Ping", ping);
        document.check("Pong", &pong_to(ping));
    }
    check_the_library(&document, &server).await;
    let leave = json!({"version": 1, "id": "w1", "incarnation": 1, "gone": false});
    let path = "/shardz/v1/leave";
    call(&document, &server, Method::POST, path, &leave.to_string()).await;
    let unknown = json!({"version": 1, "id": "w9", "incarnation": 1, "gone": true});
    call(&document, &server, Method::POST, path, &unknown.to_string()).await;
    document.check("Leave", &leave);
    assert_eq!(
        document.never_answered(),
        [""; 0],
        "every operation succeeds"
    );
    assert_eq!(document.never_seen(), [""; 0], "every field is there");
}

/// Pings the worker library as the file says, and reads its answers by the file.
async fn check_the_library(document: &Document, server: &Server) {
    let nodes = server.get("/api/v1/nodes?node=w2").await.ok();
    let url = format!(
        "{}/shardz",
        nodes[0]["address"].as_str().expect("an address")
    );
    let ping = json!({"version": 1, "coordinator": "c9", "node": "w2", "incarnation": 1, "term": 900,
        "list": 1, "hold_ms": 1, "expired": false, "drained": false,
        "assignments": {"serve": [], "release": []}});
    document.check("Ping", &ping);
    for (status, incarnation) in [(200, 1), (409, 2)] {
        let mut ping = ping.clone();
        ping["incarnation"] = incarnation.into();
        let answer = reqwest::Client::new().post(&url).json(&ping).send().await;
        let answer = answer.expect("the worker answers");
        assert_eq!(answer.status(), status);
        let text = answer.text().await.expect("a whole answer");
        document.check_call("post", "/shardz", &ping.to_string(), status, &text);
    }
    let full = Pong {
        left: Some(Incarnation(1)),
        leaves: true,
        version: 1,
        node: name("w"),
        incarnation: Incarnation(1),
        number: 1,
        term: 1,
        list: 1,
        shards: vec![Report {
            partition: PartitionId::from(ShardId::numbered(0)),
            epoch: Epoch(1),
            state: ReportedState::Failed,
            error: Some("no".to_owned()),
            position: Some(1),
            in_sync: Some(true),
        }],
        copies: Some(vec![copy_state()]),
        troubles: vec![copy_trouble()],
    };
    document.check("Pong", &serde_json::to_value(full).expect("JSON"));
    check_instructions(document);
}
