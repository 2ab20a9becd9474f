//! Networks that are cut between processes that live.

use shardwright_testkit::until;

use super::cluster::Cluster;
use crate::processes::{clock, proxy::Network};

#[test]
fn a_worker_is_cut_off_from_all_coordinators() {
    let mut cluster = Cluster::on_sqlite().of_five();
    let network = Network::default();
    cluster.start_worker_behind(&network);
    let worker = &cluster.workers[5];
    cluster.wait_until_serving(worker.name(), 0);
    cluster.wait_until_served();
    let served = until("the worker says what it serves", || {
        let deleted = worker.count("delete ");
        let served = worker.count("serve ");
        (served > deleted).then_some(served)
    });

    let since = clock::now();
    network.cut();
    cluster.assert_recovers(since, &[worker.name()]);
    // It could not be told, and has ceased to serve by itself.
    until("the worker serves nothing any more", || {
        let deleted = worker.count("delete ");
        (deleted >= served && deleted == worker.count("serve ")).then_some(())
    });

    network.mend();
    cluster.wait_until_serving(worker.name(), since);
    cluster.wait_until_served();
    cluster.assert_one_owner_at_a_time();
}
