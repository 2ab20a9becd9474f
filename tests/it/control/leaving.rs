//! Workers that leave of their own accord, and workers that join.

use super::cluster::Cluster;
use crate::processes::clock;

#[test]
fn a_worker_that_leaves_hands_over_first() {
    let mut cluster = Cluster::on_sqlite().of_five();
    let name = cluster.workers[1].name().to_owned();
    let since = clock::now();
    let status = cluster.workers[1].leave();
    assert!(status.success(), "{status}");
    // Handing over takes no time-out: all of it was released before the process ended.
    let worker = &cluster.workers[1];
    let (served, deleted) = (worker.count("serve "), worker.count("delete "));
    assert!(served > 0, "{:#?}", worker.lines());
    assert_eq!(served, deleted, "{:#?}", worker.lines());
    cluster.assert_recovers(since, &[&name]);
    cluster.assert_one_owner_at_a_time();
}

#[test]
fn a_worker_that_joins_is_given_its_share() {
    let mut cluster = Cluster::on_sqlite().of_five();
    cluster.start_worker();
    cluster.wait_until_serving(cluster.workers[5].name(), 0);
    cluster.wait_until_served();
    cluster.assert_one_owner_at_a_time();
}

#[test]
fn a_drained_worker_ends_up_with_nothing() {
    let cluster = Cluster::on_sqlite().of_five();
    cluster.command(&["node", "drain", "w3"]);
    cluster.wait_until_served_without(&[cluster.workers[2].name()]);
    cluster.assert_one_owner_at_a_time();
}
