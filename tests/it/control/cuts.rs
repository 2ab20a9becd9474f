//! Networks that are cut between processes that live.

use super::{clock, cluster::Cluster, proxy::Network};

#[test]
fn a_worker_is_cut_off_from_all_coordinators() {
    let mut cluster = Cluster::on_sqlite().of_five();
    let network = Network::default();
    cluster.start_worker_behind(&network);
    let name = cluster.workers[5].name().to_owned();
    let serves = |cluster: &Cluster, since| {
        let history = cluster.history();
        let serving = history.serving(clock::now());
        serving
            .values()
            .any(|span| span.process == name && span.from > since)
            .then_some(())
    };
    clock::until("the worker behind the network serves", || {
        serves(&cluster, 0)
    });
    cluster.wait_until_served();

    let since = clock::now();
    network.cut();
    cluster.assert_recovers(since, &[&name]);
    // It could not be told, and has ceased to serve by itself.
    cluster.workers[5].says("delete ");

    network.mend();
    clock::until("the worker serves again", || serves(&cluster, since));
    cluster.wait_until_served();
    cluster.assert_one_owner_at_a_time();
}
