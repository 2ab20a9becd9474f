//! Records that hold a number each: the last one applied stands for the data. Clients write and read, mostly where the primary is.

use std::{sync::Arc, time::Duration};

use shardwright_quorum::log::{Event, Kind, Level, Outcome, Point, ReadLevel, Record, Submission};
use shardwright_testkit::sim::{Pid, Sim, marks};
use shardwright_topology::Lsn;

use super::{CLIENTS_STOP, Content, Ending, Logs, Missing, TIMEOUT, Token, situations};

/// Numbers, of which copies keep nothing.
#[derive(Debug, Default)]
pub(crate) struct Numbers;

/// What is asked of a node.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Write(Vec<Submission>),
    Read(u64, ReadLevel),
}

impl Content for Numbers {
    const NAME: &'static str = "log";
    const MARKS: &'static [&'static [&'static str]] =
        &[marks::STORE, marks::MESSAGES, situations::ALL];
    const MUTATIONS: &'static [Missing] = Missing::ALL;
    const LOSES: bool = true;

    type Ask = Ask;
    type Image = ();

    fn new(_: &mut Sim<Logs<Self>>, _: Option<Missing>) -> Self {
        Self
    }

    fn reopen(
        &mut self,
        _: &mut Sim<Logs<Self>>,
        _: Pid,
        saved: Point,
        _: Ending,
    ) -> Result<Point, String> {
        Ok(saved)
    }

    fn clear(&mut self, _: Pid) -> Result<(), String> {
        Ok(())
    }

    fn apply(&mut self, _: Pid, _: &[Arc<Record>]) -> Result<(), String> {
        Ok(())
    }

    fn save(&mut self, _: Pid) -> Result<(), String> {
        Ok(())
    }

    fn image(&mut self, _: Pid, _: Point) -> Result<(), String> {
        Ok(())
    }

    fn receives(&mut self, _: Pid, _: Point, (): ()) {}

    fn stores(&mut self, _: Pid, _: Point) -> bool {
        true
    }

    fn install(&mut self, _: Pid, _: Point) -> Result<(), String> {
        Ok(())
    }

    fn client(logs: &mut Logs<Self>, sim: &mut Sim<Logs<Self>>) {
        logs.client(sim);
    }

    fn asked(logs: &mut Logs<Self>, sim: &mut Sim<Logs<Self>>, at: Pid, ask: Ask) {
        match ask {
            Ask::Write(submissions) => logs.feed(sim, at, Event::Submit(submissions)),
            Ask::Read(read, level) => logs.begin_read(sim, at, read, level),
        }
    }

    fn answered(
        logs: &mut Logs<Self>,
        sim: &mut Sim<Logs<Self>>,
        at: Pid,
        id: u64,
        outcome: Outcome,
    ) {
        logs.answered(sim, at, id, outcome);
    }

    fn read_at(
        logs: &mut Logs<Self>,
        sim: &mut Sim<Logs<Self>>,
        at: Pid,
        read: u64,
        applied: Option<Lsn>,
    ) {
        logs.read_at(sim, at, read, applied);
    }

    fn advance(logs: &mut Logs<Self>, sim: &mut Sim<Logs<Self>>, at: Pid) {
        logs.serve_reads(sim, at);
    }

    fn judge(&mut self, _: &[Pid]) -> Result<(), String> {
        Ok(())
    }
}

impl Logs<Numbers> {
    fn client(&mut self, sim: &mut Sim<Self>) {
        if sim.quiet_for().is_some_and(|quiet| quiet > CLIENTS_STOP) {
            return;
        }
        let pause = sim.dice().time(&(Duration::ZERO..=TIMEOUT / 5));
        sim.plan(pause, Token::Client);
        let leading = self.nodes.iter().filter(|(_, node)| {
            let machine = node.machine.as_ref();
            machine.is_some_and(|machine| machine.leads().is_some())
        });
        let mut leading: Vec<Pid> = leading.map(|(at, _)| *at).collect();
        if leading.is_empty() || sim.dice().chance(5) {
            leading = self.nodes.keys().copied().collect();
        }
        let at = *sim.dice().pick(&leading);
        if !sim.is_up(at) {
            return;
        }
        let choice = sim.dice().index(100);
        let ask = if choice < 40 {
            let read = self.name();
            self.rules.begins(read);
            let levels = [ReadLevel::Leased, ReadLevel::Leased, ReadLevel::Consistent];
            Ask::Read(read, *sim.dice().pick(&levels))
        } else {
            let count = if choice < 98 {
                sim.dice().count(1..=3)
            } else {
                25
            };
            Ask::Write((0..count).map(|_| self.submission(sim, at)).collect())
        };
        // A process that stands still hears of it when it goes on.
        let now = sim.now(at);
        sim.wake(at, now, Token::Ask(ask));
    }

    fn submission(&mut self, sim: &mut Sim<Self>, at: Pid) -> Submission {
        let level = *sim
            .dice()
            .pick(&[Level::One, Level::Quorum, Level::Quorum, Level::All]);
        let deadline = sim.now(at) + sim.dice().time(&(TIMEOUT..=TIMEOUT * 4));
        // As one who runs a transaction on the data that is there. Those who write whatever there is make other rules missed sooner.
        let is_ignored = [Missing::FollowsItsBase, Missing::LooksBefore].map(Some);
        let makes = self.missing.is_none() || is_ignored.contains(&self.missing);
        let makes = makes && sim.dice().chance(20);
        let id = self.again(sim, at, makes).unwrap_or_else(|| self.name());
        self.rules.begins(id);
        let made_from = makes.then(|| self.nodes[&at].data.applied);
        if let Some(point) = made_from {
            self.rules.makes(id, point);
        }
        let is_told = self.missing != Some(Missing::FollowsItsBase);
        Submission {
            id,
            kind: Kind::Batch,
            members: Vec::new(),
            payload: id.to_be_bytes().to_vec(),
            after: made_from.filter(|_| is_told).map(|point| point.lsn),
            level,
            deadline,
        }
    }

    /// Returns a write that is to come again, because nobody knows what became of it, unless the data here shows that it has happened.
    fn again(&mut self, sim: &mut Sim<Self>, at: Pid, makes: bool) -> Option<u64> {
        if !makes || self.unknown.is_empty() || sim.dice().chance(30) {
            return None;
        }
        let choice = sim.dice().index(self.unknown.len());
        let id = self.unknown.swap_remove(choice);
        let looks = self.missing != Some(Missing::LooksBefore);
        if looks && self.rules.has_happened(&self.nodes[&at], id) {
            sim.mark(situations::RECOGNIZED);
            return None;
        }
        sim.mark(situations::RETRIED);
        Some(id)
    }

    fn begin_read(&mut self, sim: &mut Sim<Self>, at: Pid, read: u64, level: ReadLevel) {
        let machine = self.nodes[&at].machine.as_ref();
        if self.missing == Some(Missing::ReadBarrier)
            && let Some(machine) = machine.filter(|machine| machine.leads().is_some())
        {
            let applied = Some(machine.replica().known_commit());
            return self.read_at(sim, at, read, applied);
        }
        self.leased_read = (level == ReadLevel::Leased).then_some(read);
        self.feed(sim, at, Event::Read { read, level });
        // What was not answered at once had no lease.
        self.leased_read = None;
    }

    fn answered(&mut self, sim: &mut Sim<Self>, at: Pid, id: u64, outcome: Outcome) {
        match outcome {
            Outcome::Reached { lsn, level, .. } => {
                if level == Level::All {
                    sim.mark(situations::ALL_HOLD);
                }
                if self.is_long_away(sim) {
                    sim.mark(situations::WITHOUT_REGISTRY);
                }
                self.rules.acknowledged(&self.nodes, at, id, lsn, level);
                return;
            }
            Outcome::NotPrimary => {}
            Outcome::Outrun { .. } => sim.mark(situations::OUTRUN),
            Outcome::Overloaded => sim.mark(situations::OVERLOADED),
            Outcome::Indeterminate => {
                sim.mark(situations::INDETERMINATE);
                self.unknown.push(id);
            }
        }
        self.rules.forgets(id);
    }

    fn read_at(&mut self, sim: &mut Sim<Self>, at: Pid, read: u64, applied: Option<Lsn>) {
        let Some(applied) = applied else {
            sim.mark(situations::READ_REFUSED);
            return self.rules.forgets(read);
        };
        sim.mark(if self.leased_read == Some(read) {
            situations::LEASED
        } else {
            situations::ROUND
        });
        self.node(at).reads.push((read, applied));
        self.serve_reads(sim, at);
    }

    /// Answers the reads whose record has been applied.
    fn serve_reads(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let node = self.node(at);
        let applied = node.data.applied.lsn;
        let reads = std::mem::take(&mut node.reads);
        let (due, waiting) = reads.into_iter().partition(|(_, lsn)| *lsn <= applied);
        node.reads = waiting;
        let due: Vec<(u64, Lsn)> = due;
        for (read, _) in due {
            sim.trace(|| format!("{at} shows {applied} to read {read}"));
            self.rules.read(&self.nodes[&at], at, read, applied);
        }
    }
}
