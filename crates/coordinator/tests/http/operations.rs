//! Splits and merges over HTTP, of shards in memory.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use shardwright_coordinator::{
    core::{Notice, Settings as CoreSettings, View},
    elastic::{Journal, MemoryShardStore, RegistryJournal, Settings as Pace},
    http::Settings,
    registry::{Partitioning, Registry, Store},
};
use shardwright_topology::{
    KeyspaceName, MemberChange, NodeRecord, NodeState, Operation, OperationId, OperationKind,
    Phase, ShardId, ShardRecord,
};

use crate::{
    openapi::call_as,
    schema::Document,
    setting::{Answer, Server, TIMEOUT, leader, memory, name, wait},
};

const PATH: &str = "/api/v1/operations";

/// What happens to operations, as far as it takes a failure.
pub(crate) fn notices_of_operations() -> Vec<Notice> {
    let operation = OperationId::new("op-1").expect("a name");
    let error = "no answer".to_owned();
    vec![
        Notice::OperationBegun {
            operation: operation.clone(),
            what: OperationKind::Split,
            reason: "asked for".to_owned(),
        },
        Notice::OperationPhase {
            operation: operation.clone(),
            phase: Phase::CatchingUp,
        },
        Notice::OperationRetried {
            operation: operation.clone(),
            error: error.clone(),
        },
        Notice::OperationAborting {
            operation: operation.clone(),
            reason: error,
        },
        Notice::WritersHeldBack {
            operation: operation.clone(),
            ahead: 100,
        },
        Notice::OperationCollected { operation },
    ]
}

/// A registry with four replicated shards that nobody looks after, and the rows of these.
pub(crate) struct Scene {
    store: Arc<dyn Store>,
    shards: MemoryShardStore,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with_rows(1_000).await
    }

    async fn with_rows(rows: usize) -> Self {
        let store = memory();
        let registry = Registry::new(store.clone(), KeyspaceName::main());
        let records = ShardRecord::even(registry.name(), 4).map(ShardRecord::replicated);
        registry
            .bootstrap_with(Partitioning::Ranges, records.collect::<Vec<_>>())
            .await
            .expect("a new keyspace");
        let journal = RegistryJournal::new(registry).expect("a journal");
        let parts = journal.shards().await.expect("the shards");
        let shards = MemoryShardStore::new();
        shards.add_parts(&parts);
        for number in 0..rows {
            let key = format!("key-{number}").into_bytes();
            let owner = parts.iter().find(|part| part.extent.contains(&key));
            let owner = &owner.expect("every key has one").shard;
            shards.put(owner, &key, b"value").expect("it serves");
        }
        Self { store, shards }
    }

    async fn server(&self, number: u64, operations: Pace) -> Server {
        let core = CoreSettings {
            operations,
            ..Server::core(number, TIMEOUT)
        };
        self.server_with(core).await
    }

    /// A coordinator that is set so.
    pub(crate) async fn server_with(&self, core: CoreSettings) -> Server {
        let shards = Arc::new(self.shards.clone());
        Server::with_shards(&self.store, core, Settings::default(), Some(shards)).await
    }

    /// Writes down a node that takes part, as far as the registry knows, and never answers.
    pub(crate) async fn add_silent_node(&self, node: &str) {
        let registry = Registry::new(self.store.clone(), KeyspaceName::main());
        let record = NodeRecord {
            state: NodeState::Up,
            ..NodeRecord::new(name(node), "http://127.0.0.1:1")
        };
        let written = registry.nodes().create(&name(node), record).await;
        written.expect("the store answers");
    }

    /// A coordinator that leads, alone.
    async fn leader(&self, operations: Pace) -> Server {
        let server = self.server(1, operations).await;
        server.handle().view_when(|view| view.is_leading).await;
        server
    }

    /// Writes down a move that an operation has made before it began.
    async fn note_a_move_of(&self, operation: &str) {
        let (shard, id) = (ShardId::numbered(0), format!("{operation}-move-1"));
        let id = OperationId::new(id).expect("a name");
        let moved = Operation {
            id: id.clone(),
            keyspace: KeyspaceName::main(),
            kind: OperationKind::Migrate,
            sources: vec![shard.clone()],
            targets: vec![shard],
            phase: Phase::Done,
            error: None,
            paused: false,
            members: Some(MemberChange {
                from: name("n1"),
                to: name("n2"),
            }),
        };
        let registry = Registry::new(self.store.clone(), KeyspaceName::main());
        let written = registry.operations().create(&id, moved).await;
        written.expect("the store answers");
    }

    fn rows(&self, shard: &str) -> usize {
        let shard = ShardId::new(shard).expect("a name");
        self.shards.look(|node| node.rows(&shard).count())
    }
}

/// Operations that never get as far as to seal their sources.
fn endless() -> Pace {
    Pace {
        calm: Duration::from_secs(3_600),
        ..Pace::local()
    }
}

/// The JSON of an operation that has begun.
#[track_caller]
fn begun(answer: &Answer) -> (String, Value) {
    assert_eq!(answer.status, 202, "{answer:?}");
    let shown = answer.json();
    let id = shown["id"].as_str().expect("a name").to_owned();
    (id, shown)
}

async fn until(server: &Server, id: &str, phase: &str) -> Value {
    let path = format!("{PATH}/{id}");
    wait(phase, async || {
        server.get(&path).await.ok()["phase"] == phase
    })
    .await;
    server.get(&path).await.ok()
}

async fn shards(server: &Server) -> Vec<(String, String)> {
    let list = server.get("/api/v1/shards?keyspace=main").await.ok();
    let texts = |shard: &Value| {
        let text = |field: &str| shard[field].as_str().expect("a text").to_owned();
        (text("id"), text("state"))
    };
    list.as_array().expect("a list").iter().map(texts).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_split_and_the_split_is_undone() {
    let scene = Scene::new().await;
    let server = scene.leader(Pace::local()).await;
    let split = json!({"kind": "split", "shards": ["shard-1"]});
    let (id, shown) = begun(&server.post(PATH, split).await);
    assert_eq!(shown["sources"], json!(["shard-1"]));
    let targets: Vec<&str> = shown["targets"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|target| target.as_str().expect("a name"))
        .collect();
    let before = scene.rows("shard-1");
    let done = until(&server, &id, "done").await;
    assert_eq!(
        (&done["error"], &done["progress"]["fraction"]),
        (&Value::Null, &json!(1.0))
    );
    assert_eq!(done["targets"], shown["targets"]);
    let rows = targets.iter().map(|target| scene.rows(target));
    let rows: Vec<_> = rows.collect();
    assert!(
        rows[0].abs_diff(rows[1]) <= 1,
        "halves of {before}: {rows:?}"
    );
    wait("the view to show it", async || {
        let list = shards(&server).await;
        list.len() == 5 && list.iter().all(|(_, state)| state == "serving")
    })
    .await;
    let list = shards(&server).await;
    assert!(list.iter().all(|(id, _)| id != "shard-1"), "{list:?}");
    assert_eq!(server.get("/api/v1/status").await.ok()["shards"], 5);

    let path = format!("{PATH}/{id}/reverse");
    let (back, shown) = begun(&server.post(&path, json!({})).await);
    assert_eq!(
        (&shown["kind"], &shown["sources"]),
        (&json!("merge"), &done["targets"])
    );
    let merged = until(&server, &back, "done").await;
    let merged = merged["targets"][0].as_str().expect("a name");
    assert_eq!(scene.rows(merged), rows.iter().sum::<usize>());
    let events = server.get("/api/v1/events?since=0").await.ok();
    let count = |kind: &str| {
        let events = events.as_array().expect("a list").iter();
        events.filter(|event| event["event"] == kind).count()
    };
    assert_eq!(count("operation-begun"), 2);
    assert!(count("operation-phase") > 2, "{events}");
    assert_eq!(
        server.get(PATH).await.ok().as_array().map(Vec::len),
        Some(2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_waits_goes_on_and_is_cancelled() {
    let scene = Scene::new().await;
    let server = scene.leader(endless()).await;
    let split = json!({"kind": "split", "shards": ["shard-0"], "at": "middle"});
    let (id, shown) = begun(&server.post(PATH, split.clone()).await);
    assert_eq!(shown["at"], json!(["2000000000000000"]));
    let again = server.post(PATH, split).await.refused(409, "IN_OPERATION");
    assert_eq!(again["retryable"], true);
    let ask = async |what: &str| server.post(&format!("{PATH}/{id}/{what}"), json!({})).await;
    assert_eq!(ask("pause").await.ok()["paused"], true);
    assert_eq!(ask("resume").await.ok()["paused"], false);
    ask("reverse").await.refused(409, "TOO_LATE");
    until(&server, &id, "verified").await;
    wait("the view to show the targets", async || {
        let states = shards(&server).await;
        let importing = states.iter().filter(|(_, state)| state == "importing");
        importing.count() == 2
    })
    .await;
    assert_eq!(
        server.get("/api/v1/status").await.ok()["shards"],
        4,
        "they own nothing"
    );
    let status = server.get("/api/v1/status").await.ok();
    assert_eq!(status["operations"], 1);
    let held = server.get("/api/v1/shards").await.ok();
    let held = held.as_array().expect("a list").iter();
    assert_eq!(held.filter(|shard| shard["operation"] == id).count(), 3);
    let phase = ask("cancel").await.ok()["phase"].clone();
    assert!(phase == "aborting" || phase == "aborted", "{phase}");
    let aborted = until(&server, &id, "aborted").await;
    assert_eq!(aborted["error"], "cancelled");
    ask("pause").await.refused(409, "TOO_LATE");
    wait("the targets to be gone", async || {
        shards(&server).await.len() == 4
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_goes_on_with_what_is_under_way() {
    let scene = Scene::new().await;
    let first = scene.leader(endless()).await;
    let second = scene.server(2, Pace::local()).await;
    let knows = |view: &View| view.leader == Some(name("c1"));
    second.handle().view_when(knows).await;
    // Whoever does not lead passes it on.
    let merge = json!({"kind": "merge", "shards": ["shard-2", "shard-3"]});
    let (id, _) = begun(&second.post(PATH, merge).await);
    until(&second, &id, "verified").await;
    first.stop().await;
    second.handle().view_when(|view| view.is_leading).await;
    wait("the next leader", async || {
        second.get(PATH).await.status == 200
    })
    .await;
    let done = until(&second, &id, "done").await;
    assert_eq!(done["sources"], json!(["shard-2", "shard-3"]));
    let rows = |which: &str| done["progress"][which].as_u64();
    // Where it is known how many there are.
    assert!(rows("rows") >= rows("rows_total"), "whoever copied them");
    wait("the view to show it", async || {
        shards(&second).await.len() == 3
    })
    .await;
}

/// What nobody can begin, and what they hear.
fn refusals() -> [(Value, u16, &'static str); 13] {
    [
        (
            json!({"kind": "split", "shards": ["shard-9"]}),
            404,
            "SHARD_NOT_FOUND",
        ),
        (
            json!({"kind": "split", "shards": ["shard-0"], "at": "8000000000000000"}),
            409,
            "INDIVISIBLE",
        ),
        (
            json!({"kind": "split", "shards": ["shard-0"], "at": "here"}),
            400,
            "BAD_REQUEST",
        ),
        (
            json!({"kind": "split", "shards": ["shard-0", "shard-1"]}),
            400,
            "BAD_REQUEST",
        ),
        (
            json!({"kind": "split", "shards": ["shard-0"], "to": "n1"}),
            400,
            "BAD_REQUEST",
        ),
        (
            json!({"kind": "merge", "shards": ["shard-0"]}),
            400,
            "BAD_REQUEST",
        ),
        (
            json!({"kind": "merge", "shards": ["shard-0", "shard-0"]}),
            400,
            "BAD_REQUEST",
        ),
        (
            json!({"kind": "merge", "shards": ["shard-0", "shard-2"]}),
            409,
            "NOT_NEIGHBOURS",
        ),
        (
            json!({"kind": "migrate", "shards": ["shard-0"]}),
            400,
            "BAD_REQUEST",
        ),
        (
            json!({"kind": "migrate", "shards": ["shard-0"], "to": "n1"}),
            404,
            "UNKNOWN_NODE",
        ),
        (
            json!({"kind": "migrate", "shards": ["shard-9"], "from": "n1", "to": "n2"}),
            400,
            "BAD_REQUEST",
        ),
        (
            json!({"kind": "split", "shards": ["shard-0"], "from": "n1"}),
            400,
            "BAD_REQUEST",
        ),
        (
            json!({"kind": "halve", "shards": ["shard-0"]}),
            400,
            "BAD_REQUEST",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_are_bounds_unless_they_are_forced() {
    let scene = Scene::with_rows(40).await;
    let server = scene.leader(Pace::local()).await;
    let split = json!({"kind": "split", "shards": ["shard-0"]});
    let all = ["shard-0", "shard-1", "shard-2", "shard-3"];
    let merge = json!({"kind": "merge", "shards": all});
    for (body, code) in [(split, "TOO_FEW_KEYS"), (merge, "TOO_FEW_SHARDS")] {
        server.post(PATH, body.clone()).await.refused(409, code);
        let mut forced = body;
        (forced["force"], forced["dry_run"]) = (json!(true), json!(true));
        server.post(PATH, forced).await.ok();
    }
    let before = json!({"kind": "split", "shards": ["shard-0"], "at": "middle", "dry_run": true});
    server.post(PATH, before).await.ok();
    assert_eq!(server.get(PATH).await.ok(), json!([]), "nothing has begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_become_too_large_is_not_merged_unless_it_is_forced() {
    let scene = Scene::with_rows(40).await;
    let mut core = CoreSettings {
        operations: Pace::local(),
        ..Server::core(1, TIMEOUT)
    };
    core.balance.shards.merge.max_merged_keys = 10;
    let server = scene.server_with(core).await;
    server.handle().view_when(|view| view.is_leading).await;
    let merge = json!({"kind": "merge", "shards": ["shard-0", "shard-1"]});
    let refused = server
        .post(PATH, merge.clone())
        .await
        .refused(409, "TOO_LARGE");
    assert_eq!(refused["hint"], "merge fewer, or force it");
    let mut forced = merge;
    forced["force"] = json!(true);
    let (id, _) = begun(&server.post(PATH, forced).await);
    until(&server, &id, "done").await;
}

/// Waits until these shards are pinned, and no others.
async fn until_pinned(server: &Server, shards: &[Value]) {
    wait("the pins", async || {
        let balance = server.get("/api/v1/rebalance").await.ok();
        balance["pins"] == json!(shards)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_pinned_shard_are_pinned_and_what_is_made_of_them_if_all_are() {
    let scene = Scene::new().await;
    let server = scene.leader(Pace::local()).await;
    let pin = async |shard: &Value, pinned: bool| {
        let pin = json!({"shard": shard, "pinned": pinned});
        let path = "/api/v1/rebalance/pins";
        server.post(path, pin).await.ok();
    };
    pin(&json!("shard-1"), true).await;
    let split = json!({"kind": "split", "shards": ["shard-1"]});
    let (id, shown) = begun(&server.post(PATH, split).await);
    until(&server, &id, "done").await;
    let parts = shown["targets"].as_array().expect("a list");
    until_pinned(&server, parts).await;
    // Whoever lets one go does not find it pinned again.
    pin(&parts[0], false).await;
    until_pinned(&server, &parts[1..]).await;
    pin(&parts[0], true).await;
    let (back, shown) = begun(
        &server
            .post(&format!("{PATH}/{id}/reverse"), json!({}))
            .await,
    );
    until(&server, &back, "done").await;
    let merged = &shown["targets"][0];
    until_pinned(&server, std::slice::from_ref(merged)).await;
    let merge = json!({"kind": "merge", "shards": ["shard-0", merged]});
    let (id, _) = begun(&server.post(PATH, merge).await);
    until(&server, &id, "done").await;
    // One of the two was free.
    until_pinned(&server, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let scene = Scene::new().await;
    let server = scene.leader(Pace::local()).await;
    for (body, status, code) in refusals() {
        server.post(PATH, body).await.refused(status, code);
    }
    for path in [
        "op-9",
        "op-9/pause",
        "op-9/resume",
        "op-9/cancel",
        "op-9/reverse",
        "-/pause",
    ] {
        let path = format!("{PATH}/{path}");
        let answer = if path.ends_with("op-9") {
            server.get(&path).await
        } else {
            server.post(&path, json!({})).await
        };
        answer.refused(404, "OPERATION_NOT_FOUND");
    }
    assert_eq!(server.get(PATH).await.ok(), json!([]));
    assert_eq!(shards(&server).await.len(), 4);

    let other = leader(Settings::default()).await;
    let split = json!({"kind": "split", "shards": ["shard-0"]});
    other.post(PATH, split).await.refused(501, "UNSUPPORTED");
    assert_eq!(other.get(PATH).await.ok(), json!([]), "it may have moves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_an_operation_holds_is_not_given_to_another_node() {
    let store = memory();
    let registry = Registry::new(store.clone(), KeyspaceName::main());
    let holder = OperationId::new("op-1").expect("a name");
    let records = ShardRecord::even(registry.name(), 1);
    let held = records.map(|record| record.hold_by(&holder).expect("it serves"));
    registry
        .bootstrap_with(Partitioning::Ranges, held.collect::<Vec<_>>())
        .await
        .expect("a new keyspace");
    let server = Server::start(&store, 1, Settings::default()).await;
    let knows = |view: &View| view.is_leading && !view.shards.is_empty();
    server.handle().view_when(knows).await;
    let moved = json!({"shard": "shard-0", "to": "w1"});
    let refused = server.post("/api/v1/move", moved).await;
    let refused = refused.refused(409, "IN_OPERATION");
    assert_eq!(
        refused["message"],
        "main/shard-0 takes part in operation op-1"
    );
}

/// Everything that the file says of operations.
pub(crate) async fn call_about_operations(document: &Document) {
    let scene = Scene::new().await;
    let server = scene.leader(endless()).await;
    let about = async |method: Method, described: &str, path: &str, body: &Value| {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        call_as(described, document, &server, method, path, &body).await
    };
    let (none, one) = (Value::Null, format!("{PATH}/{{id}}"));
    let split = json!({"kind": "split", "shards": ["shard-0"], "at": "median"});
    let mut plan = split.clone();
    plan["dry_run"] = true.into();
    let planned = about(Method::POST, PATH, PATH, &plan).await.ok();
    assert_eq!(
        (&planned["id"], &planned["targets"]),
        (&Value::Null, &json!([]))
    );
    assert_eq!(planned["at"].as_array().map(Vec::len), Some(1));
    assert_eq!(server.get(PATH).await.ok(), json!([]), "nothing began");
    let moves = json!({"kind": "migrate", "shards": ["shard-0"], "from": "n2", "to": "n1"});
    document.check("NewOperation", &moves);
    about(Method::POST, PATH, PATH, &moves)
        .await
        .refused(404, "UNKNOWN_NODE");
    let (id, _) = begun(&about(Method::POST, PATH, PATH, &split).await);
    let named = format!("{PATH}/{id}");
    for what in ["pause", "resume"] {
        let (described, path) = (format!("{one}/{what}"), format!("{named}/{what}"));
        about(Method::POST, &described, &path, &none).await.ok();
    }
    until(&server, &id, "verified").await;
    scene.note_a_move_of(&id).await;
    wait("the move to be shown", async || {
        let shown = server.get(&named).await.ok();
        shown["moves"][0]["operation"] == format!("{id}-move-1")
    })
    .await;
    about(Method::GET, &one, &named, &none).await.ok();
    about(Method::GET, PATH, PATH, &none).await.ok();
    let stats = about(
        Method::GET,
        "/api/v1/stats",
        "/api/v1/stats?shard=shard-0",
        &none,
    )
    .await
    .ok();
    assert_eq!(
        (&stats[0]["rows"], &stats[0]["operation"]),
        (&json!(scene.rows("shard-0")), &json!(id))
    );
    let path = format!("{named}/cancel");
    about(Method::POST, &format!("{one}/cancel"), &path, &none)
        .await
        .ok();

    let scene = Scene::new().await;
    let server = scene.leader(Pace::local()).await;
    let (id, _) = begun(&server.post(PATH, split).await);
    until(&server, &id, "done").await;
    let (described, path) = (format!("{one}/reverse"), format!("{PATH}/{id}/reverse"));
    begun(&call_as(&described, document, &server, Method::POST, &path, "").await);
}
