//! A trial of the simulator itself: several processes add to one number by compare-and-set, and follow it by a watch.

use std::{collections::BTreeMap, time::Duration};

use shardwright_registry::{Key, Prefix, Revision, Stored};
use shardwright_testkit::sim::{
    Change, Faults, Input, InputOf, Outcome, Pid, Scenario, Sim, Write, marks,
};

/// What each process saw last.
pub(crate) struct Counter {
    key: Key,
    seen: BTreeMap<Pid, (Revision, u64)>,
    mutation: Option<Missing>,
}

/// A rule of this scenario that can be left out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Missing {
    /// A watch begins after the listing that goes with it.
    Listing,
}

/// What comes back to a process.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    Add,
    Follow,
}

const PROCESSES: usize = 4;
const TIMEOUT: Duration = Duration::from_millis(600);

impl Counter {
    fn add(&self, sim: &mut Sim<Self>, at: Pid, found: Option<Stored<u64>>) {
        let write = Write {
            key: self.key.clone(),
            expected: found.as_ref().map(|found| found.revision),
            value: Some(found.map_or(0, |found| found.value) + 1),
        };
        sim.write(at, Token::Add, write);
    }

    fn see(&mut self, at: Pid, stored: Option<Stored<u64>>) {
        if let Some(stored) = stored {
            self.seen.insert(at, (stored.revision, stored.value));
        }
    }

    fn rest(sim: &mut Sim<Self>, at: Pid) {
        let next = sim.now(at) + TIMEOUT / 4;
        sim.wake(at, next, Token::Add);
    }
}

impl Scenario for Counter {
    type Message = ();
    type Token = Token;
    type Value = u64;
    type Mutation = Missing;

    const NAME: &'static str = "counter";
    const MARKS: &'static [&'static [&'static str]] = &[marks::STORE, &["somebody was faster"]];
    const MUTATIONS: &'static [Missing] = &[Missing::Listing];

    fn faults(_: Option<Missing>) -> Faults {
        Faults::around(TIMEOUT)
    }

    fn new(sim: &mut Sim<Self>, mutation: Option<Missing>) -> Self {
        for _ in 0..PROCESSES {
            sim.spawn();
        }
        Self {
            key: Key::new("number").expect("a key"),
            seen: BTreeMap::new(),
            mutation,
        }
    }

    fn handle(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
        match input {
            Input::Start => {
                self.seen.remove(&at);
                sim.list(at, Token::Follow, Prefix::all());
                Self::rest(sim, at);
            }
            Input::Timer(_) => sim.get(at, Token::Add, self.key.clone()),
            Input::Got { found, .. } => match found {
                Ok(found) => self.add(sim, at, found),
                Err(_) => Self::rest(sim, at),
            },
            Input::Written { outcome, .. } => match outcome {
                Outcome::Conflict(found) => {
                    sim.mark("somebody was faster");
                    self.add(sim, at, found);
                }
                Outcome::Done(_) | Outcome::Unknown | Outcome::Unavailable => Self::rest(sim, at),
            },
            Input::Listed { found, .. } => match found {
                Ok((mut entries, revision)) => {
                    let after = match self.mutation {
                        None => revision,
                        Some(Missing::Listing) => sim.store().revision(),
                    };
                    // A listing may be older than what was seen, and the watch goes on from there.
                    self.seen.remove(&at);
                    self.see(at, entries.pop());
                    sim.watch(at, Token::Follow, Prefix::all(), after);
                }
                Err(_) => sim.list(at, Token::Follow, Prefix::all()),
            },
            Input::Changed { change, .. } => {
                let next = self.seen.get(&at).map_or(0, |(_, value)| *value) + 1;
                assert_eq!(change.value, Some(next), "a watch has no gap");
                self.see(at, change.into_stored());
            }
            Input::Ended { .. } => sim.list(at, Token::Follow, Prefix::all()),
            Input::Message { .. } => {}
        }
    }

    fn committed(&mut self, _: &Sim<Self>, change: &Change<u64>) -> Result<(), String> {
        if change.value == Some(change.revision.0) {
            Ok(())
        } else {
            Err(format!("{change:?} does not count the changes"))
        }
    }

    fn check(&mut self, _: &Sim<Self>) -> Result<(), String> {
        Ok(())
    }

    fn recovered(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        let now = sim.store().revision();
        for (at, (revision, _)) in &self.seen {
            if revision.0 + 10 < now.0 {
                return Err(format!("{at} saw {revision} last, of {now}"));
            }
        }
        Ok(())
    }

    fn recovery_time(&self) -> Duration {
        TIMEOUT * 2
    }
}

#[cfg(test)]
mod tests {
    use shardwright_testkit::sim::Case;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_run_every_time() {
        let case = Case::of::<Counter>();
        let (first, second) = (case.run(7, true), case.run(7, true));
        assert!(first.trace.len() > 1_000);
        assert_eq!(first.trace, second.trace);
    }
}
