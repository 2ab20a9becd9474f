//! A shard that moves from the node of one of its members to another node, while it is written to.

use serde_json::{Value as Json, json};
use shardwright_coordinator::{
    core::{Command, Done, Refusal, Steering},
    registry::Registry,
};
use shardwright_topology::{
    KeyspaceName, MemberChange, NodeState, Operation, OperationId, OperationKind, Phase, ShardId,
};

use crate::{
    cluster::{Cluster, node_id, wait},
    writing::Writers,
};

impl Cluster {
    /// Asks for something that may be refused for a while.
    async fn ask(&self, command: Command) -> Done {
        wait("a command", async || {
            let refused = match self.command(command.clone()).await {
                Ok(done) => return Some(done),
                Err(refused) => refused,
            };
            // A node that has just begun is yet to be heard of.
            let is_new = matches!(refused.code(), "UNKNOWN_NODE" | "NOT_ACCEPTING");
            assert!(is_new || refused.is_retryable(), "{refused}");
            None
        })
        .await
    }

    /// Begins to move the shard.
    async fn move_shard(&self, from: &str, to: &str) -> OperationId {
        let done = self.ask(Command::Move {
            partition: ShardId::numbered(0).into(),
            from: Some(node_id(from)),
            to: node_id(to),
        });
        done.await.operation.expect("it goes on")
    }

    /// Writes down a move that fills a copy, and that somebody has paused.
    async fn paused_move(&self, from: &str, to: &str) -> OperationId {
        let (shard, id) = (ShardId::numbered(0), OperationId::new("move-1"));
        let id = id.expect("a name");
        let operation = Operation {
            id: id.clone(),
            keyspace: KeyspaceName::main(),
            kind: OperationKind::Migrate,
            sources: vec![shard.clone()],
            targets: vec![shard],
            phase: Phase::Created,
            error: None,
            paused: true,
            members: Some(MemberChange {
                from: node_id(from),
                to: node_id(to),
            }),
        };
        let registry = Registry::new(self.store(), KeyspaceName::main());
        let written = registry.operations().create(&id, operation).await;
        written.expect("the store answers");
        id
    }

    async fn until_down(&self, name: &str) {
        let registry = Registry::new(self.store(), KeyspaceName::main());
        wait("the end of a lease", async || {
            let node = registry.nodes().get(&node_id(name)).await;
            let node = node.expect("the store answers")?;
            (node.value.state == NodeState::Down).then_some(())
        })
        .await;
    }

    async fn steer(&self, operation: &OperationId, steering: Steering) {
        let operation = operation.clone();
        let done = self.ask(Command::Steer {
            operation,
            steering,
        });
        done.await;
    }

    async fn phase(&self, operation: &OperationId) -> Phase {
        let registry = Registry::new(self.store(), KeyspaceName::main());
        let found = registry.operations().get(operation).await;
        found
            .expect("the store answers")
            .expect("it is kept")
            .value
            .phase
    }

    async fn until_phase(&self, operation: &OperationId, phase: Phase) {
        wait(&phase.to_string(), async || {
            (self.phase(operation).await == phase).then_some(())
        })
        .await;
    }

    /// Waits until a node has a copy with rows, or none.
    async fn until_copy(&self, name: &str, is_there: bool) {
        wait("the copy", async || {
            let has_rows = match self.shard(name) {
                Some(shard) => shard.status().borrow().applied.0 > 0,
                None => false,
            };
            let is_right = has_rows == is_there && (is_there || self.shard(name).is_none());
            is_right.then_some(())
        })
        .await;
    }

    /// The nodes of the members, by name.
    async fn member_names(&self) -> Vec<String> {
        let registry = Registry::new(self.store(), KeyspaceName::main());
        let record = registry.shard(&ShardId::numbered(0)).await;
        let active = record.expect("the store answers").value.active;
        let members = active.expect("it is served").members.into_iter();
        members.map(|member| member.node.to_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_moves_to_another_node_while_it_is_written_to() {
    let cluster = Cluster::start(3).await;
    cluster.add("n4").await;
    let mut writers = Writers::start(&cluster, 4);
    writers.at_least(100).await;

    let first = cluster.primary_name().await;
    let moved = cluster.move_shard(&first, "n4").await;
    cluster.until_phase(&moved, Phase::Done).await;
    let members = cluster.member_names().await;
    assert!(members.contains(&"n4".to_owned()), "{members:?}");
    assert!(!members.contains(&first), "{members:?}");
    cluster.until_copy(&first, false).await;
    writers.at_least(writers.count() + 100).await;

    // The one that has none any more takes the place of one that is not the primary, and another coordinator carries that on.
    let second = another_member(&cluster).await;
    let moved = cluster.move_shard(&second, &first).await;
    cluster.replace_coordinator(3).await;
    cluster.until_phase(&moved, Phase::Done).await;
    let members = cluster.member_names().await;
    assert!(members.contains(&first), "{members:?}");
    assert!(!members.contains(&second), "{members:?}");
    cluster.until_copy(&second, false).await;
    writers.at_least(writers.count() + 100).await;

    writers.stop().await;
    cluster.shut_down(&second).await;
    cluster.until_equal().await;
    writers.check(&cluster).await;
    cluster.stop().await;
}

async fn another_member(cluster: &Cluster) -> String {
    let primary = cluster.primary_name().await;
    let mut members = cluster.member_names().await.into_iter();
    members
        .find(|name| *name != primary)
        .expect("three members")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_cancelled_leaves_everything_as_it_was() {
    let cluster = Cluster::start(3).await;
    let members = cluster.member_names().await;
    cluster.add("n4").await;
    let mut writers = Writers::start(&cluster, 4);
    writers.at_least(100).await;
    let from = another_member(&cluster).await;
    let moved = cluster.paused_move(&from, "n4").await;
    cluster.until_copy("n4", true).await;
    writers.at_least(writers.count() + 50).await;
    cluster.steer(&moved, Steering::Cancel).await;
    cluster.until_phase(&moved, Phase::Aborted).await;
    cluster.until_copy("n4", false).await;
    assert_eq!(cluster.member_names().await, members);
    let operation = moved.clone();
    let late = cluster.command(Command::Steer {
        operation,
        steering: Steering::Reverse,
    });
    let late = late.await.expect_err("it had no effect");
    assert!(matches!(late, Refusal::OtherPhase { .. }), "{late}");
    writers.stop().await;
    cluster.shut_down("n4").await;
    cluster.until_equal().await;
    writers.check(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_waits_for_a_target_that_is_killed() {
    let cluster = Cluster::start(3).await;
    let members = cluster.member_names().await;
    cluster.add("n4").await;
    let mut writers = Writers::start(&cluster, 4);
    writers.at_least(100).await;
    let from = cluster.primary_name().await;
    let moved = cluster.paused_move(&from, "n4").await;
    cluster.until_copy("n4", true).await;
    cluster.kill("n4");
    cluster.until_down("n4").await;
    cluster.steer(&moved, Steering::Resume).await;
    writers.at_least(writers.count() + 200).await;
    assert_eq!(
        cluster.member_names().await,
        members,
        "nobody goes for nothing"
    );
    assert!(cluster.phase(&moved).await < Phase::Done);
    cluster.restart("n4").await;
    cluster.until_phase(&moved, Phase::Done).await;
    let members = cluster.member_names().await;
    assert!(members.contains(&"n4".to_owned()), "{members:?}");
    cluster.until_copy(&from, false).await;
    writers.stop().await;
    cluster.shut_down(&from).await;
    cluster.until_equal().await;
    writers.check(&cluster).await;
    cluster.stop().await;
}

/// Asks the coordinator for something about operations, and returns how it answered.
async fn operations(cluster: &Cluster, path: &str, body: Option<&Json>) -> (u16, Json) {
    let url = format!("{}/api/v1/operations{path}", cluster.url());
    let client = reqwest::Client::new();
    let request = match body {
        Some(body) => client.post(url).json(body),
        None => client.get(url),
    };
    let answer = request.send().await.expect("the coordinator answers");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("JSON"))
}

async fn until_shown(cluster: &Cluster, id: &str, phase: &str) -> Json {
    wait(phase, async || {
        let (_, shown) = operations(cluster, &format!("/{id}"), None).await;
        (shown["phase"] == phase).then_some(shown)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_moved_over_http_and_moved_back() {
    let cluster = Cluster::start(3).await;
    cluster.add("n4").await;
    let from = another_member(&cluster).await;
    let mut body = json!({"kind": "migrate", "shards": ["shard-0"], "from": from, "to": "n4", "dry_run": true});
    let planned = until_heard_of(&cluster, &from, "n4").await;
    assert_eq!(
        (&planned["id"], &planned["from"], &planned["to"]),
        (&Json::Null, &json!(from), &json!("n4"))
    );
    assert_eq!(operations(&cluster, "", None).await, (200, json!([])));

    body["dry_run"] = false.into();
    let (status, begun) = operations(&cluster, "", Some(&body)).await;
    assert_eq!(status, 202, "{begun}");
    let id = begun["id"].as_str().expect("a name");
    let done = until_shown(&cluster, id, "done").await;
    assert_eq!(done["progress"]["fraction"], 1.0);
    assert_eq!(operations(&cluster, "", None).await, (200, json!([done])));
    let members = cluster.member_names().await;
    assert!(members.contains(&"n4".to_owned()), "{members:?}");
    let nothing = json!({});
    let (status, late) = operations(&cluster, &format!("/{id}/cancel"), Some(&nothing)).await;
    assert_eq!(
        (status, &late["error"]["code"]),
        (409, &json!("TOO_LATE")),
        "{late}"
    );

    let (status, back) = operations(&cluster, &format!("/{id}/reverse"), Some(&nothing)).await;
    assert_eq!(status, 202, "{back}");
    assert_eq!(
        (&back["from"], &back["to"]),
        (&json!("n4"), &json!(from)),
        "{back}"
    );
    let back = back["id"].as_str().expect("a name");
    until_shown(&cluster, back, "done").await;
    let members = cluster.member_names().await;
    assert!(members.contains(&from), "{members:?}");
    cluster.stop().await;
}

/// Waits until a move could begin, and returns what that would do.
async fn until_heard_of(cluster: &Cluster, from: &str, to: &str) -> Json {
    let body =
        json!({"kind": "migrate", "shards": ["shard-0"], "from": from, "to": to, "dry_run": true});
    wait("the node to be heard of", async || {
        let (status, answer) = operations(cluster, "", Some(&body)).await;
        (status == 200).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_shown_and_cancelled_over_http() {
    let cluster = Cluster::start(3).await;
    let members = cluster.member_names().await;
    cluster.add("n4").await;
    let from = another_member(&cluster).await;
    until_heard_of(&cluster, &from, "n4").await;
    let moved = cluster.paused_move(&from, "n4").await;
    cluster.until_copy("n4", true).await;
    let shown = wait("its lag", async || {
        let (_, list) = operations(&cluster, "", None).await;
        let is_known = list[0]["progress"]["lag"].is_u64();
        is_known.then(|| list[0].clone())
    })
    .await;
    assert_eq!(
        (&shown["id"], &shown["paused"]),
        (&json!(moved), &json!(true))
    );
    let path = format!("/{moved}/cancel");
    let (status, cancelled) = operations(&cluster, &path, Some(&json!({}))).await;
    assert_eq!(status, 200, "{cancelled}");
    let aborted = until_shown(&cluster, moved.as_str(), "aborted").await;
    assert_eq!(aborted["error"], "cancelled");
    cluster.until_copy("n4", false).await;
    assert_eq!(cluster.member_names().await, members);
    cluster.stop().await;
}
