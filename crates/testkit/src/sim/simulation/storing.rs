//! Calls of the store, and what goes wrong with them.

use shardwright_registry::{Key, Prefix, Revision};

use super::{Call, Due, Sim, Watcher};
use crate::sim::{
    Change, Input, InputOf, Outcome, Pid, Scenario, Unavailable, Write, scenario::marks,
};

/// What is read.
#[derive(Debug, Clone)]
pub(super) enum Read {
    Key(Key),
    Prefix(Prefix),
}

/// By how many changes a stale read lags at most.
const LAG_MAX: usize = 12;

impl<S: Scenario> Sim<S> {
    /// Asks the store for a change; [`Input::Written`] says what became of it.
    pub fn write(&mut self, at: Pid, token: S::Token, write: Write<S::Value>) {
        let mut call = self.call(at, token);
        let patience = *self.faults.delay.end() * 4;
        if self.outages > 0 || self.is_cut(at, Pid::STORE) {
            // What never arrived may be reported either way.
            let outcome = if self.dice.chance(50) {
                self.marks.reach_if_declared(marks::UNKNOWN_LOST);
                Outcome::Unknown
            } else {
                Outcome::Unavailable
            };
            return self.answer_after(patience, call, |token| Input::Written { token, outcome });
        }
        let unknown = self.dice.rarely(self.faults.store.unknown);
        if unknown || self.is_cut(Pid::STORE, at) {
            call.unheard = true;
            let told = Call {
                unheard: false,
                token: call.token.clone(),
                ..call
            };
            self.answer_after(patience, told, |token| Input::Written {
                token,
                outcome: Outcome::Unknown,
            });
            let delay = match self.dice.index(3) {
                0 => {
                    self.marks.reach_if_declared(marks::UNKNOWN_LOST);
                    return;
                }
                1 => {
                    self.marks.reach_if_declared(marks::UNKNOWN_APPLIED);
                    self.delay()
                }
                _ => {
                    self.marks.reach_if_declared(marks::UNKNOWN_LATE);
                    patience + self.delay() * 20
                }
            };
            return self.schedule(delay, Due::Write(call, write));
        }
        let delay = self.delay();
        self.schedule(delay, Due::Write(call, write));
    }

    /// Asks the store for the value of a key; [`Input::Got`] has the answer.
    pub fn get(&mut self, at: Pid, token: S::Token, key: Key) {
        self.read(at, token, Read::Key(key));
    }

    /// Asks the store for the values below a prefix; [`Input::Listed`] has the answer.
    pub fn list(&mut self, at: Pid, token: S::Token, prefix: Prefix) {
        self.read(at, token, Read::Prefix(prefix));
    }

    /// Watches the changes below a prefix after a revision, as a list at that revision allows: without a gap. [`Input::Changed`] shows
    /// each in their order, until [`Input::Ended`].
    pub fn watch(&mut self, at: Pid, token: S::Token, prefix: Prefix, after: Revision) {
        let watch = self.watches.len();
        self.watches.push(Watcher {
            at,
            life: self.processes[at.0].life,
            token,
            prefix,
            place: self.revision_place(after),
            pumping: true,
            ended: false,
        });
        let delay = self.delay();
        self.schedule(delay, Due::Pump(watch));
    }

    fn call(&self, at: Pid, token: S::Token) -> Call<S> {
        let life = self.processes[at.0].life;
        Call {
            at,
            life,
            token,
            unheard: false,
        }
    }

    fn read(&mut self, at: Pid, token: S::Token, read: Read) {
        let call = self.call(at, token);
        if self.outages > 0 || self.is_cut(at, Pid::STORE) || self.is_cut(Pid::STORE, at) {
            let patience = *self.faults.delay.end() * 4;
            return self.answer_after(patience, call, |token| unavailable(token, &read));
        }
        let delay = self.delay();
        self.schedule(delay, Due::Read(call, read));
    }

    pub(super) fn write_arrives(&mut self, call: Call<S>, write: Write<S::Value>) {
        let spurious = self.dice.rarely(self.faults.store.spurious);
        let found = self.store.get(&write.key);
        let outcome = if spurious && found.map(|found| found.revision) == write.expected {
            let found = found.cloned();
            self.marks.reach_if_declared(marks::SPURIOUS);
            Outcome::Conflict(found)
        } else {
            match self.store.apply(call.at, write) {
                Ok(revision) => {
                    self.wake_watches();
                    Outcome::Done(revision)
                }
                Err(found) => Outcome::Conflict(found),
            }
        };
        let at = call.at;
        self.trace(|| format!("store answers {at}: {outcome:?}"));
        if !call.unheard {
            let delay = self.delay();
            self.answer_after(delay, call, |token| Input::Written { token, outcome });
        }
    }

    pub(super) fn read_arrives(&mut self, call: Call<S>, read: Read) {
        let lag = if self.dice.rarely(self.faults.store.stale) {
            self.marks.reach_if_declared(marks::STALE);
            self.dice.count(1..=LAG_MAX)
        } else {
            0
        };
        let delay = self.delay();
        match read {
            Read::Key(key) => {
                let found = Ok(self.store.lagging_value(call.at, &key, lag));
                self.answer_after(delay, call, |token| Input::Got { token, found });
            }
            Read::Prefix(prefix) => {
                let found = Ok(self.store.lagging_list(call.at, &prefix, lag));
                self.answer_after(delay, call, |token| Input::Listed { token, found });
            }
        }
    }

    fn answer_after(
        &mut self,
        delay: std::time::Duration,
        call: Call<S>,
        answer: impl FnOnce(S::Token) -> InputOf<S>,
    ) {
        let Call {
            at, life, token, ..
        } = call;
        self.schedule(delay, Due::Input(at, life, answer(token)));
    }

    pub(super) fn wake_watches(&mut self) {
        for watch in 0..self.watches.len() {
            let watcher = &self.watches[watch];
            if watcher.ended || watcher.pumping {
                continue;
            }
            let seen = self.store.changes_from(watcher.place).iter();
            if seen.clone().any(|change| watcher.prefix.holds(&change.key)) {
                self.watches[watch].pumping = true;
                let delay = self.delay();
                self.schedule(delay, Due::Pump(watch));
            }
        }
    }

    /// Shows a watch all that it has not shown, if its process can be reached.
    pub(super) fn pump(&mut self, watch: usize) {
        let watcher = &self.watches[watch];
        let (at, life) = (watcher.at, watcher.life);
        if watcher.ended {
            return;
        }
        if self.processes[at.0].life != life {
            self.watches[watch].ended = true;
            return;
        }
        if self.outages > 0 || self.is_cut(Pid::STORE, at) {
            // How soon it tries again is up to its client: a slow message must not draw the cut out after it has healed.
            let pause = self.dice.time(&self.faults.delay) * 4;
            return self.schedule(pause, Due::Pump(watch));
        }
        if self.dice.rarely(self.faults.store.watch_ends) {
            return self.end_watch(watch);
        }
        let watcher = &mut self.watches[watch];
        watcher.pumping = false;
        let fresh = self.store.changes_from(watcher.place);
        watcher.place += fresh.len();
        let wanted = fresh
            .iter()
            .filter(|change| watcher.prefix.holds(&change.key));
        let shown: Vec<Change<S::Value>> = wanted.cloned().collect();
        let token = watcher.token.clone();
        for change in shown {
            let token = token.clone();
            self.ready
                .push_back((at, life, Input::Changed { token, change }));
        }
    }

    pub(super) fn end_watch(&mut self, watch: usize) {
        let watcher = &mut self.watches[watch];
        if watcher.ended {
            return;
        }
        watcher.ended = true;
        let (at, life, token) = (watcher.at, watcher.life, watcher.token.clone());
        self.marks.reach_if_declared(marks::WATCH_ENDED);
        self.ready.push_back((at, life, Input::Ended { token }));
    }
}

fn unavailable<M, T, V>(token: T, read: &Read) -> Input<M, T, V> {
    match read {
        Read::Key(_) => Input::Got {
            token,
            found: Err(Unavailable),
        },
        Read::Prefix(_) => Input::Listed {
            token,
            found: Err(Unavailable),
        },
    }
}
