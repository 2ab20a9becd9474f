//! Processes that are killed.

use super::cluster::Cluster;

#[test]
fn the_leader_is_killed() {
    let mut cluster = Cluster::on_sqlite().of_five();
    let leader = cluster.leader();
    let since = cluster.coordinators[leader].kill();
    cluster.assert_recovers(since, &[]);
    let _another = cluster.leader();
    cluster.assert_one_owner_at_a_time();
}

#[test]
fn workers_are_killed_one_after_the_other() {
    let mut cluster = Cluster::on_sqlite().of_five();
    let mut dead = Vec::new();
    for index in [1, 3] {
        let since = cluster.workers[index].kill();
        dead.push(cluster.workers[index].name().to_owned());
        let dead: Vec<&str> = dead.iter().map(String::as_str).collect();
        cluster.assert_recovers(since, &dead);
    }
    cluster.assert_one_owner_at_a_time();
}

#[test]
fn the_leader_and_a_worker_are_killed_together() {
    let mut cluster = Cluster::on_sqlite().of_five();
    kill_the_leader_and_a_worker(&mut cluster);
}

/// Kills both at once, and fails unless what the worker served is served again in time.
pub(super) fn kill_the_leader_and_a_worker(cluster: &mut Cluster) {
    let leader = cluster.leader();
    let since = cluster.coordinators[leader].kill();
    cluster.workers[2].kill();
    cluster.assert_recovers(since, &[cluster.workers[2].name()]);
    cluster.assert_one_owner_at_a_time();
}

#[test]
fn a_worker_that_was_killed_comes_back_as_a_new_process() {
    let mut cluster = Cluster::on_sqlite().of_five();
    let since = cluster.workers[0].kill();
    let dead = cluster.workers[0].name().to_owned();
    cluster.workers[0] = cluster.restart_worker("w1");
    cluster.assert_recovers(since, &[&dead]);
    cluster.assert_one_owner_at_a_time();
}
