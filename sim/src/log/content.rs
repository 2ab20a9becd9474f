//! What the records of the log say, and who has them written and reads what they lead to.

use std::{fmt, sync::Arc};

use shardwright_quorum::log::{Outcome, Point, Record};
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::Lsn;

use super::{Logs, Missing};

/// How a process has ended whose data is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It let go of its data.
    Close,
    /// It crashed, with its machine or without.
    Crash,
}

/// The data of all copies, and its clients. An error is a rule that is broken.
pub(crate) trait Content: Sized + 'static {
    /// What the scenario is called.
    const NAME: &'static str;
    /// The situations that its runs must reach.
    const MARKS: &'static [&'static [&'static str]];
    /// The rules that can be left out.
    const MUTATIONS: &'static [Missing];
    /// Whether what was committed may be lost, because an operator accepts it, and the registry may go back.
    const LOSES: bool;

    /// Whether leases are looked at: not where what clients see is to show that a rule about them is left out.
    fn looks_at_leases(missing: Option<Missing>) -> bool {
        Self::LOSES || missing != Some(Missing::LeaseHolds)
    }

    /// What clients ask of a node.
    type Ask: Clone + fmt::Debug;
    /// All data of a copy, on its way to another one.
    type Image: Clone + fmt::Debug;

    fn new(sim: &mut Sim<Logs<Self>>, missing: Option<Missing>) -> Self;

    /// Notes a situation, if the runs of this scenario must reach it.
    fn mark(sim: &mut Sim<Logs<Self>>, mark: &'static str) {
        if Self::MARKS.iter().any(|list| list.contains(&mark)) {
            sim.mark(mark);
        }
    }

    /// Opens the data of a copy, of which at least `saved` is durable, and returns how far it is.
    fn reopen(
        &mut self,
        sim: &mut Sim<Logs<Self>>,
        at: Pid,
        saved: Point,
        ending: Ending,
    ) -> Result<Point, String>;

    /// Makes the data of a copy anew, empty.
    fn clear(&mut self, at: Pid) -> Result<(), String>;

    fn apply(&mut self, at: Pid, records: &[Arc<Record>]) -> Result<(), String>;

    /// Makes durable what was applied.
    fn save(&mut self, at: Pid) -> Result<(), String>;

    /// Returns the data of a copy, which has applied this.
    fn image(&mut self, at: Pid, applied: Point) -> Result<Self::Image, String>;

    /// The data of another copy has come.
    fn receives(&mut self, at: Pid, point: Point, image: Self::Image);

    /// It is stored aside, durably. `false` if it is gone.
    fn stores(&mut self, at: Pid, point: Point) -> bool;

    /// Lets what is stored aside be the data, durably.
    fn install(&mut self, at: Pid, base: Point) -> Result<(), String>;

    /// Lets clients ask for something.
    fn client(logs: &mut Logs<Self>, sim: &mut Sim<Logs<Self>>);

    /// A node is asked for something.
    fn asked(logs: &mut Logs<Self>, sim: &mut Sim<Logs<Self>>, at: Pid, ask: Self::Ask);

    /// The log says what became of a record that was to be appended.
    fn answered(
        logs: &mut Logs<Self>,
        sim: &mut Sim<Logs<Self>>,
        at: Pid,
        id: u64,
        outcome: Outcome,
    );

    /// The log says what a read has to see.
    fn read_at(
        logs: &mut Logs<Self>,
        sim: &mut Sim<Logs<Self>>,
        at: Pid,
        read: u64,
        applied: Option<Lsn>,
    );

    /// Some time passed at a node, or its data has come further.
    fn advance(logs: &mut Logs<Self>, sim: &mut Sim<Logs<Self>>, at: Pid);

    /// Judges what clients have seen, and the data of these copies, which is all that there is now.
    fn judge(&mut self, members: &[Pid]) -> Result<(), String>;
}
