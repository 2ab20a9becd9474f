//! Copies on several nodes, which nobody configures but the coordinator, and what it says over HTTP.

use std::{ops::ControlFlow, time::Duration};

use serde_json::{Value, json};
use shardwright_coordinator::{core::Notice, worker::Worker};
use shardwright_http::{axum, bind};
use shardwright_quorum::log::{ClientId, Level};
use shardwright_server::shard::{Identity, ReadLevel, Write, WriteError};
use shardwright_topology::KeyspaceName;

use crate::cluster::{Cluster, PATIENCE, insert, node_id, wait};

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_alone_configures_the_copies_of_a_log() {
    let cluster = Cluster::start(3).await;
    let _plain = plain_worker(&cluster, "a0").await;
    let first = first_configuration(&cluster).await;
    let second = failover(&cluster, &first).await;
    let third = hand_over(&cluster, &second).await;
    forced(&cluster, &third).await;
    cluster.stop().await;
}

/// Three nodes that keep copies, and nobody who says anything.
async fn first_configuration(cluster: &Cluster) -> String {
    let shown = until_whole(cluster, "shard-0").await;
    assert_eq!(shown["replicas"].as_array().map(Vec::len), Some(2));
    assert_eq!(shown["data_loss_generation"], 0);
    let catalog = until_whole(cluster, "catalog").await;
    assert_eq!(
        (&catalog["start"], &catalog["end"]),
        (&json!(null), &json!(null))
    );
    let primary = until_primary(cluster, |_| true).await;
    for line in ["a", "b", "c"] {
        append(cluster, &primary, line).await;
    }
    assert_eq!(read(cluster, &primary).await, ["a", "b", "c"]);
    // Nobody is to serve them by assignment, and a worker that keeps no copies is given none.
    assert!(!cluster.is_assigned(&primary));
    assert!(!members_of(&shown).contains(&"a0".to_owned()));
    primary
}

/// The primary's process ends: another one goes on, and a fourth node gets a copy.
async fn failover(cluster: &Cluster, first: &str) -> String {
    cluster.add("n4").await;
    cluster.kill(first);
    let second = until_primary(cluster, |node| node != first).await;
    append(cluster, &second, "d").await;
    let members = members_of(&until_whole(cluster, "shard-0").await);
    assert!(members.contains(&"n4".to_owned()), "{members:?}");
    assert!(!members.contains(&first.to_owned()), "{members:?}");
    let primary = until_primary(cluster, |_| true).await;
    append(cluster, &primary, "e").await;
    let lines = read(cluster, &primary).await;
    assert_eq!(lines, ["a", "b", "c", "d", "e"]);
    primary
}

/// An operator asks another member to be the primary.
async fn hand_over(cluster: &Cluster, primary: &str) -> String {
    let stranger = json!({"shard": "shard-0", "to": "n9"});
    promote(cluster, &stranger).await.refused(409, "NOT_HOLDER");
    let moved = post(cluster, "/api/v1/move", &stranger).await;
    moved.refused(404, "UNKNOWN_NODE");
    let members = members_of(&shard(cluster, "shard-0").await);
    let to = members.into_iter().find(|node| node != primary);
    let to = to.expect("another member");
    let forced = json!({"shard": "shard-0", "to": to, "force": true});
    let forced = promote(cluster, &forced).await;
    forced.refused(409, "LOSS_NOT_NAMED");
    cluster.hand_over(&to).await;
    append(cluster, &to, "f").await;
    let lines = read(cluster, &to).await;
    assert_eq!(lines, ["a", "b", "c", "d", "e", "f"]);
    to
}

/// Two of three members are lost: the shard waits, until an operator names the loss.
async fn forced(cluster: &Cluster, primary: &str) {
    let members = members_of(&until_whole(cluster, "shard-0").await);
    let mut others = members.into_iter().filter(|node| node != primary);
    let (left, lost) = (others.next().expect("one"), others.next().expect("two"));
    cluster.kill(primary);
    cluster.kill(&lost);
    until_condition(cluster, "no-recovery-quorum").await;
    let asked = json!({"shard": "shard-0", "to": left});
    let refused = promote(cluster, &asked).await;
    refused.refused(409, "NO_RECOVERY_QUORUM");
    cluster.add("n5").await;
    wait("registered copies", async || {
        (cluster.registered().await >= 2).then_some(())
    })
    .await;
    let accept = |accepted: &str| json!({"shard": "shard-0", "to": left, "accept_data_loss": accepted, "by": "Ada"});
    let other = promote(cluster, &accept("shard-1")).await;
    other.refused(409, "OTHER_SHARD");
    let unnamed = json!({"shard": "shard-0", "to": left, "accept_data_loss": "shard-0"});
    promote(cluster, &unnamed).await.refused(400, "BAD_REQUEST");
    // The copy on the new node is registered, and has to be heard of.
    promote_when_settled(cluster, &accept("shard-0")).await;
    until_primary(cluster, |node| node == left).await;
    append(cluster, &left, "g").await;
    let lines = read(cluster, &left).await;
    assert_eq!(lines, ["a", "b", "c", "d", "e", "f", "g"], "it was in sync");
    assert_eq!(shard(cluster, "shard-0").await["data_loss_generation"], 1);
    let events = cluster.events();
    let accepted = events.iter().find_map(|notice| match notice {
        Notice::LossAccepted {
            partition, by, to, ..
        } => Some((partition.keyspace.clone(), by.as_str(), to.clone())),
        _ => None,
    });
    let left = node_id(&left);
    assert_eq!(accepted, Some((KeyspaceName::main(), "Ada", left)));
}

/// A new leader finds out by itself how everything stands, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_coordinator_goes_on() {
    let cluster = Cluster::start(3).await;
    until_whole(&cluster, "shard-0").await;
    let primary = until_primary(&cluster, |_| true).await;
    append(&cluster, &primary, "a").await;
    cluster.replace_coordinator(3).await;
    let shown = until_whole(&cluster, "shard-0").await;
    assert_eq!(shown["primary"], primary, "nothing changed");
    cluster.kill(&primary);
    let next = until_primary(&cluster, |node| node != primary).await;
    append(&cluster, &next, "b").await;
    assert_eq!(read(&cluster, &next).await, ["a", "b"]);
    cluster.stop().await;
}

/// An answer over HTTP.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn refused(self, status: u16, code: &str) {
        let found = (self.status, self.body["error"]["code"].as_str());
        assert_eq!(found, (status, Some(code)), "{self:?}");
    }
}

/// Starts a worker that keeps no copies.
async fn plain_worker(cluster: &Cluster, id: &str) -> Worker {
    let listener = bind("127.0.0.1:0", None).await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let worker = Worker::builder(node_id(id), address, vec![cluster.url()]).start();
    let router = worker.router();
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    worker.registered().await;
    worker
}

async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    let url = format!("{}{path}", cluster.url());
    let answer = reqwest::Client::new().post(url).json(body).send().await;
    let answer = answer.expect("the coordinator answers");
    Answer {
        status: answer.status().as_u16(),
        body: answer.json().await.expect("JSON"),
    }
}

async fn promote(cluster: &Cluster, body: &Value) -> Answer {
    post(cluster, "/api/v1/promote", body).await
}

impl Cluster {
    /// The shard, as the admin API shows it.
    pub(crate) async fn shown(&self) -> Value {
        shard(self, "shard-0").await
    }

    /// Lets a node have the primary.
    pub(crate) async fn hand_over(&self, to: &str) {
        promote_when_settled(self, &json!({"shard": "shard-0", "to": to})).await;
        until_primary(self, |node| node == to).await;
        wait("the next primary", async || {
            self.shard(to)?.status().borrow().leading()
        })
        .await;
    }
}

/// Asks for another primary, again while that may come true later.
async fn promote_when_settled(cluster: &Cluster, body: &Value) {
    wait("a promotion", async || {
        let answer = promote(cluster, body).await;
        let error = &answer.body["error"];
        // One that has come back is yet to be heard of.
        if error["retryable"] == true || error["code"] == "NOT_UP" {
            return None;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        Some(())
    })
    .await;
}

/// A shard, as the admin API shows it; nothing while there is none.
async fn shard(cluster: &Cluster, id: &str) -> Value {
    let url = format!("{}/api/v1/shards?keyspace=main", cluster.url());
    let answer = reqwest::get(url).await.expect("the coordinator answers");
    let shards: Vec<Value> = answer.json().await.expect("JSON");
    let mut shards = shards.into_iter();
    shards.find(|shard| shard["id"] == id).unwrap_or_default()
}

async fn until_condition(cluster: &Cluster, condition: &str) {
    wait(condition, async || {
        let shown = shard(cluster, "shard-0").await;
        (shown["condition"] == condition).then_some(())
    })
    .await;
}

/// Waits until a shard has all its copies, on nodes that run.
async fn until_whole(cluster: &Cluster, id: &str) -> Value {
    wait("a whole shard", async || {
        let shown = shard(cluster, id).await;
        let members = members_of(&shown);
        let running = cluster.names();
        let are_up = members.iter().all(|node| running.contains(node));
        (shown["condition"] == "whole" && members.len() == 3 && are_up).then_some(shown)
    })
    .await
}

async fn until_primary(cluster: &Cluster, is_right: impl Fn(&str) -> bool) -> String {
    wait("another primary", async || {
        let shown = shard(cluster, "shard-0").await;
        let node = shown["primary"].as_str()?.to_owned();
        (is_right(&node) && cluster.names().contains(&node)).then_some(node)
    })
    .await
}

/// The nodes of a shard, that of the primary first.
fn members_of(shard: &Value) -> Vec<String> {
    let replicas = shard["replicas"].as_array().into_iter().flatten();
    let replicas = replicas.filter_map(|replica| replica["node"].as_str());
    let primary = shard["primary"].as_str().into_iter();
    primary.chain(replicas).map(str::to_owned).collect()
}

/// Writes a line by a node, again while that is yet to become the primary.
async fn append(cluster: &Cluster, node: &str, line: &str) {
    let client = ClientId([line.as_bytes()[0]; 16]);
    let identity = Identity {
        client,
        sequence: 0,
    };
    wait("a commit", async || {
        let write = Write::new(insert(line)).identified(identity, Vec::new());
        let write = write.until(Level::Quorum, Duration::from_secs(5));
        match cluster.shard(node)?.write(write).await {
            Ok(_) => Some(()),
            Err(WriteError::Refused(error)) => panic!("{line}: {error}"),
            Err(_) => None,
        }
    })
    .await;
}

/// What a reader of the primary sees.
async fn read(cluster: &Cluster, node: &str) -> Vec<String> {
    let shard = cluster.shard(node).expect("it runs");
    let fresh = shard.fresh(ReadLevel::Consistent, PATIENCE).await;
    let file = fresh.expect("it is the primary").file;
    let mut lines = Vec::new();
    let sql = "SELECT value FROM written ORDER BY id";
    let read = file.snapshot().expect("a snapshot").query(sql, (), |row| {
        lines.extend(row.get(0).as_str().map(str::to_owned));
        ControlFlow::<()>::Continue(())
    });
    let _all = read.expect("it can be read");
    lines
}
