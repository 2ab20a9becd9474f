//! Moves of shards that commit on several members over HTTP, of shards that nobody keeps.

use std::sync::Arc;

use serde_json::{Value, json};
use shardwright_coordinator::{
    core::View,
    http::Settings,
    registry::{Partitioning, Registry, Store},
};
use shardwright_topology::{
    Config, ConfigId, Epoch, Incarnation, KeyspaceName, Member, MemberChange, NodeRecord,
    NodeState, Operation, OperationId, OperationKind, Phase, Primary, ReplicaId, ShardId,
    ShardRecord,
};

use crate::setting::{Server, memory, name, wait};

const PATH: &str = "/api/v1/operations";

/// One member, whose node is away.
fn config() -> Config {
    let member = Member {
        node: name("n1"),
        replica_id: ReplicaId::from_bits(1),
    };
    Config {
        epoch: Epoch(1),
        config_id: ConfigId::from_bits(1),
        primary: Primary {
            node: name("n1"),
            incarnation: Incarnation(1),
        },
        members: [member].into(),
        w: 1,
        zones: 1,
    }
}

fn operation(id: &str, phase: Phase) -> Operation {
    let shard = ShardId::numbered(0);
    Operation {
        id: OperationId::new(id).expect("a name"),
        keyspace: KeyspaceName::main(),
        kind: OperationKind::Migrate,
        sources: vec![shard.clone()],
        targets: vec![shard],
        phase,
        error: None,
        paused: phase == Phase::Planned,
        members: Some(MemberChange {
            from: name("n1"),
            to: name("n2"),
        }),
    }
}

/// A registry with a shard on a node that is away, and with moves of it to another one: one that waits, and one that is done.
async fn registry() -> Arc<dyn Store> {
    let store = memory();
    let registry = Registry::new(store.clone(), KeyspaceName::main());
    let records = ShardRecord::even(registry.name(), 1).map(|record| ShardRecord {
        epoch: Epoch(1),
        active: Some(config()),
        ..record.replicated()
    });
    registry
        .bootstrap_with(Partitioning::Ranges, records.collect::<Vec<_>>())
        .await
        .expect("a new keyspace");
    for node in ["n1", "n2"].map(name) {
        let record = NodeRecord {
            state: NodeState::Down,
            ..NodeRecord::new(node.clone(), "http://127.0.0.1:1")
        };
        let written = registry.nodes().create(&node, record).await;
        written.expect("the store answers");
    }
    for operation in [
        operation("move-1", Phase::Planned),
        operation("move-0", Phase::Done),
    ] {
        let id = operation.id.clone();
        let written = registry.operations().create(&id, operation).await;
        written.expect("the store answers");
    }
    store
}

/// A coordinator that leads and has no store of rows.
pub(crate) async fn leader() -> Server {
    leader_of(&registry().await).await
}

/// The same, and another coordinator that does not lead.
pub(crate) async fn two() -> (Server, Server) {
    let store = registry().await;
    let first = leader_of(&store).await;
    let second = Server::start(&store, 2, Settings::default()).await;
    (first, second)
}

async fn leader_of(store: &Arc<dyn Store>) -> Server {
    let server = Server::start(store, 1, Settings::default()).await;
    let knows = |view: &View| view.is_leading && view.operations.len() == 2;
    server.handle().view_when(knows).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_shown_held_up_and_cancelled_without_a_store_of_rows() {
    let server = leader().await;
    let list = server.get(PATH).await.ok();
    let ids = [&list[0]["id"], &list[1]["id"]];
    assert_eq!(ids, [&json!("move-0"), &json!("move-1")]);
    assert_eq!(list[0]["progress"]["fraction"], 1.0);
    let path = format!("{PATH}/move-1");
    let shown = server.get(&path).await.ok();
    assert_eq!(list[1], shown);
    let expected = json!({
        "id": "move-1", "kind": "migrate", "phase": "planned", "sources": ["shard-0"], "targets": ["shard-0"], "at": [],
        "from": "n1", "to": "n2", "moves": [], "paused": true, "reason": "asked for", "error": null, "progress": shown["progress"],
    });
    assert_eq!(shown, expected);
    assert_eq!(
        (&shown["progress"]["fraction"], &shown["progress"]["lag"]),
        (&Value::Null, &Value::Null)
    );

    let ask = async |what: &str| server.post(&format!("{path}/{what}"), json!({})).await;
    ask("reverse").await.refused(409, "TOO_LATE");
    assert_eq!(ask("resume").await.ok()["paused"], false);
    assert_eq!(ask("pause").await.ok()["paused"], true);
    let again = json!({"kind": "migrate", "shards": ["shard-0"], "to": "n2", "dry_run": true});
    let again = server.post(PATH, again).await.refused(409, "IN_OPERATION");
    assert_eq!(again["retryable"], true);
    let phase = ask("cancel").await.ok()["phase"].clone();
    assert!(phase == "aborting" || phase == "aborted", "{phase}");
    wait("the end", async || {
        server.get(&path).await.ok()["phase"] == "aborted"
    })
    .await;
    assert_eq!(server.get(&path).await.ok()["error"], "cancelled");
    ask("pause").await.refused(409, "TOO_LATE");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_cannot_be_is_refused() {
    let server = leader().await;
    let done = format!("{PATH}/move-0");
    for what in ["pause", "resume", "cancel"] {
        let answer = server.post(&format!("{done}/{what}"), json!({})).await;
        answer.refused(409, "TOO_LATE");
    }
    for what in ["pause", "resume", "cancel", "reverse"] {
        let path = format!("{PATH}/move-9/{what}");
        let answer = server.post(&path, json!({})).await;
        answer.refused(404, "OPERATION_NOT_FOUND");
    }
    let answer = server.get(&format!("{PATH}/move-9")).await;
    answer.refused(404, "OPERATION_NOT_FOUND");
    let path = format!("{PATH}/move-1/cancel");
    server.post(&path, json!({})).await.ok();
    for (from, to, status, code) in [
        (None, "n9", 404, "UNKNOWN_NODE"),
        (None, "n1", 409, "HOLDS"),
        (None, "n2", 409, "NOT_ACCEPTING"),
        (Some("n2"), "n2", 409, "NOT_HOLDER"),
    ] {
        for dry_run in [true, false] {
            let body = json!({"kind": "migrate", "shards": ["shard-0"], "from": from, "to": to, "dry_run": dry_run});
            let answer = server.post(PATH, body).await;
            answer.refused(status, code);
        }
    }
    for from in [None, Some("n1")] {
        let there = json!({"shard": "shard-0", "from": from, "to": "n1"});
        let refused = server.post("/api/v1/move", there).await;
        let refused = refused.refused(409, "HOLDS");
        assert_eq!(
            refused["message"],
            "node n1 is the primary of main/shard-0 already"
        );
        assert_eq!(refused["hint"], "there is nothing to do");
    }
    let pins = server.get("/api/v1/rebalance").await.ok()["pins"].clone();
    assert_eq!(pins, json!([]), "what is refused pins nothing");
    server.stop().await;
}
