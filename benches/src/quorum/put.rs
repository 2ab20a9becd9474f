//! Puts whose stores and peers answer at once, so that what is measured is the coordinator's own time.

use std::hint::black_box;

use bytes::Bytes;
use shardwright_quorum::{
    BoxError, CommitLevel, Coordinator, PeerClient, Place, ReplicationStrategy, Settings, Storage,
};
use tokio::runtime::{Builder, Runtime};

use crate::harness::Suite;

/// What the coordinator may take for a put with up to three copies, in nanoseconds.
const PUT_NS: f64 = 1_000.0;

/// As much for each of five copies.
const PUT_5_NS: f64 = PUT_NS * 5.0 / 3.0;

/// Puts of one measurement.
const PUTS: usize = 1_000;

/// A store and a peer that have every event.
#[derive(Debug, Clone, Copy)]
struct Instant;

impl Storage for Instant {
    async fn put(&self, key: &str, event: Bytes) -> Result<(), BoxError> {
        black_box((key, event));
        Ok(())
    }
}

impl PeerClient for Instant {
    type Peer = u32;

    async fn put(&self, peer: &u32, key: &str, event: Bytes) -> Result<(), BoxError> {
        black_box((peer, key, event));
        Ok(())
    }
}

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let spread = ReplicationStrategy {
        other_zone_replicas: 1,
        other_region_replicas: 1,
    };
    let quorum = (3, CommitLevel::Quorum, spread);
    case(suite, &runtime, "put_memory", quorum)?;
    let all = (3, CommitLevel::All, spread);
    case(suite, &runtime, "put_memory_all", all)?;
    let five = (5, CommitLevel::Quorum, spread);
    case(suite, &runtime, "put_memory_5", five)?;
    let alone = (1, CommitLevel::Quorum, ReplicationStrategy::default());
    case(suite, &runtime, "put_memory_1", alone)
}

/// Puts among six peers: two in the same zone, two in another one, two in another region.
fn case(
    suite: &mut Suite,
    runtime: &Runtime,
    name: &'static str,
    (replication_factor, commit_level, replication_strategy): (
        usize,
        CommitLevel,
        ReplicationStrategy,
    ),
) -> anyhow::Result<()> {
    let settings = Settings {
        replication_factor,
        commit_level,
        replication_strategy,
        seed: Some(1),
        ..Settings::default()
    };
    let coordinator = Coordinator::new(Instant, Instant, settings)?;
    let zone = || Place::OtherZone("zone-2".to_owned());
    let region = || Place::OtherRegion("region-2".to_owned());
    let places = [
        Place::SameZone,
        Place::SameZone,
        zone(),
        zone(),
        region(),
        region(),
    ];
    for (number, place) in (0..).zip(places) {
        coordinator.add_peer(format!("peer-{number}").as_str(), number, place);
    }
    let event = Bytes::from(vec![7; 100]);
    let puts = || {
        runtime.block_on(async {
            for _ in 0..PUTS {
                let put = coordinator.put("019a9c3e-5b6d-7cc3-98c4-dc0c0c07398f", event.clone());
                assert!(black_box(put.await).is_ok(), "everybody has the event");
            }
        });
    };
    let limit = if replication_factor > 3 {
        PUT_5_NS
    } else {
        PUT_NS
    };
    suite.time_within(name, limit, PUTS, puts);
    Ok(())
}
