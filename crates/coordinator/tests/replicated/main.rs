//! Copies of a log on several nodes, which nobody configures but the coordinator.

#![expect(clippy::expect_used, reason = "a test may fail anywhere")]

mod cluster;
mod node;

use serde_json::json;
use shardwright_coordinator::core::Notice;
use shardwright_topology::{KeyspaceName, NodeId};

use crate::cluster::{Cluster, name};

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_alone_configures_the_copies_of_a_log() {
    let mut cluster = Cluster::start(&["n1", "n2", "n3"]).await;
    let _plain = cluster.plain_worker("a0").await;
    let first = first_configuration(&cluster).await;
    let second = failover(&mut cluster, &first).await;
    let third = hand_over(&cluster, &second).await;
    forced(&mut cluster, &third).await;
    cluster.stop().await;
}

/// Three nodes that keep copies, and nobody who says anything.
async fn first_configuration(cluster: &Cluster) -> NodeId {
    let shard = cluster.until_whole().await;
    assert_eq!(shard["replicas"].as_array().map(Vec::len), Some(2));
    assert_eq!(shard["data_loss_generation"], 0);
    let primary = cluster.primary().await;
    for line in ["a", "b", "c"] {
        cluster.append(&primary, line).await;
    }
    assert_eq!(cluster.read(&primary).await, ["a", "b", "c"]);
    // Nobody is to serve them by assignment, and a worker that keeps no copies is given none.
    assert!(cluster.nodes[&primary].worker.serving().is_empty());
    assert!(!cluster.members().await.contains(&name("a0")));
    primary
}

/// The primary's process ends: another one goes on, and a fourth node gets a copy.
async fn failover(cluster: &mut Cluster, first: &NodeId) -> NodeId {
    cluster.add("n4").await;
    cluster.kill(first);
    let second = cluster.until_primary(|node| node != first).await;
    cluster.append(&second, "d").await;
    let shard = cluster.until_whole().await;
    let replicas = shard["replicas"].to_string();
    assert!(
        replicas.contains("n4") && !replicas.contains(first.as_str()),
        "{replicas}"
    );
    let primary = cluster.primary().await;
    cluster.append(&primary, "e").await;
    assert_eq!(cluster.read(&primary).await, ["a", "b", "c", "d", "e"]);
    primary
}

/// An operator asks another member to be the primary.
async fn hand_over(cluster: &Cluster, primary: &NodeId) -> NodeId {
    let stranger = json!({"shard": "shard-0", "to": "n9"});
    cluster.promote(&stranger).await.refused(409, "NOT_HOLDER");
    let moved = json!({"shard": "shard-0", "to": "n9"});
    let moved = cluster.post("/api/v1/move", &moved).await;
    moved.refused(409, "REPLICATED");
    let nodes = cluster.members().await;
    let to = nodes.into_iter().find(|node| node != primary);
    let to = to.expect("another member");
    let forced = json!({"shard": "shard-0", "to": to, "force": true});
    let forced = cluster.promote(&forced).await;
    forced.refused(409, "LOSS_NOT_NAMED");
    let asked = json!({"shard": "shard-0", "to": to});
    cluster.promote_when_settled(&asked).await;
    cluster.until_primary(|node| *node == to).await;
    cluster.append(&to, "f").await;
    let lines = cluster.read(&to).await;
    assert_eq!(lines, ["a", "b", "c", "d", "e", "f"]);
    to
}

/// Two of three members are lost: the shard waits, until an operator names the loss.
async fn forced(cluster: &mut Cluster, primary: &NodeId) {
    let members = cluster.members().await;
    cluster.until_whole().await;
    let mut others = members.into_iter().filter(|node| node != primary);
    let (left, lost) = (others.next().expect("one"), others.next().expect("two"));
    cluster.kill(primary);
    cluster.kill(&lost);
    cluster.until_condition("no-recovery-quorum").await;
    let asked = json!({"shard": "shard-0", "to": left});
    let refused = cluster.promote(&asked).await;
    refused.refused(409, "NO_RECOVERY_QUORUM");
    cluster.add("n5").await;
    cluster.until_copies(2).await;
    let accept = |accepted: &str| json!({"shard": "shard-0", "to": left, "accept_data_loss": accepted, "by": "Ada"});
    let other = cluster.promote(&accept("shard-1")).await;
    other.refused(409, "OTHER_SHARD");
    let unnamed = json!({"shard": "shard-0", "to": left, "accept_data_loss": "shard-0"});
    cluster.promote(&unnamed).await.refused(400, "BAD_REQUEST");
    // The copy on the new node is registered, and has to be heard of.
    cluster.promote_when_settled(&accept("shard-0")).await;
    cluster.until_primary(|node| *node == left).await;
    cluster.append(&left, "g").await;
    let lines = cluster.read(&left).await;
    assert_eq!(lines, ["a", "b", "c", "d", "e", "f", "g"], "it was in sync");
    assert_eq!(cluster.shard().await["data_loss_generation"], 1);
    let events = cluster.events();
    let accepted = events.iter().find_map(|notice| match notice {
        Notice::LossAccepted {
            partition, by, to, ..
        } => Some((partition.keyspace.clone(), by.as_str(), to.clone())),
        _ => None,
    });
    assert_eq!(accepted, Some((KeyspaceName::main(), "Ada", left)));
}

/// A new leader finds out by itself how everything stands, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_coordinator_goes_on() {
    let mut cluster = Cluster::start(&["n1", "n2", "n3"]).await;
    cluster.until_whole().await;
    let primary = cluster.primary().await;
    cluster.append(&primary, "a").await;
    cluster.replace_coordinator().await;
    let shard = cluster.until_whole().await;
    assert_eq!(shard["primary"], *primary.as_str(), "nothing changed");
    cluster.kill(&primary);
    let next = cluster.until_primary(|node| *node != primary).await;
    cluster.append(&next, "b").await;
    assert_eq!(cluster.read(&next).await, ["a", "b"]);
    cluster.stop().await;
}
