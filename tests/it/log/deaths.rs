//! Nodes that are killed or stopped.

use super::cluster::LogCluster;

#[test]
fn primaries_are_killed_one_after_the_other() {
    let mut cluster = LogCluster::start();
    for _ in 0..3 {
        let primary = cluster.primary();
        cluster.nodes[primary].kill();
        cluster.wait_for_progress();
        cluster.nodes[primary].restart();
        cluster.wait_for_progress();
    }
    cluster.finish();
}

#[test]
fn all_nodes_are_killed_at_once() {
    let mut cluster = LogCluster::start();
    for _ in 0..2 {
        cluster.nodes.iter_mut().for_each(super::node::Node::kill);
        cluster
            .nodes
            .iter_mut()
            .for_each(super::node::Node::restart);
        cluster.wait_for_progress();
    }
    cluster.finish();
}

#[test]
fn a_primary_is_stopped_past_its_lease_and_goes_on() {
    let cluster = LogCluster::start();
    for _ in 0..2 {
        let primary = cluster.primary();
        let epoch = cluster.status(primary).number("leads");
        cluster.nodes[primary].process.stop();
        cluster.wait_for_epoch_after(epoch);
        cluster.wait_for_progress();
        // From here on it believes for a moment that nothing has happened.
        cluster.nodes[primary].process.resume();
        cluster.wait_for_progress();
    }
    cluster.finish();
}
