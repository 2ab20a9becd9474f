//! Processes that stand still for longer than their lease, and go on as if nothing had happened.

use super::cluster::Cluster;

#[test]
fn a_worker_stands_still_past_its_lease() {
    let cluster = Cluster::on_sqlite().of_five();
    let worker = &cluster.workers[4];
    let since = worker.stop();
    cluster.assert_recovers(since, &[worker.name()]);
    worker.resume();
    // It learns that it lost everything, and is given shards again at new epochs.
    cluster.wait_until_serving(worker.name(), since);
    cluster.wait_until_served();
    cluster.assert_one_owner_at_a_time();
}
