//! Faults in a random order, for as long as one wants.

use std::{env, time::Duration};

use shardwright_testkit::Dice;

use super::{
    cluster::Cluster,
    registry::{AWAY, be_without_registry},
    wounds::{
        cut_both_ways, cut_one_way, fill_disk, kill_busiest, kill_idlest, kill_leading_coordinator,
        restart_all, stop_busiest,
    },
};
use crate::processes::clock;

/// Says for how many seconds, in all; `cargo xtask test --nightly` sets it.
const SECONDS: &str = "SHARDWRIGHT_TEST_FAULT_SECONDS";

/// Names the seed of an earlier run.
const SEED: &str = "SHARDWRIGHT_TEST_FAULT_SEED";

const NANOSECONDS: u64 = 1_000_000_000;

/// How long the data path goes on without a registry, where one wants to know.
const LONG: Duration = Duration::from_secs(60);

/// How likely the registry is the next to go, in percent.
const REGISTRY_CHANCE: u32 = 15;

/// All faults that a cluster survives, whatever its registry is in.
const FAULTS: [fn(&mut Cluster); 8] = [
    kill_busiest,
    kill_idlest,
    kill_leading_coordinator,
    stop_busiest,
    cut_both_ways,
    cut_one_way,
    fill_disk,
    restart_all,
];

#[test]
fn faults_follow_one_another() {
    let Some((mut dice, seconds)) = asked_for() else {
        return;
    };
    let mut cluster = Cluster::on_sqlite();
    let end = clock::now() + seconds / 2 * NANOSECONDS;
    while clock::now() < end {
        dice.pick(&FAULTS)(&mut cluster);
    }
    cluster.finish();
}

#[test]
fn faults_follow_one_another_and_the_registry_has_some_too() {
    let Some((mut dice, seconds)) = asked_for() else {
        return;
    };
    let Some(mut cluster) = Cluster::on_nats() else {
        return;
    };
    let end = clock::now() + seconds / 2 * NANOSECONDS;
    be_without_registry(&mut cluster, LONG);
    while clock::now() < end {
        if dice.chance(REGISTRY_CHANCE) {
            be_without_registry(&mut cluster, AWAY);
        } else {
            dice.pick(&FAULTS)(&mut cluster);
        }
    }
    cluster.finish();
}

/// The dice, and for how many seconds; `None` if nobody wants it.
#[expect(clippy::print_stdout, reason = "the seed belongs to the test's output")]
fn asked_for() -> Option<(Dice, u64)> {
    let Some(seconds) = setting(SECONDS) else {
        println!("not asked for with {SECONDS}");
        return None;
    };
    let seed = setting(SEED).unwrap_or_else(clock::now);
    println!("{SEED}={seed}");
    Some((Dice::new(seed), seconds))
}

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}
