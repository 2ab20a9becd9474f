//! Clusters whose registry is away: what is written needs none, as long as nobody is lost.

use std::time::Duration;

use shardwright_testkit::nats::{NatsCluster, current};

use super::{cluster::Cluster, wounds::kill_busiest};
use crate::processes::clock;

/// Longer than any time-out of the cluster.
const AWAY: Duration = Duration::from_secs(6);

#[test]
fn the_registry_is_killed_and_comes_back() {
    let Some(server) = current() else { return };
    let mut nats = NatsCluster::start(&server, 1);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut cluster = Cluster::on(nats.url(), directory);
    cluster.during(
        "sigkill of nats-server, for a while",
        Some(Duration::from_secs(1)),
        |cluster| {
            nats.kill(0);
            let since = clock::now();
            while Duration::from_nanos(clock::now() - since) < AWAY {
                cluster.wait_for_progress();
            }
        },
    );
    cluster.during("  it comes back", None, |cluster| {
        nats.restart(0);
        cluster.wait_until_whole();
    });
    kill_busiest(&mut cluster);
    cluster.finish();
}
