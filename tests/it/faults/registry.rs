//! Clusters whose registry is away: what is written needs none, as long as nobody is lost.

use std::time::Duration;

use super::{cluster::Cluster, wounds::kill_busiest};
use crate::processes::clock;

/// Longer than any time-out of the cluster.
pub(super) const AWAY: Duration = Duration::from_secs(6);

/// The longest that a client may wait meanwhile: there is no reason to wait at all.
const WAIT: Option<Duration> = Some(Duration::from_secs(1));

#[test]
fn the_registry_is_killed_and_comes_back() {
    let Some(mut cluster) = Cluster::on_nats() else {
        return;
    };
    be_without_registry(&mut cluster, AWAY);
    kill_busiest(&mut cluster);
    cluster.finish();
}

/// Kills the nats-server that has the registry, and starts it again after that time.
pub(super) fn be_without_registry(cluster: &mut Cluster, time: Duration) {
    let seconds = time.as_secs();
    let fault = format!("sigkill of nats-server, for {seconds} s");
    cluster.during(&fault, WAIT, |cluster| {
        cluster.nats().kill(0);
        let since = clock::now();
        while Duration::from_nanos(clock::now() - since) < time {
            cluster.wait_for_progress();
        }
    });
    cluster.during("  it comes back", None, |cluster| {
        cluster.nats().restart(0);
        cluster.wait_until_whole();
    });
}
