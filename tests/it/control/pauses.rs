//! Processes that stand still for longer than their lease, and go on as if nothing had happened.

use super::{clock, cluster::Cluster};

#[test]
fn a_worker_stands_still_past_its_lease() {
    let cluster = Cluster::on_sqlite().of_five();
    let worker = &cluster.workers[4];
    let since = worker.stop();
    cluster.assert_recovers(since, &[worker.name()]);
    worker.resume();
    // It learns that it lost everything, and is given shards again at new epochs.
    clock::until("the worker that stood still serves again", || {
        let history = cluster.history();
        let serving = history.serving(clock::now());
        serving
            .values()
            .any(|span| span.process == worker.name() && span.from > since)
            .then_some(())
    });
    cluster.wait_until_served();
    cluster.assert_one_owner_at_a_time();
}
