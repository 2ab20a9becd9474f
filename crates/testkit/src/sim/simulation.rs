//! The simulation itself: virtual time, and what happens next.

mod failing;
mod storing;

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeSet, BinaryHeap, VecDeque},
    time::Duration,
};

use shardwright_registry::{Prefix, Revision};
use shardwright_topology::Timestamp;

use super::{
    Faults, InputOf, Pid, Scenario, Store, Write,
    coverage::Marks,
    faults::Fault,
    process::{Clock, Process},
    scenario::{Input, marks},
};
use crate::Dice;

/// One simulated run: the processes, what is under way between them, and the store.
///
/// A scenario gets it with every event, and acts through it. Time passes only between events.
#[derive(Debug)]
pub struct Sim<S: Scenario> {
    now: Duration,
    queue: BinaryHeap<Reverse<Scheduled<S>>>,
    sequence: u64,
    dice: Dice,
    processes: Vec<Process<InputOf<S>>>,
    /// What resumed processes have yet to handle.
    ready: VecDeque<(Pid, u32, InputOf<S>)>,
    /// Who cannot reach whom.
    cut: BTreeSet<(Pid, Pid)>,
    /// How many faults cut each connection now: it heals when all have ended.
    cuts: Vec<Vec<(Pid, Pid)>>,
    outages: u32,
    store: Store<S::Value>,
    /// The place in the store's history up to which the scenario has looked.
    judged: usize,
    watches: Vec<Watcher<S::Token>>,
    faults: Faults,
    /// How many lasting faults were drawn.
    strikes: u64,
    /// Those that are left out, by their number.
    spared: BTreeSet<u64>,
    marks: Marks,
    events: u64,
    /// When the faults stopped.
    calm_at: Option<Duration>,
    trace: Option<Vec<String>>,
}

#[derive(Debug)]
struct Watcher<T> {
    at: Pid,
    life: u32,
    token: T,
    prefix: Prefix,
    /// The place in the store's history from which on it has shown nothing.
    place: usize,
    /// Whether a delivery is under way.
    pumping: bool,
    ended: bool,
}

#[derive(Debug)]
struct Scheduled<S: Scenario> {
    at: Duration,
    sequence: u64,
    due: Due<S>,
}

/// What is due at some time.
#[derive(Debug)]
enum Due<S: Scenario> {
    /// An input of one life of a process.
    Input(Pid, u32, InputOf<S>),
    /// A message arrives, unless its way is cut.
    Message(Pid, Pid, S::Message),
    /// The same message again, much later, while there are faults.
    Echo(Pid, Pid, S::Message),
    Planned(S::Token),
    /// A write arrives at the store.
    Write(Call<S>, Write<S::Value>),
    /// A read arrives at the store.
    Read(Call<S>, storing::Read),
    /// A watch shows what it has not yet shown.
    Pump(usize),
    Fault(Fault),
}

/// Who called the store, and what the answer carries.
#[derive(Debug)]
struct Call<S: Scenario> {
    at: Pid,
    life: u32,
    token: S::Token,
    /// Whether the caller gets no answer, or has had one.
    unheard: bool,
}

impl<S: Scenario> PartialEq for Scheduled<S> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<S: Scenario> Eq for Scheduled<S> {}

impl<S: Scenario> PartialOrd for Scheduled<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S: Scenario> Ord for Scheduled<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// What the scenario has to handle next.
pub(super) enum Next<S: Scenario> {
    Input(Pid, InputOf<S>),
    Planned(S::Token),
    /// Something within the simulator happened.
    Internal,
}

impl<S: Scenario> Sim<S> {
    pub(super) fn new(seed: u64, mut faults: Faults, spared: BTreeSet<u64>, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        faults.thin_out(&mut dice);
        let mut sim = Self {
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            sequence: 0,
            dice,
            processes: Vec::new(),
            ready: VecDeque::new(),
            cut: BTreeSet::new(),
            cuts: Vec::new(),
            outages: 0,
            store: Store::new(),
            judged: 0,
            watches: Vec::new(),
            faults,
            strikes: 0,
            spared,
            marks: Marks::new(S::MARKS.concat()),
            events: 0,
            calm_at: None,
            trace: traced.then(Vec::new),
        };
        sim.schedule_fault();
        sim
    }

    /// Starts a process with a clock of its own, and returns its name: `Pid(0)` for the first, and so on.
    pub fn spawn(&mut self) -> Pid {
        let at = Pid(self.processes.len());
        let clock = Clock::random(&mut self.dice, self.faults.drift_ppm);
        self.processes.push(Process {
            clock,
            life: 1,
            up: true,
            started: false,
            paused: false,
            backlog: VecDeque::new(),
        });
        let delay = self.delay();
        self.schedule(delay, Due::Input(at, 1, Input::Start));
        at
    }

    /// Returns what the clock of a process shows.
    pub fn now(&self, at: Pid) -> Timestamp {
        self.processes[at.0].clock.shows(self.now)
    }

    /// Returns the true time since the start, which no process knows.
    pub fn true_time(&self) -> Duration {
        self.now
    }

    /// Returns whether a process is alive: it has started and not crashed. A paused one is.
    pub fn is_up(&self, at: Pid) -> bool {
        self.processes[at.0].up && self.processes[at.0].started
    }

    /// Returns how often a process has started.
    pub fn life(&self, at: Pid) -> u32 {
        self.processes[at.0].life
    }

    /// Returns the one source of random choices.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// Returns what is truly stored, for checks.
    pub fn store(&self) -> &Store<S::Value> {
        &self.store
    }

    /// Notes that a situation was reached, which [`Scenario::MARKS`] declares.
    pub fn mark(&mut self, mark: &'static str) {
        self.marks.reach(mark);
    }

    /// Adds a line to the trace, if one is kept.
    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.4} {}", self.now.as_secs_f64(), line()));
        }
    }

    /// Sends a message, which may be lost, arrive late, or arrive twice.
    pub fn send(&mut self, from: Pid, to: Pid, message: S::Message) {
        if self.dice.rarely(self.faults.loss) {
            self.marks.reach_if_declared(marks::LOSS);
            return;
        }
        if self.dice.rarely(self.faults.duplicate) {
            self.marks.reach_if_declared(marks::DUPLICATE);
            // Late enough that what it says may be long over.
            let delay = self.dice.time(&self.faults.lasting);
            self.schedule(delay, Due::Echo(from, to, message.clone()));
        }
        let delay = self.delay();
        self.schedule(delay, Due::Message(from, to, message));
    }

    /// Wakes a process when its clock shows `moment` or later, with [`Input::Timer`]. The timer ends with this life of the process.
    pub fn wake(&mut self, at: Pid, moment: Timestamp, token: S::Token) {
        let process = &self.processes[at.0];
        let due = process.clock.reaches(moment).max(self.now);
        let life = process.life;
        self.schedule(due - self.now, Due::Input(at, life, Input::Timer(token)));
    }

    /// Plans a call of [`Scenario::planned`].
    pub fn plan(&mut self, after: Duration, token: S::Token) {
        self.schedule(after, Due::Planned(token));
    }

    /// Stores a value at once, as somebody from outside does whom no fault hits; `false` if the key is not at the expected revision.
    pub fn put(&mut self, write: Write<S::Value>) -> bool {
        let applied = self.store.apply(Pid::STORE, write).is_ok();
        if applied {
            self.wake_watches();
        }
        applied
    }

    /// Returns whether a process stands still.
    pub fn is_paused(&self, at: Pid) -> bool {
        self.processes[at.0].paused
    }

    /// Returns how long ago the faults stopped; `None` while they occur.
    pub fn quiet_for(&self) -> Option<Duration> {
        self.calm_at.map(|calm_at| self.now.saturating_sub(calm_at))
    }

    /// Returns whether faults still occur.
    pub fn is_faulty(&self) -> bool {
        self.calm_at.is_none()
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn strikes(&self) -> u64 {
        self.strikes
    }

    pub(super) fn faulty_events(&self) -> u64 {
        self.faults.events
    }

    pub(super) fn into_outcome(self) -> (Marks, Vec<String>) {
        (self.marks, self.trace.unwrap_or_default())
    }

    /// The next change of the store that the scenario has not looked at.
    pub(super) fn next_commit(&mut self) -> Option<super::Change<S::Value>> {
        let change = self.store.changes_from(self.judged).first().cloned()?;
        self.judged += 1;
        Some(change)
    }

    /// Lets time pass to the next event; `None` if nothing will ever happen.
    pub(super) fn next(&mut self) -> Option<Next<S>> {
        self.events += 1;
        if let Some((at, life, input)) = self.ready.pop_front() {
            return Some(self.input(at, life, input));
        }
        let Reverse(Scheduled { at, due, .. }) = self.queue.pop()?;
        self.now = self.now.max(at);
        Some(match due {
            Due::Input(at, life, input) => self.input(at, life, input),
            Due::Echo(..) if self.calm_at.is_some() => Next::Internal,
            Due::Message(from, to, message) | Due::Echo(from, to, message) => {
                if self.is_cut(from, to) {
                    Next::Internal
                } else {
                    let life = self.processes[to.0].life;
                    self.input(to, life, Input::Message { from, message })
                }
            }
            Due::Planned(token) => {
                self.trace(|| format!("planned {token:?}"));
                Next::Planned(token)
            }
            // Of these nobody knows whether they happened; when the faults have stopped, they have not.
            Due::Write(call, _) if call.unheard && self.calm_at.is_some() => Next::Internal,
            Due::Write(call, write) => {
                self.write_arrives(call, write);
                Next::Internal
            }
            Due::Read(call, read) => {
                self.read_arrives(call, read);
                Next::Internal
            }
            Due::Pump(watch) => {
                self.pump(watch);
                Next::Internal
            }
            Due::Fault(fault) => {
                self.fault(fault);
                Next::Internal
            }
        })
    }

    /// Hands an input to a process, or keeps it for one that stands still.
    fn input(&mut self, at: Pid, life: u32, input: InputOf<S>) -> Next<S> {
        let process = &mut self.processes[at.0];
        if !process.up || process.life != life {
            return Next::Internal;
        }
        if process.paused {
            process.backlog.push_back(input);
            return Next::Internal;
        }
        process.started = true;
        self.trace(|| format!("{at} {input:?}"));
        Next::Input(at, input)
    }

    fn delay(&mut self) -> Duration {
        if self.dice.rarely(self.faults.slow) {
            let longest = *self.faults.delay.end();
            return self.dice.time(&(longest..=longest * 10));
        }
        self.dice.time(&self.faults.delay)
    }

    fn schedule(&mut self, after: Duration, due: Due<S>) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled {
            at: self.now + after,
            sequence: self.sequence,
            due,
        }));
    }

    fn is_cut(&self, from: Pid, to: Pid) -> bool {
        self.cut.contains(&(from, to))
    }

    fn revision_place(&self, after: Revision) -> usize {
        self.store.place_after(after)
    }
}
