//! What a scenario tells the simulator, and what it is told.

use std::{fmt, time::Duration};

use shardwright_registry::{Revision, Stored};

use super::{Change, Faults, Pid, Sim};

/// Some processes around pure state machines, and what must hold of them.
///
/// A scenario owns the machines of all its processes. The simulator tells it what happens to which process and when; it feeds the
/// machine, and carries out the machine's actions by calls of [`Sim`]. It must make no choice that does not follow from
/// its arguments and [`Sim::dice`], so that a seed gives the same run every time.
pub trait Scenario: Sized {
    /// What processes send to each other.
    type Message: Clone + fmt::Debug;
    /// What a process attaches to a timer, a call of the store or a watch, to recognise what comes back.
    type Token: Clone + fmt::Debug;
    /// What the store holds.
    type Value: Clone + fmt::Debug + PartialEq;
    /// A rule that is left out, to see that its absence is noticed; `()` if there is none.
    type Mutation: Copy + fmt::Debug + Send + Sync + 'static;

    /// What it is called on the command line.
    const NAME: &'static str;
    /// The rare situations, in lists, that each run over many seeds must reach; see [`Sim::mark`]. Those in [`marks`] are the
    /// simulator's.
    const MARKS: &'static [&'static [&'static str]];

    /// The rules that can be left out.
    const MUTATIONS: &'static [Self::Mutation];

    /// Returns what is done to it.
    fn faults(mutation: Option<Self::Mutation>) -> Faults;

    /// Starts the processes: [`Sim::spawn`] gives each its [`Input::Start`].
    fn new(sim: &mut Sim<Self>, mutation: Option<Self::Mutation>) -> Self;

    /// Handles what happens at one process that is up and not paused.
    fn handle(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>);

    /// Does what [`Sim::plan`] planned: something that is done to the system from outside.
    fn planned(&mut self, sim: &mut Sim<Self>, token: Self::Token) {
        let _ = (sim, token);
    }

    /// Looks at a change of the store, in the order in which they happened.
    ///
    /// # Errors
    /// The rule that it breaks.
    fn committed(&mut self, sim: &Sim<Self>, change: &Change<Self::Value>) -> Result<(), String> {
        let _ = (sim, change);
        Ok(())
    }

    /// Checks what always holds; called after every event.
    ///
    /// # Errors
    /// The rule that is broken.
    fn check(&mut self, sim: &Sim<Self>) -> Result<(), String>;

    /// Checks what holds at the end, after a time without faults: that the system has recovered.
    ///
    /// # Errors
    /// What has not.
    fn recovered(&mut self, sim: &Sim<Self>) -> Result<(), String>;

    /// Returns how long after the last fault the system must have recovered.
    fn recovery_time(&self) -> Duration;
}

/// What happens at a process of scenario `S`.
pub type InputOf<S> =
    Input<<S as Scenario>::Message, <S as Scenario>::Token, <S as Scenario>::Value>;

/// What happens at a process.
#[derive(Debug, Clone)]
pub enum Input<M, T, V> {
    /// It starts, for the first time or again. Whatever it knew before is lost.
    Start,
    /// A message arrived.
    Message {
        /// Who sent it.
        from: Pid,
        /// The message.
        message: M,
    },
    /// A timer that it set is due.
    Timer(T),
    /// The store answered a write.
    Written {
        /// What the call carried.
        token: T,
        /// What became of it.
        outcome: Outcome<V>,
    },
    /// The store answered a read of one key; `Err` if it was not available.
    Got {
        /// What the call carried.
        token: T,
        /// What the key holds, or held a while ago.
        found: Result<Option<Stored<V>>, Unavailable>,
    },
    /// The store answered a read of a prefix; `Err` if it was not available.
    Listed {
        /// What the call carried.
        token: T,
        /// The values and the revision up to which every change is among them.
        found: Result<(Vec<Stored<V>>, Revision), Unavailable>,
    },
    /// A watch saw a change.
    Changed {
        /// What the watch carries.
        token: T,
        /// The change.
        change: Change<V>,
    },
    /// A watch ended: list again, and watch from there.
    Ended {
        /// What the watch carried.
        token: T,
    },
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<V> {
    /// It happened.
    Done(Revision),
    /// It did not happen; the key holds this. The store may say so although the expected revision was right.
    Conflict(Option<Stored<V>>),
    /// It happened, or will, or not.
    Unknown,
    /// It did not happen: the store could not be reached.
    Unavailable,
}

/// A read that the store did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// The situations that the simulator itself brings about; a scenario declares those that its runs must contain.
pub mod marks {
    /// A process stood still for a while.
    pub const PAUSE: &str = "a pause";
    /// A process lost what it knew and started again.
    pub const CRASH: &str = "a crash";
    /// Two ends could not reach each other.
    pub const PARTITION: &str = "a partition";
    /// One end reached the other, which could not answer.
    pub const ONE_WAY: &str = "a one-way partition";
    /// The store was away.
    pub const OUTAGE: &str = "an outage of the store";
    /// A write happened, and its author was not told.
    pub const UNKNOWN_APPLIED: &str = "an unknown write that happened";
    /// A write did not happen, and its author was not told.
    pub const UNKNOWN_LOST: &str = "an unknown write that did not happen";
    /// A write happened after its author was told that it is unknown.
    pub const UNKNOWN_LATE: &str = "an unknown write that happened later";
    /// A write at the right revision was refused.
    pub const SPURIOUS: &str = "a spurious conflict";
    /// A read showed an earlier state.
    pub const STALE: &str = "a stale read";
    /// A watch ended.
    pub const WATCH_ENDED: &str = "an ended watch";
    /// A message arrived twice.
    pub const DUPLICATE: &str = "a message twice";
    /// A message was lost.
    pub const LOSS: &str = "a lost message";

    /// What happens to processes, and between them and the store.
    pub const STORE: &[&str] = &[
        PAUSE,
        CRASH,
        PARTITION,
        ONE_WAY,
        OUTAGE,
        UNKNOWN_APPLIED,
        UNKNOWN_LOST,
        UNKNOWN_LATE,
        SPURIOUS,
        STALE,
        WATCH_ENDED,
    ];
    /// What happens to messages between processes.
    pub const MESSAGES: &[&str] = &[DUPLICATE, LOSS];
}
