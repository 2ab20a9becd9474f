//! A disk that is full, or fails: nothing more is taken, and nothing that was acknowledged is lost.

use proptest::prelude::*;

use super::{
    super::journal::Journal,
    fake::{Fake, Fault},
    script::{COPY, SMALL, Script, steps, tour},
};
use crate::log::{Durable, StorageError};

/// Fails at a step after the copy was made, opens again without a crash, and then after one.
#[track_caller]
fn fail_at(script: &Script, step: u64, fault: Fault, seed: u64) {
    let disk = Fake::new(seed);
    let mut journal =
        Journal::create(disk.clone(), Durable::new(COPY), SMALL).expect("nothing fails");
    disk.fail_after(step, fault);
    let mut acknowledged = 0;
    let mut failed = None;
    for writes in &script.calls {
        match journal.persist(writes) {
            Ok(()) => acknowledged += 1,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if !disk.heal() {
        assert_eq!(acknowledged, script.calls.len());
        return;
    }
    if let Some(error) = failed {
        let is_medium = matches!(error, StorageError::Medium(_));
        let is_full = matches!(error, StorageError::NoRoom(_));
        assert!(is_medium || (is_full && fault == Fault::NoRoom), "{error}");
        let again = journal.persist(&script.calls[0]);
        assert!(
            matches!(again, Err(StorageError::Failed)),
            "nothing is taken any more"
        );
    }
    drop(journal);
    let journal = Journal::open(disk.clone(), SMALL).expect("a fault is no damage");
    let shown = journal.kept().clone();
    let possible = &script.kept[acknowledged..script.kept.len().min(acknowledged + 2)];
    assert!(possible.contains(&shown), "all or nothing of the last call");
    drop(journal);
    disk.crash();
    let journal = Journal::open(disk, SMALL).expect("a crash is no damage");
    assert_eq!(journal.kept(), &shown, "what was shown is durable");
}

#[test]
fn a_fault_at_each_step_of_a_tour_loses_nothing() {
    for fault in [Fault::NoRoom, Fault::Broken] {
        for (step, seed) in (0..80).flat_map(|step| (0..12).map(move |seed| (step, seed))) {
            fail_at(&tour(), step, fault, seed);
        }
    }
}

#[test]
fn a_full_disk_that_is_cleared_goes_on() {
    let script = tour();
    let disk = Fake::new(1);
    let mut journal =
        Journal::create(disk.clone(), Durable::new(COPY), SMALL).expect("nothing fails");
    for (number, writes) in script.calls.iter().enumerate() {
        disk.fail_after(0, Fault::NoRoom);
        let refused = journal.persist(writes);
        assert!(
            matches!(refused, Err(StorageError::NoRoom(_))),
            "call {number}"
        );
        journal = Journal::open(disk.clone(), SMALL).expect("all is there");
        if journal.kept() == &script.kept[number] {
            journal.persist(writes).expect("there is room");
        }
        assert_eq!(journal.kept(), &script.kept[number + 1]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_fault_anywhere_loses_nothing(steps in steps(), step in 0..80u64, full: bool, seed: u64) {
        let fault = if full { Fault::NoRoom } else { Fault::Broken };
        fail_at(&Script::of(&steps), step, fault, seed);
    }
}
