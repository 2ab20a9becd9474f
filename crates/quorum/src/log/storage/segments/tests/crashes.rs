//! A crash at any step loses nothing that was acknowledged.

use proptest::prelude::*;

use super::{
    super::{Options, journal::Journal, replay::NotRead},
    fake::{Fake, Fault},
    script::{COPY, SMALL, Script, detour, steps, tour},
};
use crate::log::{Durable, Write};

/// Runs calls until one fails, and returns how many did not.
fn run(journal: &mut Journal<Fake>, script: &Script, from: usize) -> usize {
    let calls = &script.calls[from..];
    from + calls
        .iter()
        .take_while(|writes| journal.persist(writes).is_ok())
        .count()
}

/// Opens what a crash left, and checks that it is what `script` kept after `acknowledged` calls, or one more. Returns how many.
#[track_caller]
fn reopened(
    disk: &Fake,
    options: Options,
    script: &Script,
    acknowledged: usize,
) -> (Journal<Fake>, usize) {
    let journal = Journal::open(disk.clone(), options).expect("a crash is no damage");
    let kept = &script.kept[acknowledged..];
    let more = kept.iter().take(2).position(|kept| kept == journal.kept());
    let more =
        more.expect("all that was acknowledged is there, and of the last call all or nothing");
    (journal, acknowledged + more)
}

/// Crashes at a step, then once more right after opening, and goes on to the end.
#[track_caller]
fn crash_at(script: &Script, step: u64, seed: u64) {
    let disk = Fake::new(seed);
    disk.fail_after(step, Fault::Crash);
    let created = Journal::create(disk.clone(), Durable::new(COPY), SMALL);
    let acknowledged = created.ok().map(|mut journal| run(&mut journal, script, 0));
    disk.heal();
    disk.crash();
    let Some(acknowledged) = acknowledged else {
        match Journal::open(disk, SMALL) {
            Ok(journal) => assert_eq!(journal.kept(), &script.kept[0]),
            Err(NotRead::Nothing) => {}
            Err(other) => panic!("a crash is no damage: {other:?}"),
        }
        return;
    };
    let (journal, shown) = reopened(&disk, SMALL, script, acknowledged);
    drop(journal);
    disk.crash();
    let journal = Journal::open(disk.clone(), SMALL).expect("a crash is no damage");
    assert_eq!(
        journal.kept(),
        &script.kept[shown],
        "what was shown is durable"
    );
    let larger = Options {
        segment_bytes: SMALL.segment_bytes * 2,
        ..SMALL
    };
    let (mut journal, _) = reopened(&disk, larger, script, shown);
    // Shorter than what may have been torn: nothing of that is left.
    journal.persist(&[Write::default()]).expect("nothing fails");
    disk.crash();
    let (mut journal, _) = reopened(&disk, larger, script, shown);
    assert_eq!(run(&mut journal, script, shown), script.calls.len());
    disk.crash();
    reopened(&disk, SMALL, script, script.calls.len());
}

/// How many steps the calls take.
fn steps_of(script: &Script) -> u64 {
    let disk = Fake::new(0);
    let journal = Journal::create(disk.clone(), Durable::new(COPY), SMALL);
    run(&mut journal.expect("nothing fails"), script, 0);
    disk.steps()
}

#[test]
fn a_crash_at_each_step_of_a_tour_loses_nothing() {
    for script in [tour(), detour()] {
        for step in 0..=steps_of(&script) {
            for seed in 0..12 {
                crash_at(&script, step, seed);
            }
        }
    }
}

#[test]
fn a_crash_while_opening_loses_nothing() {
    let script = tour();
    for step in 0..steps_of(&script) {
        for (seed, at) in (0..3).flat_map(|seed| (0..6).map(move |at| (seed, at))) {
            let disk = Fake::new(seed);
            disk.fail_after(step, Fault::Crash);
            let Ok(mut journal) = Journal::create(disk.clone(), Durable::new(COPY), SMALL) else {
                continue;
            };
            let acknowledged = run(&mut journal, &script, 0);
            disk.crash();
            disk.fail_after(at, Fault::Crash);
            let opened = Journal::open(disk.clone(), SMALL).is_ok();
            assert_eq!(
                opened,
                !disk.heal(),
                "opening goes on only if all went well"
            );
            disk.crash();
            reopened(&disk, SMALL, &script, acknowledged);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_crash_anywhere_loses_nothing(steps in steps(), at in 0.0..1.0f64, seed: u64) {
        let script = Script::of(&steps);
        let step = (steps_of(&script) as f64 * at) as u64;
        crash_at(&script, step, seed);
    }
}
