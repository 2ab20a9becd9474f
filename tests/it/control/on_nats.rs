//! Clusters whose registry is in NATS, and the loss of its servers.

use shardwright_testkit::{
    nats::{NatsCluster, NatsServer, current, servers},
    until,
};

use super::{cluster::Cluster, deaths::kill_the_leader_and_a_worker};
use crate::processes::clock;

/// The stream of the bucket that the registry is in.
const STREAM: &str = "KV_shardwright";

fn cluster_on(nats: &NatsCluster) -> Cluster {
    let directory = tempfile::tempdir().expect("a temporary directory");
    Cluster::on(nats.url(), directory).of_five()
}

#[test]
fn the_leader_and_a_worker_are_killed_together_on_nats() {
    for server in servers() {
        let nats = NatsCluster::start(&server, 1);
        let mut cluster = cluster_on(&nats);
        kill_the_leader_and_a_worker(&mut cluster);
    }
}

/// Not on SQLite: a process that stands still within a write holds the file's lock, and nobody can write then.
#[test]
fn a_leader_stands_still_past_its_lease() {
    let Some(server) = current() else { return };
    let nats = NatsCluster::start(&server, 1);
    let mut cluster = cluster_on(&nats);
    let leader = cluster.leader();
    let since = cluster.coordinators[leader].stop();
    cluster.assert_recovers(since, &[]);
    cluster.coordinators[leader].resume();
    until("the coordinators agree on another leader", || {
        let leaders = cluster.leaders();
        let settled = leaders.len() == 3 && leaders.iter().all(|other| *other == leaders[0]);
        (settled && leaders[0] != cluster.coordinators[leader].name()).then_some(())
    });
    cluster.wait_until_served();
    cluster.assert_one_owner_at_a_time();
}

#[test]
fn one_of_three_servers_is_killed() {
    let Some(server) = current() else { return };
    let (mut nats, cluster) = of_three(&server);
    let follower = (stream_leader(&nats) + 1) % nats.size();
    let since = clock::now();
    nats.kill(follower);
    cluster.assert_recovers(since, &[]);
    nats.restart(follower);
    cluster.wait_until_served();
    cluster.assert_one_owner_at_a_time();
}

/// The other two elect a leader of the stream in 5 to 8 seconds, and until then no lease can be renewed.
#[test]
fn the_server_that_leads_the_stream_is_killed() {
    let Some(server) = current() else { return };
    let (mut nats, cluster) = of_three(&server);
    let leader = stream_leader(&nats);
    let since = clock::now();
    nats.kill(leader);
    until("another server leads the stream", || {
        nats.leader_of(STREAM).filter(|other| *other != leader)
    });
    cluster.wait_until_served();
    let took = cluster.time_to_recover(since, &[]);
    println!("served again {took:?} after the loss of the stream's leader");
    cluster.assert_one_owner_at_a_time();
}

fn of_three(server: &NatsServer) -> (NatsCluster, Cluster) {
    let nats = NatsCluster::start(server, 3);
    let cluster = cluster_on(&nats);
    (nats, cluster)
}

fn stream_leader(nats: &NatsCluster) -> usize {
    until("a server leads the stream", || nats.leader_of(STREAM))
}
