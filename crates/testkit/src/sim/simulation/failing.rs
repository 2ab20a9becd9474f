//! Faults that last: who is struck, and when it ends.

use std::time::Duration;

use super::{Due, Sim};
use crate::sim::{FaultKind, Input, Pid, Scenario, faults::Fault, scenario::marks};

impl<S: Scenario> Sim<S> {
    pub(super) fn schedule_fault(&mut self) {
        if !self.faults.kinds.is_empty() {
            let wait = self.dice.time(&(Duration::ZERO..=self.faults.every));
            self.schedule(wait, Due::Fault(Fault::Next));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Next => {
                if !self.faults.kinds.is_empty() {
                    let kind = self.dice.weighted(&self.faults.kinds.clone());
                    self.strike(kind);
                    self.schedule_fault();
                }
            }
            Fault::Resume(at) => self.resume(at),
            Fault::Restart(at) => self.restart(at),
            Fault::Heal => self.heal(),
            Fault::OutageEnds => self.outages = self.outages.saturating_sub(1),
        }
    }

    /// Lets a fault begin, now, and plans its end.
    fn strike(&mut self, kind: FaultKind) {
        if self.processes.is_empty() {
            return;
        }
        let lasting = self.dice.time(&self.faults.lasting.clone());
        let at = Pid(self.dice.index(self.processes.len()));
        self.strikes += 1;
        if self.spared.contains(&(self.strikes - 1)) {
            return;
        }
        self.trace(|| format!("fault: {kind:?} of {at} or so, for {lasting:?}"));
        let end = match kind {
            FaultKind::Pause => {
                self.pause(at);
                Fault::Resume(at)
            }
            FaultKind::Crash => {
                self.crash(at);
                Fault::Restart(at)
            }
            FaultKind::Cut | FaultKind::CutOneWay => {
                let other = self.another(at);
                let both = kind == FaultKind::Cut;
                let ways = if both {
                    vec![(at, other), (other, at)]
                } else if self.dice.chance(50) {
                    vec![(at, other)]
                } else {
                    vec![(other, at)]
                };
                let mark = if both {
                    marks::PARTITION
                } else {
                    marks::ONE_WAY
                };
                self.marks.reach_if_declared(mark);
                self.cut(ways);
                Fault::Heal
            }
            FaultKind::Isolate => {
                let others = (0..self.processes.len()).map(Pid).chain([Pid::STORE]);
                let others = others.filter(|other| *other != at);
                let ways = others
                    .flat_map(|other| [(at, other), (other, at)])
                    .collect();
                self.marks.reach_if_declared(marks::PARTITION);
                self.cut(ways);
                Fault::Heal
            }
            FaultKind::Outage => {
                self.marks.reach_if_declared(marks::OUTAGE);
                self.outages += 1;
                Fault::OutageEnds
            }
        };
        self.schedule(lasting, Due::Fault(end));
    }

    fn another(&mut self, at: Pid) -> Pid {
        let other = self.dice.index(self.processes.len());
        if other == at.0 {
            Pid::STORE
        } else {
            Pid(other)
        }
    }

    /// Stops a process where it stands, from the next event on.
    pub fn pause(&mut self, at: Pid) {
        if self.processes[at.0].up {
            self.marks.reach_if_declared(marks::PAUSE);
            self.processes[at.0].paused = true;
        }
    }

    /// Lets a paused process go on, with all that piled up.
    pub fn resume(&mut self, at: Pid) {
        let process = &mut self.processes[at.0];
        process.paused = false;
        let life = process.life;
        let backlog = std::mem::take(&mut process.backlog);
        // What waited is older than what is ready.
        for input in backlog.into_iter().rev() {
            self.ready.push_front((at, life, input));
        }
    }

    /// Ends a process.
    pub fn crash(&mut self, at: Pid) {
        self.marks.reach_if_declared(marks::CRASH);
        let process = &mut self.processes[at.0];
        process.up = false;
        process.paused = false;
        process.backlog.clear();
        for watcher in self.watches.iter_mut().filter(|each| each.at == at) {
            watcher.ended = true;
        }
    }

    /// Starts a process that has ended.
    pub fn restart(&mut self, at: Pid) {
        let process = &mut self.processes[at.0];
        if !process.up {
            process.up = true;
            process.started = false;
            process.life += 1;
            self.ready.push_back((at, process.life, Input::Start));
        }
    }

    /// Lets the store answer nobody for so long, or until the faults stop.
    pub fn outage(&mut self, lasting: Duration) {
        self.marks.reach_if_declared(marks::OUTAGE);
        self.outages += 1;
        self.schedule(lasting, Due::Fault(Fault::OutageEnds));
    }

    /// Returns whether the store answers nobody now.
    pub fn is_store_away(&self) -> bool {
        self.outages > 0
    }

    /// Lets the faults go on for so many events more than planned, in a run that needs the time.
    pub fn prolong(&mut self, events: u64) {
        self.faults.events += events;
    }

    /// Cuts the ways between two ends until the cut that was made first and still lasts is healed.
    fn cut(&mut self, ways: Vec<(Pid, Pid)>) {
        self.cut.extend(&ways);
        self.cuts.push(ways);
    }

    fn heal(&mut self) {
        if !self.cuts.is_empty() {
            self.cuts.remove(0);
        }
        self.cut = self.cuts.iter().flatten().copied().collect();
    }

    /// Ends all faults at once.
    pub(in crate::sim) fn calm(&mut self) {
        self.trace(|| "faults stop".to_owned());
        self.faults.stop();
        self.calm_at = Some(self.now);
        self.cuts.clear();
        self.cut.clear();
        self.outages = 0;
        for at in (0..self.processes.len()).map(Pid) {
            self.resume(at);
            self.restart(at);
        }
    }
}
