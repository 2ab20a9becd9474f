//! Elections over a store in memory, whose answers get lost as the test says.

use std::{sync::Arc, time::Duration};

use futures_executor::block_on;
use proptest::prelude::*;
use shardwright_topology::{Incarnation, NodeId};

use super::*;
use crate::{Error, Leases, MemoryStore, StoreError};

const TIMEOUT_MS: u64 = 100;
const HOLD_MS: u64 = 90;

fn ms(ms: u64) -> Timestamp {
    Timestamp(Duration::from_millis(ms))
}

fn timing() -> LeaseTiming {
    let timing = LeaseTiming::new(
        Duration::from_millis(TIMEOUT_MS),
        Duration::from_millis(HOLD_MS),
    );
    timing.expect("the holder stops first")
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It happens, and the answer is lost.
    AnswerLost,
    /// It never arrives.
    Dropped,
}

/// One process with its store.
struct Process {
    election: Election,
    leases: Leases,
    fate: Fate,
}

impl Process {
    fn new(number: u64, store: &MemoryStore) -> Self {
        let me = Holder {
            node: NodeId::new(format!("c{number}")).expect("a name"),
            incarnation: Incarnation(1),
        };
        let key = Key::new("lease/coordinator").expect("a key");
        Self {
            election: Election::new(key, me, timing()),
            leases: Leases::new(Arc::new(store.clone()), timing()),
            fate: Fate::Answered,
        }
    }

    fn lease(&self) -> Option<Stored<LeaseRecord>> {
        block_on(self.leases.records().get("coordinator")).expect("readable")
    }

    /// Looks at the lease.
    fn look(&mut self, now: u64) -> String {
        let mut actions = Vec::new();
        let lease = self.lease();
        self.election.observe(ms(now), lease, &mut actions);
        self.perform(now, actions)
    }

    /// Does what is due.
    fn tick(&mut self, now: u64) -> String {
        let mut actions = Vec::new();
        self.election.tick(ms(now), &mut actions);
        self.perform(now, actions)
    }

    /// Performs actions to the end, and says what they were: `W` a write, `L` and `S` with the term.
    fn perform(&mut self, now: u64, actions: Vec<ElectionAction>) -> String {
        let mut text = String::new();
        for action in actions {
            match action {
                ElectionAction::Lead { term } => text += &format!("L{term}"),
                ElectionAction::StepDown { term } => text += &format!("S{term}"),
                ElectionAction::Write { expected, record } => {
                    text += "W";
                    let outcome = self.write(expected, record);
                    let mut next = Vec::new();
                    self.election.wrote(ms(now), outcome, &mut next);
                    text += &self.perform(now, next);
                }
            }
        }
        text
    }

    fn write(&self, expected: Option<Revision>, record: LeaseRecord) -> WriteOutcome {
        if self.fate == Fate::Dropped {
            return WriteOutcome::Failed;
        }
        let records = self.leases.records();
        let outcome = block_on(async {
            match expected {
                None => records.create("coordinator", record).await,
                Some(revision) => {
                    let current = Stored {
                        key: self.election.key().clone(),
                        value: record.clone(),
                        revision,
                    };
                    records.replace(&current, record).await
                }
            }
        });
        match outcome {
            _ if self.fate == Fate::AnswerLost => WriteOutcome::Failed,
            Ok(stored) => WriteOutcome::Written(stored.revision),
            Err(Error::Store(StoreError::Conflict { .. })) => WriteOutcome::Conflict(self.lease()),
            Err(error) => panic!("a store in memory answers: {error}"),
        }
    }
}

fn two() -> [Process; 2] {
    let store = MemoryStore::new();
    [Process::new(1, &store), Process::new(2, &store)]
}

#[test]
fn the_first_to_look_leads_and_renews_and_the_other_waits() {
    let [mut a, mut b] = two();
    assert_eq!(a.tick(0), "", "nothing was seen yet");
    a.look(0);
    b.look(0);
    assert_eq!(a.tick(0), "WL1");
    assert_eq!(b.tick(1), "W", "it was faster");
    assert_eq!(a.election.leads(ms(HOLD_MS - 1)), Some(1));
    assert_eq!(a.election.leads(ms(HOLD_MS)), None);
    for at in [30, 60, 90, 120] {
        assert_eq!(a.election.next_tick(), Some(ms(at)));
        assert_eq!(a.tick(at), "W");
        assert_eq!(b.look(at) + &b.tick(at), "");
    }
    assert_eq!(a.election.leads_until(), Some(ms(120 + HOLD_MS)));
    assert_eq!(b.election.next_tick(), Some(ms(120 + TIMEOUT_MS)));
}

#[test]
fn a_leader_whose_renewals_are_dropped_stops_before_the_other_begins() {
    let [mut a, mut b] = two();
    a.look(0);
    assert_eq!(a.tick(0), "WL1");
    b.look(1);
    a.fate = Fate::Dropped;
    assert_eq!(a.tick(30), "W");
    assert_eq!(a.tick(HOLD_MS - 1), "W");
    assert_eq!(b.tick(TIMEOUT_MS), "", "it saw the lease at 1");
    assert_eq!(a.tick(HOLD_MS), "S1");
    assert_eq!(b.tick(TIMEOUT_MS + 1), "WL2");
    a.fate = Fate::Answered;
    assert_eq!(a.tick(TIMEOUT_MS + 2), "W", "it finds that it lost");
    assert_eq!(a.tick(TIMEOUT_MS + 3), "");
}

#[test]
fn what_happened_unseen_counts_from_when_it_was_first_sent() {
    let [mut a, mut b] = two();
    a.look(0);
    b.look(0);
    a.fate = Fate::AnswerLost;
    assert_eq!(a.tick(0), "W");
    assert_eq!(a.election.leads(ms(0)), None, "it does not know");
    a.fate = Fate::Answered;
    assert_eq!(a.tick(10), "WL1", "a second try finds the first");
    assert_eq!(a.election.leads_until(), Some(ms(HOLD_MS)));
    // A renewal whose answer is lost is seen in the watch.
    a.fate = Fate::AnswerLost;
    assert_eq!(a.tick(30), "W");
    assert_eq!(a.election.leads_until(), Some(ms(HOLD_MS)));
    assert_eq!(a.look(50), "");
    assert_eq!(a.election.leads_until(), Some(ms(30 + HOLD_MS)));
    assert_eq!(b.look(50) + &b.tick(60), "");
}

#[test]
fn a_process_that_was_paused_past_its_lease_steps_down_before_anything_else() {
    let [mut a, mut b] = two();
    a.look(0);
    a.tick(0);
    b.look(0);
    assert_eq!(b.tick(TIMEOUT_MS), "WL2");
    // It wakes up: it may not act, whatever it is told first.
    assert_eq!(a.election.leads(ms(500)), None);
    assert_eq!(a.clone_tick(500), "S1W");
    assert_eq!(a.look(500), "S1");
    assert_eq!(a.tick(501), "", "the other's lease is new to it");
}

impl Process {
    /// What a tick would do.
    fn clone_tick(&self, now: u64) -> String {
        let copy = Self {
            election: self.election.clone(),
            leases: self.leases.clone(),
            fate: Fate::Dropped,
        };
        let mut copy = copy;
        copy.tick(now)
    }
}

#[test]
fn who_resigns_is_followed_at_once() {
    let [mut a, mut b] = two();
    a.look(0);
    a.tick(0);
    b.look(0);
    let mut actions = Vec::new();
    a.election.resign(ms(10), &mut actions);
    assert_eq!(a.perform(10, actions), "S1W");
    assert_eq!(a.tick(200), "");
    assert_eq!(a.election.next_tick(), None);
    assert_eq!(b.look(11) + &b.tick(11), "WL2");
}

#[test]
fn a_leader_that_lost_its_hold_to_a_silent_store_leads_again_in_a_new_term() {
    let [mut a, _] = two();
    a.look(0);
    a.tick(0);
    a.fate = Fate::Dropped;
    assert_eq!(a.tick(95), "S1W");
    a.fate = Fate::Answered;
    let again = a.election.next_tick().expect("it tries again");
    assert!(again < ms(95 + TIMEOUT_MS), "nobody else can be acting");
    assert_eq!(a.tick(110), "WL2");
}

proptest! {
    /// Two processes that look, tick, pause and lose messages at random never lead at once, and their terms never come again.
    #[test]
    fn no_two_lead_at_once(steps in prop::collection::vec((0..2_usize, 0..3_u8, 0..3_u8, 0..40_u64), 1..200)) {
        let mut processes = two();
        let mut now = 0;
        let mut terms = [0; 2];
        for (who, what, fate, wait) in steps {
            now += wait;
            let process = &mut processes[who];
            process.fate = [Fate::Answered, Fate::AnswerLost, Fate::Dropped][usize::from(fate)];
            if what == 0 {
                process.look(now);
            } else {
                process.tick(now);
            }
            if let Some(term) = processes[who].election.leads(ms(now)) {
                prop_assert!(terms[who] <= term && terms[1 - who] < term, "term {term} after {terms:?}");
                terms[who] = term;
            }
            let leads = processes.iter().filter(|process| process.election.leads(ms(now)).is_some());
            prop_assert!(leads.count() < 2, "two lead at {now}");
        }
    }
}
