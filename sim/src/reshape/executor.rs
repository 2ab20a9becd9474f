//! What runs the writes of one copy, as the task of a shard does: one at a time, in its turn, and the log decides about it.

use std::collections::{BTreeMap, VecDeque};

use shardwright_quorum::log::{Event, Level, Outcome, Submission, shard_log::Entry};
use shardwright_server::shard::{
    Token as Place, Write, WriteError, Written,
    logged_file::{Came, Fate, forgetting},
};
use shardwright_store::{Error as StoreError, Window};
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::{Epoch, Lsn, ShardId, Timestamp};

use super::{Reshape, TIMEOUT, Token, situations, tasks::Got, waiting::answer_of};

/// After how many writes others are forgotten, and what is remembered then.
const FORGET_EVERY: u64 = 40;
const WINDOW: Window = Window {
    per_client: 30,
    total: 200,
    floors: 100,
};

/// Who waits for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Try(u64),
    Task(u64),
}

/// A write that waits on a node, or runs there.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) who: Who,
    pub(super) write: Write,
    pub(super) deadline: Timestamp,
}

/// What runs the writes of a copy, and who waits for what.
#[derive(Debug, Default)]
pub(super) struct Executor {
    pub(super) waiting: VecDeque<Attempt>,
    pub(super) current: Option<Current>,
    /// The tasks that wait for their turn, and how many have it: more than one only while the copy does not run.
    pub(super) turns: VecDeque<u64>,
    pub(super) taken: u32,
    /// What the log decides about for tasks.
    pub(super) appends: BTreeMap<u64, u64>,
    pub(super) reads: BTreeMap<u64, Reading>,
    pub(super) places: Vec<(u64, Lsn, Timestamp)>,
    remembered: u64,
}

/// The write whose transaction is open, or was.
#[derive(Debug)]
pub(super) struct Current {
    name: u64,
    pub(super) attempt: Option<Attempt>,
    outcome: Vec<u8>,
    refused: Option<WriteError>,
    base: Lsn,
    phase: Phase,
    over: bool,
}

#[derive(Debug)]
pub(super) enum Phase {
    Ran(Entry),
    Appending,
    Reached(Epoch, Place),
    Confirming,
    Forgetting,
}

/// A read that is not answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) by: Reader,
    pub(super) until: Option<Lsn>,
    pub(super) deadline: Timestamp,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Reader {
    Executor,
    Task(u64),
    Client(u64),
}

impl Executor {
    /// Notes what a record has met.
    pub(super) fn came(&mut self, _: Came) {
        if let Some(current) = &mut self.current
            && !matches!(current.phase, Phase::Confirming | Phase::Forgetting)
        {
            current.over = true;
        }
    }
}

fn place_of(epoch: Epoch, lsn: Lsn) -> Place {
    Place { epoch, lsn }
}

impl Reshape {
    /// The turn of a task is over.
    pub(super) fn released(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        if let Some(copy) = self.copy(at, shard) {
            copy.executor.taken = copy.executor.taken.saturating_sub(1);
        }
        self.execute(sim, at, shard);
    }

    /// A client's write has come to a node.
    pub(super) fn take_write(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        attempt: Attempt,
    ) {
        let Some(copy) = self.copy(at, shard).filter(|copy| copy.machine.is_some()) else {
            return self.told(
                sim,
                at,
                attempt.who,
                Err(WriteError::NotPrimary { hint: None }),
            );
        };
        copy.executor.waiting.push_back(attempt);
        self.execute(sim, at, shard);
    }

    /// Goes on as far as it can.
    pub(super) fn execute(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        loop {
            self.until_over(sim, at, shard);
            let Some(copy) = self.copy(at, shard) else {
                return;
            };
            let executor = &mut copy.executor;
            if executor.current.is_some() || executor.taken > 0 {
                return;
            }
            if let Some(ticket) = executor.turns.pop_front() {
                executor.taken += 1;
                return self.tasks.answer(ticket, Got::Nothing);
            }
            if executor.waiting.is_empty() || !self.begin(sim, at, shard) {
                return;
            }
        }
    }

    /// Runs the next write. `false` if it has to wait.
    fn begin(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) -> bool {
        let (now, name) = (sim.now(at), self.name());
        let Some(copy) = self.copy(at, shard) else {
            return false;
        };
        let Some(machine) = &copy.machine else {
            return false;
        };
        let last = machine.replica().log().last().lsn;
        // On data that has not come so far it would run in vain.
        if machine.leads().is_some() && copy.applied.lsn < last {
            return false;
        }
        if copy.executor.remembered >= FORGET_EVERY {
            copy.executor.remembered = 0;
            let forgets = Current {
                name,
                attempt: None,
                outcome: Vec::new(),
                refused: None,
                base: last,
                phase: Phase::Forgetting,
                over: false,
            };
            copy.executor.current = Some(forgets);
            self.submit(
                sim,
                at,
                shard,
                (name, forgetting(&WINDOW)),
                now + TIMEOUT * 4,
            );
            return true;
        }
        let Some(mut attempt) = copy.executor.waiting.pop_front() else {
            return false;
        };
        if now >= attempt.deadline {
            self.told(sim, at, attempt.who, Err(WriteError::Late));
            return true;
        }
        let ran = match copy.data.data() {
            Ok(data) => data.run(&mut [&mut attempt.write]),
            Err(_) => return false,
        };
        match ran {
            Ok(mut ran) => {
                let fate = ran.fates.pop();
                self.decide(sim, at, shard, (name, attempt), (fate, ran.base, ran.entry));
            }
            Err(error) => self.breaks(|| format!("{at} {shard} cannot run: {error}")),
        }
        true
    }

    fn decide(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        (name, attempt): (u64, Attempt),
        (fate, base, entry): (Option<Fate>, Lsn, Option<Entry>),
    ) {
        let soon = sim.now(at) + sim.dice().time(&(Default::default()..=TIMEOUT / 40));
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let mut current = Current {
            name,
            attempt: Some(attempt),
            outcome: Vec::new(),
            refused: None,
            base,
            phase: Phase::Confirming,
            over: false,
        };
        match (fate, entry) {
            (Some(Fate::Ran(outcome)), Some(entry)) => {
                current.outcome = outcome;
                current.phase = Phase::Ran(entry);
                copy.executor.current = Some(current);
                // Other records may come before it is appended.
                sim.wake(at, soon, Token::Append(shard.clone(), name));
            }
            (Some(Fate::Refused(error)), _) => {
                current.refused = Some(error);
                copy.executor.current = Some(current);
                let reading = Reading {
                    by: Reader::Executor,
                    until: None,
                    deadline: soon + TIMEOUT * 4,
                };
                self.begin_read(sim, at, shard, reading);
            }
            (Some(Fate::Answered(answer)), _) => {
                if let Some(attempt) = current.attempt {
                    self.told(sim, at, attempt.who, answer);
                }
            }
            _ => {
                if let Some(attempt) = current.attempt {
                    copy.executor.waiting.push_back(attempt);
                }
            }
        }
    }

    /// Appends a write that has run.
    pub(super) fn append(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId, name: u64) {
        let now = sim.now(at);
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let executor = &mut copy.executor;
        let Some(current) = executor.current.as_mut().filter(|it| it.name == name) else {
            return;
        };
        let phase = std::mem::replace(&mut current.phase, Phase::Appending);
        let Phase::Ran(entry) = phase else {
            current.phase = phase;
            return;
        };
        executor.remembered += entry.members.len() as u64;
        self.submit(sim, at, shard, (name, entry), now + TIMEOUT * 2);
    }

    pub(super) fn submit(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        (id, entry): (u64, Entry),
        deadline: Timestamp,
    ) {
        let submission = Submission {
            id,
            kind: entry.kind,
            members: entry.members,
            payload: entry.payload,
            after: entry.after,
            level: Level::Quorum,
            deadline,
        };
        self.feed(sim, at, shard, Event::Submit(vec![submission]));
    }

    /// The log says what became of a record.
    pub(super) fn appended(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        id: u64,
        outcome: Outcome,
    ) {
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        if let Some(ticket) = copy.executor.appends.remove(&id) {
            return self.tasks.answer(ticket, Got::Appended(answer_of(outcome)));
        }
        let executor = &mut copy.executor;
        let Some(current) = executor.current.as_mut().filter(|it| it.name == id) else {
            return;
        };
        let is_forgetting = matches!(current.phase, Phase::Forgetting);
        match outcome {
            Outcome::Reached { lsn, epoch, .. } if !is_forgetting => {
                current.phase = Phase::Reached(epoch, place_of(epoch, lsn));
            }
            _ => {
                let ended = executor.current.take().and_then(|current| current.attempt);
                if let Ok(data) = copy.data.data() {
                    data.roll_back();
                }
                match (ended, outcome) {
                    (Some(attempt), Outcome::Outrun { .. }) => {
                        sim.mark(situations::OUTRUN);
                        copy.executor.waiting.push_front(attempt);
                    }
                    (Some(attempt), Outcome::Indeterminate) => {
                        sim.mark(situations::INDETERMINATE);
                        self.told(sim, at, attempt.who, Err(WriteError::Indeterminate));
                    }
                    (Some(attempt), _) => {
                        let error = WriteError::NotPrimary { hint: None };
                        self.told(sim, at, attempt.who, Err(error));
                    }
                    (None, _) => {}
                }
            }
        }
        self.execute(sim, at, shard);
    }

    /// A transaction whose record is committed is over once that came, or this copy is not the primary.
    fn until_over(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let leads = copy.machine.as_ref().and_then(|machine| machine.leads());
        let leads = leads.map(|config| config.epoch);
        let executor = &mut copy.executor;
        let Some(Current {
            phase: Phase::Reached(epoch, token),
            over,
            ..
        }) = executor.current
        else {
            return;
        };
        if !over && leads == Some(epoch) {
            return;
        }
        let Some(current) = executor.current.take() else {
            return;
        };
        if !over && let Ok(data) = copy.data.data() {
            data.roll_back();
        }
        if let Some(attempt) = current.attempt {
            let written = Written {
                outcome: current.outcome,
                token,
                repeated: false,
            };
            self.told(sim, at, attempt.who, Ok(written));
        }
    }

    /// What was refused ran on the latest data, or it runs again.
    pub(super) fn confirmed(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        is_fresh: bool,
    ) {
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let here = copy.applied.lsn;
        let is_confirming = |it: &mut Current| matches!(it.phase, Phase::Confirming);
        let Some(current) = copy.executor.current.take_if(is_confirming) else {
            return;
        };
        let refused = current.refused.unwrap_or(WriteError::Late);
        match current.attempt {
            Some(attempt) if is_fresh && here != current.base => {
                copy.executor.waiting.push_front(attempt);
            }
            Some(attempt) => {
                let not_primary = WriteError::NotPrimary { hint: None };
                let error = if is_fresh { refused } else { not_primary };
                self.told(sim, at, attempt.who, Err(error));
            }
            None => {}
        }
        self.execute(sim, at, shard);
    }

    /// Somebody is told what became of a write.
    pub(super) fn told(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        who: Who,
        told: Result<Written, WriteError>,
    ) {
        match who {
            Who::Task(ticket) => self.tasks.answer(ticket, Got::Wrote(told)),
            Who::Try(name) => self.tell(sim, at, name, told),
        }
    }
}

/// Whether SQLite, or what ran, has refused a write.
pub(super) fn is_refused(error: &WriteError) -> bool {
    matches!(error, WriteError::Refused(error) if matches!(**error, StoreError::Interrupted))
}
