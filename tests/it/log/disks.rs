//! Disks that are full, and disks that flip a bit.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use shardwright_testkit::until;

use super::cluster::{LogCluster, others};

#[test]
fn a_node_without_room_takes_no_part_until_there_is_some() {
    let cluster = LogCluster::start();
    let primary = cluster.primary();
    for node in [others(primary).next().expect("another node"), primary] {
        let before = cluster.status(node);
        let (openings, replica) = (before.number("openings"), before.text("replica").to_owned());
        let had = limit(&cluster, node, Some(0));
        until("the copy has no room", || {
            (!cluster.status(node).runs()).then_some(())
        });
        // The others go on, and the process goes on answering.
        cluster.wait_for_progress();
        limit(&cluster, node, had.current);
        until("the copy takes part again", || {
            let status = cluster.status(node);
            (status.runs() && status.number("openings") > openings).then_some(())
        });
        assert_eq!(
            cluster.status(node).text("replica"),
            replica,
            "nothing was lost"
        );
        cluster.wait_for_progress();
    }
    cluster.finish();
}

/// Lets no file of a node's process grow beyond so many bytes, and returns the limit before.
fn limit(cluster: &LogCluster, node: usize, bytes: Option<u64>) -> Rlimit {
    let child = cluster.nodes[node].process.child();
    let pid = Some(Pid::from_child(child));
    let nothing_new = |maximum| Rlimit {
        current: bytes,
        maximum,
    };
    let had = prlimit(pid, Resource::Fsize, nothing_new(None));
    had.expect("limit a process of our own")
}

#[test]
fn a_flipped_bit_is_taken_for_damage_and_never_for_absence() {
    let mut cluster = LogCluster::start();
    for part in [2, 1] {
        let node = others(cluster.primary()).next().expect("another node");
        let replica = cluster.status(node).text("replica").to_owned();
        cluster.nodes[node].kill();
        flip(&cluster, node, part);
        cluster.nodes[node].restart();
        until("another copy takes part", || {
            let status = cluster.status(node);
            (status.runs() && status.text("replica") != replica).then_some(())
        });
        cluster.wait_for_progress();
    }
    cluster.finish();
}

/// Flips a bit of the last file of the log: after this part of it, from where it was written to.
fn flip(cluster: &LogCluster, node: usize, part: usize) {
    let segments = cluster.nodes[node].segments();
    let path = segments.last().expect("the log is in a file");
    let mut bytes = fs::read(path).expect("read the log");
    let is_written = |byte: &u8| *byte != 0;
    let end = bytes
        .iter()
        .rposition(is_written)
        .expect("something is written");
    let place = bytes[..=end / part].iter().rposition(is_written);
    bytes[place.expect("the log begins with a header")] ^= 1;
    fs::write(path, bytes).expect("write the log");
}
