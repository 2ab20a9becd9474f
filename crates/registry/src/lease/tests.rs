//! Holders and watchers of a lease, each with a clock of its own.

use std::time::Duration;

use futures_executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::{MemoryStore, Revision};

const TIMEOUT_MS: u64 = 100;
const HOLD_MS: u64 = 80;

fn ms(ms: u64) -> Timestamp {
    Timestamp(Duration::from_millis(ms))
}

fn leases() -> Leases {
    let timing = LeaseTiming::new(
        Duration::from_millis(TIMEOUT_MS),
        Duration::from_millis(HOLD_MS),
    );
    Leases::new(
        Arc::new(MemoryStore::new()),
        timing.expect("the holder stops first"),
    )
}

fn holder(number: usize) -> Holder {
    let node = NodeId::new(format!("n{number}")).expect("a valid name");
    Holder {
        node,
        incarnation: Incarnation(1),
    }
}

/// Looks at the lease and takes it if it is vacant.
fn try_take(
    leases: &Leases,
    watcher: &mut LeaseWatcher,
    number: usize,
    now: Timestamp,
) -> Option<Held> {
    block_on(async {
        let seen = leases.records().get("leader").await.expect("readable");
        watcher.observe(now, seen);
        let vacancy = watcher.vacancy(now)?;
        leases
            .acquire("leader", &vacancy, holder(number), now)
            .await
            .ok()
    })
}

#[test]
fn a_write_that_took_long_prolongs_no_lease() {
    let leases = leases();
    let mut watcher = LeaseWatcher::new(leases.timing());
    watcher.observe(ms(0), None);
    let held = try_take(&leases, &mut watcher, 1, ms(10));
    let stored = held.expect("nobody has it").stored().clone();
    let revision = stored.revision;
    watcher.observe(ms(70), Some(stored));
    assert_eq!(watcher.vacant_at(), Some(ms(70 + TIMEOUT_MS)));
    watcher.date_back(Revision(revision.0 + 1), ms(10));
    assert_eq!(
        watcher.vacant_at(),
        Some(ms(70 + TIMEOUT_MS)),
        "of another change"
    );
    watcher.date_back(revision, ms(10));
    assert_eq!(watcher.vacant_at(), Some(ms(10 + TIMEOUT_MS)));
    watcher.date_back(revision, ms(50));
    assert_eq!(
        watcher.vacant_at(),
        Some(ms(10 + TIMEOUT_MS)),
        "never later"
    );
}

#[test]
fn a_holder_that_would_outlast_the_watchers_patience_is_refused() {
    let second = Duration::from_secs(1);
    assert_eq!(
        LeaseTiming::new(second, second),
        Err(InvalidTiming {
            timeout: second,
            hold: second
        })
    );
    assert!(LeaseTiming::new(second, Duration::ZERO).is_err());
    assert!(LeaseTiming::new(second, second / 2).is_ok());
}

#[test]
fn a_new_lease_is_vacant_and_a_held_one_is_not_for_the_time_out() {
    let leases = leases();
    let (mut a, mut b) = (
        LeaseWatcher::new(leases.timing()),
        LeaseWatcher::new(leases.timing()),
    );
    assert!(a.vacancy(ms(0)).is_none(), "nothing was seen yet");
    let held = try_take(&leases, &mut a, 1, ms(0)).expect("vacant");
    assert_eq!((held.term(), held.ends_at()), (1, ms(HOLD_MS)));
    // The second watcher comes late, and counts from when it came.
    assert!(try_take(&leases, &mut b, 2, ms(90)).is_none());
    assert!(try_take(&leases, &mut b, 2, ms(90 + TIMEOUT_MS - 1)).is_none());
    let taken = try_take(&leases, &mut b, 2, ms(90 + TIMEOUT_MS)).expect("silent for the time-out");
    assert_eq!(taken.term(), 2);
    assert_eq!(b.vacant_at(), Some(ms(90 + TIMEOUT_MS)));
}

#[test]
fn a_renewal_extends_the_lease_from_when_it_was_sent() {
    let leases = leases();
    let mut a = LeaseWatcher::new(leases.timing());
    let mut held = try_take(&leases, &mut a, 1, ms(0)).expect("vacant");
    block_on(leases.renew(&mut held, ms(50))).expect("still ours");
    assert!(held.holds_at(ms(50 + HOLD_MS - 1)));
    assert!(!held.holds_at(ms(50 + HOLD_MS)));
}

#[test]
fn a_holder_whose_lease_was_taken_cannot_renew_it() {
    let leases = leases();
    let (mut a, mut b) = (
        LeaseWatcher::new(leases.timing()),
        LeaseWatcher::new(leases.timing()),
    );
    let mut held = try_take(&leases, &mut a, 1, ms(0)).expect("vacant");
    assert!(try_take(&leases, &mut b, 2, ms(0)).is_none());
    let _taken = try_take(&leases, &mut b, 2, ms(TIMEOUT_MS)).expect("silent");
    let refused = block_on(leases.renew(&mut held, ms(TIMEOUT_MS))).expect_err("taken");
    assert!(
        matches!(refused, Error::Store(StoreError::Conflict { .. })),
        "{refused}"
    );
    assert_eq!(
        held.ends_at(),
        ms(HOLD_MS),
        "a refused renewal extends nothing"
    );
}

#[test]
fn a_renewal_whose_answer_was_lost_does_not_end_the_lease() {
    let leases = leases();
    let mut a = LeaseWatcher::new(leases.timing());
    let mut held = try_take(&leases, &mut a, 1, ms(0)).expect("vacant");
    // The renewal that the holder does not know of.
    let lost = LeaseRecord {
        counter: 1,
        ..held.stored().value.clone()
    };
    block_on(leases.records().replace(held.stored(), lost)).expect("ours");
    block_on(leases.renew(&mut held, ms(40))).expect("still ours");
    assert_eq!(
        (held.stored().value.counter, held.ends_at()),
        (2, ms(40 + HOLD_MS))
    );
}

#[test]
fn a_released_lease_is_vacant_at_once_and_keeps_its_term() {
    let leases = leases();
    let (mut a, mut b) = (
        LeaseWatcher::new(leases.timing()),
        LeaseWatcher::new(leases.timing()),
    );
    let held = try_take(&leases, &mut a, 1, ms(0)).expect("vacant");
    block_on(leases.release(held)).expect("ours");
    let next = try_take(&leases, &mut b, 2, ms(1)).expect("released");
    assert_eq!(next.term(), 2);
}

#[test]
fn a_lagging_read_does_not_start_the_time_out_again() {
    let leases = leases();
    let mut watcher = LeaseWatcher::new(leases.timing());
    let mut held =
        try_take(&leases, &mut LeaseWatcher::new(leases.timing()), 1, ms(0)).expect("vacant");
    let old = held.stored().clone();
    block_on(leases.renew(&mut held, ms(10))).expect("ours");
    watcher.observe(ms(10), Some(held.stored().clone()));
    watcher.observe(ms(20), Some(old));
    watcher.observe(ms(30), None);
    assert_eq!(watcher.vacant_at(), Some(ms(10 + TIMEOUT_MS)));
}

/// What one process does next, and how long its message is under way.
#[derive(Debug, Clone)]
struct Step {
    process: usize,
    release: bool,
    wait_ms: u64,
    delay_ms: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_usize..3, prop::bool::weighted(0.05), 0_u64..60, 0_u64..60);
    let step = step.prop_map(|(process, release, wait_ms, delay_ms)| Step {
        process,
        release,
        wait_ms,
        delay_ms,
    });
    prop::collection::vec(step, 0..120)
}

struct Process {
    watcher: LeaseWatcher,
    held: Option<Held>,
    /// Its clock shows this at the moment 0: clocks of processes have nothing in common but their rate.
    offset_ms: u64,
}

proptest! {
    #[test]
    fn no_two_processes_ever_hold_a_lease_at_once(steps in steps()) {
        let leases = leases();
        let process = |offset_ms| Process {
            watcher: LeaseWatcher::new(leases.timing()),
            held: None,
            offset_ms,
        };
        let mut processes = [process(0), process(12_345), process(7)];
        let (mut moment_ms, mut last_term) = (0, 0);
        for step in steps {
            moment_ms += step.wait_ms;
            let at = &mut processes[step.process];
            let sent_at = ms(moment_ms + at.offset_ms);
            // The clock is read before the message is sent, and the message takes its time.
            moment_ms += step.delay_ms;
            let arrived_at = ms(moment_ms + at.offset_ms);
            at.held = match at.held.take() {
                Some(held) if step.release => {
                    drop(block_on(leases.release(held)));
                    None
                }
                Some(mut held) => block_on(leases.renew(&mut held, sent_at)).ok().map(|()| held),
                None => {
                    let seen = block_on(leases.records().get("leader")).expect("readable");
                    at.watcher.observe(arrived_at, seen);
                    let vacancy = at.watcher.vacancy(arrived_at);
                    vacancy.and_then(|vacancy| {
                        let taken = leases.acquire("leader", &vacancy, holder(step.process), sent_at);
                        block_on(taken).ok()
                    })
                }
            };
            if let Some(held) = &at.held {
                prop_assert!(last_term <= held.term(), "terms only grow");
                last_term = held.term();
            }
            let holds = |process: &&Process| {
                let now = ms(moment_ms + process.offset_ms);
                process.held.as_ref().is_some_and(|held| held.holds_at(now))
            };
            prop_assert!(processes.iter().filter(holds).count() <= 1, "one holder at a time");
        }
    }
}
