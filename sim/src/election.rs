//! Election: several processes, one lease, and work that only the leader of the latest term may do.
//!
//! What must hold: one process leads at a time, by true time; a term has one leader; the terms of the work that counts only grow. After the
//! faults somebody leads, works, and goes on leading.

use std::{collections::BTreeMap, time::Duration};

use shardwright_registry::{
    Election, ElectionAction, Holder, Key, LeaseRecord, LeaseTiming, Prefix, Revision, Stored,
    WriteOutcome,
};
use shardwright_testkit::sim::{
    Change, Faults, Input, InputOf, Outcome, Pid, Scenario, Sim, Write, marks,
};
use shardwright_topology::{Incarnation, NodeId};

/// The state of all processes.
pub(crate) struct Leaders {
    mutation: Option<Missing>,
    parts: BTreeMap<Pid, Part>,
    /// Who led in each term.
    leaders: BTreeMap<u64, (Pid, u32)>,
    /// The work that counts.
    worked: u64,
    last_term: u64,
    worked_at: Duration,
}

/// One process.
struct Part {
    election: Election,
    /// The work as it last saw it: its revision, and the term in which it was done.
    work: Option<(Revision, u64)>,
    working: bool,
}

/// A rule that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A leader stops before the others lose patience.
    HoldBelowTimeout,
    /// A write names the revision that it was decided on.
    CompareAndSet,
    /// No two processes are the same holder.
    OwnName,
}

/// What the store holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Lease(LeaseRecord),
    /// Work, done in a term.
    Work(u64),
}

/// What comes back to a process.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    Tick,
    Follow,
    Lease,
    Work(u64),
}

const PROCESSES: usize = 5;
const TIMEOUT: Duration = Duration::from_millis(300);

fn key(name: &str) -> Key {
    Key::new(name).expect("a key")
}

fn lease(stored: &Stored<Value>) -> Option<Stored<LeaseRecord>> {
    match &stored.value {
        Value::Lease(record) => Some(Stored {
            key: stored.key.clone(),
            value: record.clone(),
            revision: stored.revision,
        }),
        Value::Work(_) => None,
    }
}

impl Leaders {
    fn start(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let (name, life) = match self.mutation {
            Some(Missing::OwnName) => ("c".to_owned(), 1),
            _ => (at.to_string(), sim.life(at)),
        };
        let me = Holder {
            node: NodeId::new(name).expect("a name"),
            incarnation: Incarnation(u64::from(life)),
        };
        let hold = match self.mutation {
            // The others are as patient as was agreed.
            Some(Missing::HoldBelowTimeout) if at.0.is_multiple_of(2) => (TIMEOUT * 4, TIMEOUT * 3),
            _ => (TIMEOUT, TIMEOUT * 9 / 10),
        };
        let timing = LeaseTiming::new(hold.0, hold.1).expect("the hold is shorter");
        let part = Part {
            election: Election::new(key("lease/leader"), me, timing),
            work: None,
            working: false,
        };
        self.parts.insert(at, part);
        sim.list(at, Token::Follow, Prefix::all());
        Self::wake(sim, at);
    }

    fn wake(sim: &mut Sim<Self>, at: Pid) {
        let next = sim.now(at) + TIMEOUT / 10;
        sim.wake(at, next, Token::Tick);
    }

    fn see(&mut self, sim: &mut Sim<Self>, at: Pid, stored: &Stored<Value>) {
        if let Some(lease) = lease(stored) {
            let now = sim.now(at);
            return self.elect(sim, at, |election, actions| {
                election.observe(now, Some(lease), actions);
            });
        }
        if let (Value::Work(term), Some(part)) = (&stored.value, self.parts.get_mut(&at))
            && part.work.is_none_or(|(seen, _)| seen < stored.revision)
        {
            part.work = Some((stored.revision, *term));
        }
    }

    /// Feeds the election of one process, and does what it asks for.
    fn elect(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        step: impl FnOnce(&mut Election, &mut Vec<ElectionAction>),
    ) {
        let mut actions = Vec::new();
        if let Some(part) = self.parts.get_mut(&at) {
            step(&mut part.election, &mut actions);
        }
        for action in actions {
            sim.trace(|| format!("{at} -> {action:?}"));
            match action {
                ElectionAction::Write { expected, record } => {
                    let write = Write {
                        key: key("lease/leader"),
                        expected,
                        value: Some(Value::Lease(record)),
                    };
                    self.write(sim, at, Token::Lease, write);
                }
                ElectionAction::Lead { term } if term > 1 => sim.mark("a later leader"),
                ElectionAction::Lead { .. } => {}
                ElectionAction::StepDown { .. } => sim.mark("a leader steps down"),
            }
        }
    }

    fn write(&self, sim: &mut Sim<Self>, at: Pid, token: Token, mut write: Write<Value>) {
        if self.mutation == Some(Missing::CompareAndSet) {
            write.expected = sim.store().get(&write.key).map(|found| found.revision);
        }
        sim.write(at, token, write);
    }

    /// Does a piece of work, if this process may.
    fn work(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let now = sim.now(at);
        let Some(part) = self.parts.get_mut(&at) else {
            return;
        };
        let Some(term) = part.election.leads(now).filter(|_| !part.working) else {
            return;
        };
        if part.work.is_some_and(|(_, seen)| term < seen) {
            return;
        }
        part.working = true;
        let write = Write {
            key: key("work"),
            expected: part.work.map(|(revision, _)| revision),
            value: Some(Value::Work(term)),
        };
        self.write(sim, at, Token::Work(term), write);
    }

    fn worked(&mut self, sim: &mut Sim<Self>, at: Pid, term: u64, outcome: Outcome<Value>) {
        if let Some(part) = self.parts.get_mut(&at) {
            part.working = false;
        }
        match outcome {
            Outcome::Done(revision) => {
                let stored = Stored {
                    key: key("work"),
                    value: Value::Work(term),
                    revision,
                };
                self.see(sim, at, &stored);
            }
            Outcome::Conflict(found) => {
                if let Some(found) = found {
                    self.see(sim, at, &found);
                }
            }
            Outcome::Unknown | Outcome::Unavailable => {}
        }
    }

    fn leading(&self, sim: &Sim<Self>) -> Vec<(Pid, u64)> {
        let up = self.parts.iter().filter(|(at, _)| sim.is_up(**at));
        up.filter_map(|(at, part)| Some((*at, part.election.leads(sim.now(*at))?)))
            .collect()
    }
}

impl Scenario for Leaders {
    type Message = ();
    type Token = Token;
    type Value = Value;
    type Mutation = Missing;

    const NAME: &'static str = "election";
    const MARKS: &'static [&'static [&'static str]] =
        &[marks::STORE, &["a later leader", "a leader steps down"]];
    const MUTATIONS: &'static [Missing] = &[
        Missing::HoldBelowTimeout,
        Missing::CompareAndSet,
        Missing::OwnName,
    ];

    fn faults(_: Option<Missing>) -> Faults {
        Faults::around(TIMEOUT)
    }

    fn new(sim: &mut Sim<Self>, mutation: Option<Missing>) -> Self {
        for _ in 0..PROCESSES {
            sim.spawn();
        }
        Self {
            mutation,
            parts: BTreeMap::new(),
            leaders: BTreeMap::new(),
            worked: 0,
            last_term: 0,
            worked_at: Duration::ZERO,
        }
    }

    fn handle(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
        let now = sim.now(at);
        match input {
            Input::Start => self.start(sim, at),
            Input::Timer(Token::Follow) | Input::Ended { .. } => {
                sim.list(at, Token::Follow, Prefix::all());
            }
            Input::Timer(_) => {
                Self::wake(sim, at);
                self.elect(sim, at, |election, actions| election.tick(now, actions));
                self.work(sim, at);
            }
            Input::Listed { found, .. } => match found {
                Ok((entries, revision)) => {
                    for stored in &entries {
                        self.see(sim, at, stored);
                    }
                    // What was not shown does not exist.
                    self.elect(sim, at, |election, actions| {
                        election.observe(now, None, actions)
                    });
                    sim.watch(at, Token::Follow, Prefix::all(), revision);
                }
                Err(_) => sim.wake(at, now + TIMEOUT / 10, Token::Follow),
            },
            Input::Changed { change, .. } => {
                if let Some(stored) = change.into_stored() {
                    self.see(sim, at, &stored);
                }
            }
            Input::Written { token, outcome } => match token {
                Token::Work(term) => self.worked(sim, at, term, outcome),
                Token::Tick | Token::Follow | Token::Lease => {
                    let outcome = match outcome {
                        Outcome::Done(revision) => WriteOutcome::Written(revision),
                        Outcome::Conflict(found) => {
                            WriteOutcome::Conflict(found.as_ref().and_then(lease))
                        }
                        Outcome::Unknown | Outcome::Unavailable => WriteOutcome::Failed,
                    };
                    self.elect(sim, at, |election, actions| {
                        election.wrote(now, outcome, actions);
                    });
                }
            },
            Input::Got { .. } | Input::Message { .. } => {}
        }
    }

    fn committed(&mut self, sim: &Sim<Self>, change: &Change<Value>) -> Result<(), String> {
        match &change.value {
            Some(Value::Work(term)) if *term < self.last_term => {
                let (author, last) = (change.author, self.last_term);
                return Err(format!("{author} works in term {term} after term {last}"));
            }
            Some(Value::Work(term)) => {
                self.last_term = *term;
                self.worked += 1;
                self.worked_at = sim.true_time();
            }
            Some(Value::Lease(lease)) => {
                let at_rest = sim
                    .quiet_for()
                    .is_some_and(|quiet| self.recovery_time() / 2 < quiet);
                if at_rest && lease.counter == 0 {
                    return Err(format!("term {} begins at rest", lease.term));
                }
            }
            None => {}
        }
        Ok(())
    }

    fn check(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        let leading = self.leading(sim);
        if leading.len() > 1 {
            return Err(format!("{leading:?} lead at once"));
        }
        for (at, term) in leading {
            let me = (at, sim.life(at));
            let leader = *self.leaders.entry(term).or_insert(me);
            if leader != me {
                return Err(format!("term {term} is led by {me:?} and {leader:?}"));
            }
        }
        Ok(())
    }

    fn recovered(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        if self.leading(sim).len() != 1 {
            return Err("nobody leads".to_owned());
        }
        if self.worked == 0 || self.worked_at + TIMEOUT / 2 < sim.true_time() {
            return Err(format!("nobody works since {:?}", self.worked_at));
        }
        Ok(())
    }

    fn recovery_time(&self) -> Duration {
        TIMEOUT * 6
    }
}
