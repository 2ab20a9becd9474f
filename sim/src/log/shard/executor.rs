//! What runs the writes of one node, as the task of a shard does: one batch at a time, and the log decides about it.

use std::collections::{BTreeMap, VecDeque};

use shardwright_quorum::log::{Event, Level, Outcome, ReadLevel, Submission, shard_log::Entry};
use shardwright_server::shard::{
    Token as Place, Write, WriteError, Written,
    logged_file::{Came, Fate, Ran, forgetting},
};
use shardwright_store::Window;
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::{Epoch, Lsn, Timestamp};

use super::{Ask, Sqlite, situations as own};
use crate::log::{Content, Logs, Missing, TIMEOUT, Token, situations};

/// How many writes are one batch, at most.
const BATCH_MAX: usize = 6;

/// After how many writes others are forgotten.
const FORGET_EVERY: u64 = 12;

/// What is remembered then.
const WINDOW: Window = Window {
    per_client: 4,
    total: 12,
    floors: 8,
};

/// A write that waits on a node, or is in a batch there.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) id: u64,
    pub(super) write: Write,
    pub(super) deadline: Timestamp,
    /// Whether it needs a batch of its own.
    pub(super) is_alone: bool,
}

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Told {
    Written(Written),
    /// SQLite refused it.
    Refused,
    /// It did not happen.
    NotNow,
    /// It may have happened long ago.
    Forgotten,
    Unknown,
}

/// The executor of one node.
#[derive(Debug, Default)]
pub(super) struct Executor {
    pub(super) waiting: VecDeque<Attempt>,
    /// Those who wait for a batch, by its name.
    rounds: BTreeMap<u64, Round>,
    current: Option<Current>,
    /// How many writes it has made since others were forgotten.
    remembered: u64,
}

#[derive(Debug, Default)]
struct Round {
    ran: Vec<(Attempt, Vec<u8>)>,
    refused: Vec<Attempt>,
    /// The last record that the data had on which they ran.
    base: Lsn,
    reached: Option<Place>,
}

/// The batch whose transaction is open, or was.
#[derive(Debug)]
struct Current {
    name: u64,
    level: Level,
    phase: Phase,
    /// What became of its transaction.
    over: Option<Came>,
}

#[derive(Debug)]
enum Phase {
    /// It has run, and is to be appended.
    Ran(Entry),
    /// The log decides.
    Appending,
    /// It is appended at this epoch, and has reached its level.
    Reached(Epoch),
    /// It changed nothing, and it is not sure that it has seen the latest data.
    Confirming,
    /// It lets the copies forget.
    Forgetting,
}

impl Executor {
    /// Notes what a record has met. Returns what is left to be done then.
    pub(super) fn came(&mut self, came: Came) -> Option<&'static str> {
        let current = self.current.as_mut()?;
        if current.over.is_some() || matches!(current.phase, Phase::Confirming | Phase::Forgetting)
        {
            return None;
        }
        current.over = Some(came);
        if came == Came::Unawaited {
            return Some(own::UNDONE);
        }
        if current.level == Level::All {
            // The members that lag hold up nobody else.
            self.current = None;
        }
        None
    }

    /// Gives up what it was doing, and returns those for whom it is unknown what became of it.
    pub(super) fn stop(&mut self, is_crash: bool) -> Vec<u64> {
        self.current = None;
        let rounds = std::mem::take(&mut self.rounds).into_values();
        let mut lost: Vec<u64> = rounds
            .flat_map(|round| {
                let ran = round.ran.into_iter().map(|(attempt, _)| attempt);
                ran.chain(round.refused)
            })
            .map(|attempt| attempt.id)
            .collect();
        if is_crash {
            lost.extend(self.waiting.drain(..).map(|attempt| attempt.id));
        }
        lost
    }

    /// Takes the first ones that may happen together, and turns away those that are late.
    fn next_batch(&mut self, now: Timestamp, max: usize) -> (Vec<Attempt>, Vec<Attempt>) {
        let (mut batch, mut late): (Vec<Attempt>, _) = (Vec::new(), Vec::new());
        while batch.len() < max
            && let Some(attempt) = self.waiting.pop_front()
        {
            let is_apart = batch.first().is_some_and(|first| {
                first.is_alone || attempt.is_alone || first.write.level != attempt.write.level
            });
            if is_apart {
                self.waiting.push_front(attempt);
                break;
            }
            if now >= attempt.deadline {
                late.push(attempt);
            } else {
                batch.push(attempt);
            }
        }
        (batch, late)
    }

    fn again(&mut self, attempts: impl DoubleEndedIterator<Item = Attempt>) {
        for attempt in attempts.rev() {
            self.waiting.push_front(attempt);
        }
    }
}

impl Logs<Sqlite> {
    fn executor(&mut self, at: Pid) -> &mut Executor {
        self.content.executors.entry(at).or_default()
    }

    /// Goes on as far as it can.
    pub(super) fn execute(&mut self, sim: &mut Sim<Self>, at: Pid) {
        self.until_over(sim, at);
        while self.executor(at).current.is_none() && !self.executor(at).waiting.is_empty() {
            if !self.forget_outcomes(sim, at) && !self.begin_batch(sim, at) {
                return;
            }
            self.until_over(sim, at);
        }
    }

    /// The transaction of a batch that has reached its level is over once it is committed or undone, or this copy is not the primary.
    fn until_over(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let machine = self.nodes[&at].machine.as_ref();
        let leads = machine.and_then(|machine| machine.leads());
        let leads = leads.map(|config| config.epoch);
        let Some(current) = &self.executor(at).current else {
            return;
        };
        let Phase::Reached(epoch) = current.phase else {
            return;
        };
        let (name, over) = (current.name, current.over);
        if over.is_none() {
            if leads == Some(epoch) {
                return;
            }
            self.roll_back(at);
        }
        if over != Some(Came::Awaited) {
            sim.mark(own::AS_ANY_OTHER);
        }
        let executor = self.executor(at);
        executor.current = None;
        if let Some(round) = executor.rounds.remove(&name) {
            self.acknowledge(sim, round);
        }
    }

    /// Lets all copies forget old outcomes, now and then.
    fn forget_outcomes(&mut self, sim: &mut Sim<Self>, at: Pid) -> bool {
        let executor = self.executor(at);
        if executor.remembered < FORGET_EVERY {
            return false;
        }
        executor.remembered = 0;
        let name = self.name();
        self.executor(at).current = Some(Current {
            name,
            level: Level::One,
            phase: Phase::Forgetting,
            over: None,
        });
        self.append(sim, at, name, Level::One, forgetting(&WINDOW));
        true
    }

    /// Runs the next batch. `false` if it has to wait.
    fn begin_batch(&mut self, sim: &mut Sim<Self>, at: Pid) -> bool {
        let Some(machine) = &self.nodes[&at].machine else {
            return false;
        };
        let last = machine.replica().log().last().lsn;
        // On data that has not come so far a batch would run in vain.
        if machine.leads().is_some() && self.nodes[&at].data.applied.lsn < last {
            return false;
        }
        let (now, max) = (sim.now(at), sim.dice().count(1..=BATCH_MAX));
        let (mut batch, late) = self.executor(at).next_batch(now, max);
        for attempt in late {
            self.tell(sim, attempt.id, Told::NotNow);
        }
        if batch.is_empty() {
            return true;
        }
        let mut writes: Vec<&mut Write> =
            batch.iter_mut().map(|attempt| &mut attempt.write).collect();
        let ran = match self.content.copy(at).data() {
            Ok(data) => data.run(&mut writes).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match ran {
            Ok(ran) => self.decide(sim, at, batch, ran),
            Err(error) => self
                .content
                .history
                .breaks(|| format!("{at} cannot run: {error}")),
        }
        true
    }

    /// Lets the log decide about a batch that has run.
    fn decide(&mut self, sim: &mut Sim<Self>, at: Pid, batch: Vec<Attempt>, ran: Ran) {
        let (mut round, mut again) = (Round::default(), Vec::new());
        round.base = ran.base;
        for (mut attempt, fate) in batch.into_iter().zip(ran.fates) {
            match fate {
                Fate::Ran(outcome) => round.ran.push((attempt, outcome)),
                Fate::Refused(_) => round.refused.push(attempt),
                Fate::Answered(Ok(written)) => self.tell(sim, attempt.id, Told::Written(written)),
                Fate::Answered(Err(WriteError::Forgotten)) => {
                    self.tell(sim, attempt.id, Told::Forgotten);
                }
                Fate::Answered(Err(_)) => self.tell(sim, attempt.id, Told::NotNow),
                Fate::Again => again.push(attempt),
                Fate::Alone => {
                    sim.mark(own::ALONE);
                    attempt.is_alone = true;
                    again.push(attempt);
                }
            }
        }
        if !round.ran.is_empty() && !round.refused.is_empty() {
            sim.mark(own::ISOLATED);
        }
        self.executor(at).again(again.into_iter());
        let name = self.name();
        let first = round.ran.first();
        let level = first.map_or(Level::Quorum, |(attempt, _)| attempt.write.level);
        let is_empty = round.refused.is_empty();
        let executor = self.executor(at);
        executor.rounds.insert(name, round);
        let current = |phase| Current {
            name,
            level,
            phase,
            over: None,
        };
        if let Some(entry) = ran.entry {
            executor.current = Some(current(Phase::Ran(entry)));
            // Other records may come before it is appended.
            let soon = sim.now(at) + sim.dice().time(&(Default::default()..=TIMEOUT / 40));
            sim.wake(at, soon, Token::Ask(Ask::Append(name)));
        } else if is_empty {
            executor.rounds.remove(&name);
        } else {
            executor.current = Some(current(Phase::Confirming));
            let level = ReadLevel::Leased;
            self.feed(sim, at, Event::Read { read: name, level });
        }
    }

    /// Appends a batch that has run.
    pub(super) fn append_batch(&mut self, sim: &mut Sim<Self>, at: Pid, name: u64) {
        let is_told = self.missing != Some(Missing::FollowsItsBase);
        let waits = self.missing != Some(Missing::WaitsForQuorum);
        let executor = self.executor(at);
        let Some(current) = executor.current.as_mut().filter(|it| it.name == name) else {
            return;
        };
        let phase = std::mem::replace(&mut current.phase, Phase::Appending);
        let Phase::Ran(mut entry) = phase else {
            current.phase = phase;
            return;
        };
        let level = if waits { current.level } else { Level::One };
        executor.remembered += entry.members.len() as u64;
        entry.after = entry.after.filter(|_| is_told);
        if self.missing == Some(Missing::OwnRecordOnly) {
            self.content.entries.insert(at, entry.clone());
        }
        self.append(sim, at, name, level, entry);
    }

    fn append(&mut self, sim: &mut Sim<Self>, at: Pid, name: u64, level: Level, entry: Entry) {
        let deadline = sim.now(at) + sim.dice().time(&(TIMEOUT..=TIMEOUT * 4));
        let submission = Submission {
            id: name,
            kind: entry.kind,
            members: entry.members,
            payload: entry.payload,
            after: entry.after,
            level,
            deadline,
        };
        self.feed(sim, at, Event::Submit(vec![submission]));
    }

    /// The log says what became of a batch.
    pub(super) fn appended(&mut self, sim: &mut Sim<Self>, at: Pid, name: u64, outcome: Outcome) {
        let executor = self.executor(at);
        let current = executor.current.as_mut().filter(|it| it.name == name);
        let is_current = current.is_some();
        match outcome {
            Outcome::Reached { lsn, epoch, level } => {
                let place = Place { epoch, lsn };
                let waits_on = match current {
                    Some(current) if matches!(current.phase, Phase::Forgetting) => {
                        executor.current = None;
                        None
                    }
                    Some(current) => {
                        current.phase = Phase::Reached(epoch);
                        Some(current.level)
                    }
                    None => None,
                };
                if level != Level::One || waits_on.is_some_and(|level| level != Level::One) {
                    self.rules.tells(lsn);
                }
                let round = self.executor(at).rounds.get_mut(&name);
                let round = round.map(|round| round.reached = Some(place));
                let is_over = waits_on.is_none_or(|level| level == Level::One);
                if round.is_some()
                    && is_over
                    && let Some(round) = self.executor(at).rounds.remove(&name)
                {
                    self.acknowledge(sim, round);
                }
            }
            Outcome::Outrun { .. } => {
                Sqlite::mark(sim, situations::OUTRUN);
                if let Some(round) = executor.rounds.remove(&name) {
                    let ran = round.ran.into_iter().map(|(attempt, _)| attempt);
                    executor.again(ran.chain(round.refused));
                }
                self.ends(at, is_current);
            }
            Outcome::NotPrimary | Outcome::Overloaded => {
                self.refuse(sim, at, name, || Told::NotNow);
                self.ends(at, is_current);
            }
            Outcome::Indeterminate => {
                Sqlite::mark(sim, situations::INDETERMINATE);
                self.refuse(sim, at, name, || Told::Unknown);
                self.ends(at, is_current);
            }
        }
        self.execute(sim, at);
    }

    /// The log says whether what was refused ran on the latest data.
    pub(super) fn confirmed(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        name: u64,
        applied: Option<Lsn>,
    ) -> bool {
        let executor = self.executor(at);
        let Some(round) = executor.rounds.remove(&name) else {
            return false;
        };
        executor.current.take_if(|current| current.name == name);
        let here = self.nodes[&at].data.applied.lsn;
        let is_latest = |lsn| here == round.base && lsn <= here;
        if applied.is_some_and(|lsn| !is_latest(lsn))
            && self.missing != Some(Missing::RefusesOnLatest)
        {
            sim.mark(own::REFUSED_EARLY);
            self.executor(at).again(round.refused.into_iter());
        } else {
            for attempt in round.refused {
                let told = applied.map_or(Told::NotNow, |_| Told::Refused);
                self.tell(sim, attempt.id, told);
            }
        }
        self.execute(sim, at);
        true
    }

    fn ends(&mut self, at: Pid, is_current: bool) {
        if is_current {
            self.roll_back(at);
            self.executor(at).current = None;
        }
    }

    fn roll_back(&mut self, at: Pid) {
        if self.missing == Some(Missing::OwnRecordOnly) {
            return;
        }
        if let Ok(data) = self.content.copy(at).data() {
            data.roll_back();
        }
    }

    fn acknowledge(&mut self, sim: &mut Sim<Self>, round: Round) {
        let Some(token) = round.reached else {
            return;
        };
        for (attempt, outcome) in round.ran {
            let repeated = false;
            let written = Written {
                outcome,
                token,
                repeated,
            };
            self.tell(sim, attempt.id, Told::Written(written));
        }
        for attempt in round.refused {
            self.tell(sim, attempt.id, Told::Refused);
        }
    }

    /// Tells all who wait that a batch is not known to be committed.
    fn refuse(&mut self, sim: &mut Sim<Self>, at: Pid, name: u64, told: impl Fn() -> Told) {
        let Some(round) = self.executor(at).rounds.remove(&name) else {
            return;
        };
        for (attempt, _) in round.ran {
            self.tell(sim, attempt.id, told());
        }
        for attempt in round.refused {
            self.tell(sim, attempt.id, Told::NotNow);
        }
    }
}
