//! Faults in a random order, for as long as one wants.

use std::env;

use shardwright_testkit::Dice;

use super::{
    cluster::Cluster,
    wounds::{
        cut_both_ways, cut_one_way, fill_disk, kill_busiest, kill_idlest, kill_leading_coordinator,
        restart_all, stop_busiest,
    },
};
use crate::processes::clock;

/// Says for how many seconds; `cargo xtask test --nightly` sets it.
const SECONDS: &str = "SHARDWRIGHT_TEST_FAULT_SECONDS";

/// Names the seed of an earlier run.
const SEED: &str = "SHARDWRIGHT_TEST_FAULT_SEED";

const NANOSECONDS: u64 = 1_000_000_000;

/// All faults that a cluster on an SQLite registry survives.
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
    let Some(seconds) = setting(SECONDS) else {
        println!("not asked for with {SECONDS}");
        return;
    };
    let seed = setting(SEED).unwrap_or_else(clock::now);
    println!("{SEED}={seed}");
    let mut dice = Dice::new(seed);
    let end = clock::now() + seconds * NANOSECONDS;
    let mut cluster = Cluster::on_sqlite();
    while clock::now() < end {
        dice.pick(&FAULTS)(&mut cluster);
    }
    cluster.finish();
}

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}
