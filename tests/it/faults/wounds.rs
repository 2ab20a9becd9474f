//! Faults of nodes, coordinators and the links between them, one after the other.

use std::time::Duration;

use super::cluster::{Cluster, NODES};

/// How long the loss of a primary may hold up a client.
const FAILOVER: Option<Duration> = Some(Duration::from_millis(1_500));

/// How long a planned hand-over may.
const HAND_OVER: Option<Duration> = Some(Duration::from_millis(100));

#[test]
fn nodes_and_coordinators_are_killed() {
    let mut cluster = Cluster::on_sqlite();
    kill_busiest(&mut cluster);
    kill_idlest(&mut cluster);
    kill_leading_coordinator(&mut cluster);
    cluster.finish();
}

#[test]
fn nodes_stand_still_are_cut_off_and_have_no_room() {
    let mut cluster = Cluster::on_sqlite();
    stop_busiest(&mut cluster);
    cut_both_ways(&mut cluster);
    cut_one_way(&mut cluster);
    fill_disk(&mut cluster);
    cluster.finish();
}

#[test]
fn nodes_are_restarted_one_after_the_other() {
    let mut cluster = Cluster::on_sqlite();
    restart_all(&mut cluster);
    cluster.finish();
}

/// Kills the node with the most primaries, and starts it again.
pub(super) fn kill_busiest(cluster: &mut Cluster) {
    let node = cluster.busiest();
    cluster.during("sigkill of a primary's node", FAILOVER, |cluster| {
        cluster.nodes[node].kill();
        cluster.wait_until_elsewhere(node);
    });
    come_back(cluster, node);
}

/// Kills the node with the fewest primaries, and starts it again.
pub(super) fn kill_idlest(cluster: &mut Cluster) {
    let node = cluster.idlest();
    cluster.during("sigkill of a node of members", FAILOVER, |cluster| {
        cluster.nodes[node].kill();
        cluster.wait_until_elsewhere(node);
    });
    come_back(cluster, node);
}

fn come_back(cluster: &mut Cluster, node: usize) {
    cluster.during("  it comes back", None, |cluster| {
        cluster.nodes[node].restart();
        cluster.wait_until_whole();
    });
}

pub(super) fn kill_leading_coordinator(cluster: &mut Cluster) {
    cluster.during("sigkill of the leading coordinator", None, |cluster| {
        cluster.kill_leading_coordinator();
        cluster.wait_until_whole();
    });
}

/// Stops the node with the most primaries for longer than its leases last, and lets it go on as if nothing had happened.
pub(super) fn stop_busiest(cluster: &mut Cluster) {
    let node = cluster.busiest();
    // Whoever asks the node itself waits for as long as it has patience.
    cluster.during("sigstop of a primary's node", None, |cluster| {
        cluster.nodes[node].process.stop();
        cluster.wait_until_elsewhere(node);
    });
    cluster.during("  it goes on", None, |cluster| {
        cluster.nodes[node].process.resume();
        cluster.wait_until_whole();
    });
}

/// Cuts the link between the node with the most primaries and another one.
pub(super) fn cut_both_ways(cluster: &mut Cluster) {
    let (node, other) = two(cluster);
    cluster.during("a cut link between two nodes", None, |cluster| {
        cluster.links.cut(node, other);
        cluster.links.cut(other, node);
        cluster.wait_for_progress();
    });
    mend(cluster);
}

/// Cuts what flows from the node with the most primaries to another one, and not what flows back.
pub(super) fn cut_one_way(cluster: &mut Cluster) {
    let (node, other) = two(cluster);
    cluster.during("a link that is cut one way", None, |cluster| {
        cluster.links.cut(node, other);
        cluster.wait_for_progress();
    });
    mend(cluster);
}

fn two(cluster: &Cluster) -> (usize, usize) {
    let node = cluster.busiest();
    (node, (node + 1) % NODES)
}

fn mend(cluster: &mut Cluster) {
    cluster.during("  it is mended", None, |cluster| {
        cluster.links.mend();
        cluster.wait_until_whole();
    });
}

/// Lets no file of the node with the most primaries grow, and gives it room again.
pub(super) fn fill_disk(cluster: &mut Cluster) {
    let node = cluster.busiest();
    cluster.during("a full disk of a primary's node", None, |cluster| {
        cluster.nodes[node].limit_files(Some(0));
        // A shard that nobody writes to does not notice.
        cluster.wait_until_not_whole();
    });
    let status = cluster.nodes[node].process.status();
    assert!(status.is_none(), "the process outlives it: {status:?}");
    cluster.during("  it has room again", None, |cluster| {
        cluster.nodes[node].limit_files(None);
        cluster.wait_until_whole();
    });
}

/// Asks one node after the other to end, and starts it again.
pub(super) fn restart_all(cluster: &mut Cluster) {
    for node in 0..NODES {
        cluster.during("sigterm of a node", HAND_OVER, |cluster| {
            cluster.nodes[node].leave();
        });
        come_back(cluster, node);
    }
}
