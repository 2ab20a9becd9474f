//! Elections: one leader among any number of processes, by a lease in any store.
//!
//! An [`Election`] is one process's part in it, as a pure machine: it is told what the lease holds and what became of its
//! writes, and says what to write. Only a driver touches the store and the clock.
//!
//! ```text
//! following --vacant: take it--> taking --written--> leading --renewal due--> leading
//!     ^-------conflict, unknown----'                   |
//!     ^------the hold ended, or somebody else's term---'
//! ```
//!
//! A leader acts only before the end of its hold, which it counts from before it sent its last confirmed renewal; the others wait for
//! longer than that. What it commands carries its term: who has seen a later one refuses.

use std::collections::VecDeque;

use shardwright_topology::Timestamp;

use crate::{Holder, Key, LeaseRecord, LeaseTiming, LeaseWatcher, Revision, Stored};

/// What an election asks its driver to do, or tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElectionAction {
    /// Replace the lease at the revision, or create it, and report to [`Election::wrote`]. One write is under way at a time.
    Write {
        /// The revision to replace; `None` to create.
        expected: Option<Revision>,
        /// What the lease is to hold.
        record: LeaseRecord,
    },
    /// This process leads from now on.
    Lead {
        /// Goes with every command.
        term: u64,
    },
    /// This process leads no longer.
    StepDown {
        /// The term in which it led.
        term: u64,
    },
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The lease holds it, at this revision.
    Written(Revision),
    /// The lease held something else: nothing changed.
    Conflict(Option<Stored<LeaseRecord>>),
    /// Nothing changed, or it is not known whether something did.
    Failed,
}

/// One process's part in the election of a leader.
#[derive(Debug, Clone)]
pub struct Election {
    key: Key,
    me: Holder,
    timing: LeaseTiming,
    watcher: LeaseWatcher,
    /// Whether anything was seen, if only that there is no lease.
    observed: bool,
    /// The lease as this process last knew it: seen or written.
    known: Option<Stored<LeaseRecord>>,
    leading: Option<Leading>,
    under_way: Option<Attempt>,
    /// Writes that may have happened, earliest first.
    unsettled: VecDeque<Attempt>,
    next_at: Timestamp,
    resigned: bool,
}

#[derive(Debug, Clone, Copy)]
struct Leading {
    term: u64,
    /// Read before the last confirmed write was sent.
    sent_at: Timestamp,
}

#[derive(Debug, Clone)]
struct Attempt {
    record: LeaseRecord,
    sent_at: Timestamp,
}

/// How many unsettled writes are remembered: those before them were sent longer ago than any hold.
const UNSETTLED_MAX: usize = 32;

impl Election {
    /// Returns the part of a process in an election of which it has seen nothing yet. All parts agree on the timing, and no two
    /// processes are the same holder.
    #[must_use]
    pub fn new(key: Key, me: Holder, timing: LeaseTiming) -> Self {
        Self {
            key,
            me,
            timing,
            watcher: LeaseWatcher::new(timing),
            observed: false,
            known: None,
            leading: None,
            under_way: None,
            unsettled: VecDeque::new(),
            next_at: Timestamp::default(),
            resigned: false,
        }
    }

    /// Returns the term in which this process leads; `None` if it does not, or must not act any more.
    #[must_use]
    pub fn leads(&self, now: Timestamp) -> Option<u64> {
        let leading = self.leading?;
        (now < self.ends_at(leading)).then_some(leading.term)
    }

    /// Returns until when this process may act, if it leads.
    #[must_use]
    pub fn leads_until(&self) -> Option<Timestamp> {
        self.leading.map(|leading| self.ends_at(leading))
    }

    /// Returns the key of the lease.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the lease as this process last knew it.
    #[must_use]
    pub fn lease(&self) -> Option<&Stored<LeaseRecord>> {
        self.known.as_ref()
    }

    /// Returns when [`Election::tick`] next has something to do, unless something is observed before.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        let acts_at = match &self.leading {
            _ if self.under_way.is_some() => None,
            Some(_) => Some(self.next_at),
            None if self.resigned => self.is_mine().then_some(self.next_at),
            None if self.is_free() => Some(self.next_at),
            None => self
                .watcher
                .vacant_at()
                .map(|vacant| vacant.max(self.next_at)),
        };
        self.leads_until().into_iter().chain(acts_at).min()
    }

    /// Takes in what the lease holds, `None` if it was never taken. `now` is read after it was.
    pub fn observe(
        &mut self,
        now: Timestamp,
        lease: Option<Stored<LeaseRecord>>,
        actions: &mut Vec<ElectionAction>,
    ) {
        self.observed = true;
        self.watcher.observe(now, lease.clone());
        let Some(lease) = lease else { return };
        let known = self.known.as_ref().map(|known| known.revision);
        if known.is_some_and(|known| lease.revision <= known) {
            return;
        }
        let (mine, term) = (
            lease.value.holder.as_ref() == Some(&self.me),
            lease.value.term,
        );
        self.known = Some(lease);
        let led = self.leading.map(|leading| leading.term);
        if led.is_some() && !(mine && led == Some(term)) {
            self.step_down(actions);
        }
        if mine {
            self.confirm(now, actions);
        }
    }

    /// Does what is due: takes a vacant lease, renews its own, or stops.
    pub fn tick(&mut self, now: Timestamp, actions: &mut Vec<ElectionAction>) {
        if self.leading.is_some() && self.leads(now).is_none() {
            self.step_down(actions);
        }
        if self.under_way.is_some() || now < self.next_at {
            return;
        }
        let known = self.known.as_ref().map(|known| &known.value);
        let record = match (known, self.leading) {
            (Some(known), _) if self.resigned && self.is_mine() => known.released(),
            (_, _) if self.resigned => return,
            (Some(known), Some(_)) => known.renewed(),
            (known, _) if self.is_free() || self.watcher.vacancy(now).is_some() => {
                LeaseRecord::taken(known, self.me.clone())
            }
            (_, _) => return,
        };
        self.next_at = now + self.timing.renew_every();
        self.under_way = Some(Attempt {
            record: record.clone(),
            sent_at: now,
        });
        let expected = self.known.as_ref().map(|known| known.revision);
        actions.push(ElectionAction::Write { expected, record });
    }

    /// Takes in what became of the write under way.
    pub fn wrote(
        &mut self,
        now: Timestamp,
        outcome: WriteOutcome,
        actions: &mut Vec<ElectionAction>,
    ) {
        let Some(attempt) = self.under_way.take() else {
            return;
        };
        match outcome {
            WriteOutcome::Written(revision) => {
                let stored = Stored {
                    key: self.key.clone(),
                    value: attempt.record.clone(),
                    revision,
                };
                self.unsettled.push_back(attempt);
                self.observe(now, Some(stored), actions);
            }
            WriteOutcome::Conflict(found) => {
                // What was found says what to do, and nothing has to be waited for.
                self.next_at = now;
                self.observe(now, found, actions);
            }
            WriteOutcome::Failed => {
                self.next_at = now + self.timing.renew_every() / 4;
                self.unsettled.push_back(attempt);
                if UNSETTLED_MAX < self.unsettled.len() {
                    self.unsettled.pop_front();
                }
            }
        }
        if self.resigned {
            self.tick(now, actions);
        }
    }

    /// Stops leading, takes part no longer, and gives the lease back, so that the next leader need not wait. The caller has stopped
    /// acting.
    pub fn resign(&mut self, now: Timestamp, actions: &mut Vec<ElectionAction>) {
        self.resigned = true;
        self.next_at = now;
        if self.leading.is_some() {
            self.step_down(actions);
        }
        self.tick(now, actions);
    }

    fn ends_at(&self, leading: Leading) -> Timestamp {
        leading.sent_at + self.timing.hold()
    }

    /// Whether the lease names this process, whether or not it leads.
    fn is_mine(&self) -> bool {
        let holder = self.known.as_ref().map(|known| &known.value.holder);
        holder.is_some_and(|holder| holder.as_ref() == Some(&self.me))
    }

    /// Whether nobody else can be acting on the lease.
    fn is_free(&self) -> bool {
        let holder = self
            .known
            .as_ref()
            .and_then(|known| known.value.holder.as_ref());
        self.observed && holder.is_none_or(|holder| *holder == self.me)
    }

    fn step_down(&mut self, actions: &mut Vec<ElectionAction>) {
        if let Some(Leading { term, .. }) = self.leading.take() {
            actions.push(ElectionAction::StepDown { term });
        }
    }

    /// The lease holds something of this process: extends the hold to what the write that made it so allows.
    fn confirm(&mut self, now: Timestamp, actions: &mut Vec<ElectionAction>) {
        let Some(known) = &self.known else { return };
        let made = |attempt: &&Attempt| attempt.record == known.value;
        // Of equal writes the earliest may have been the one.
        let found = self.unsettled.iter().chain(&self.under_way).find(made);
        let Some(sent_at) = found.map(|attempt| attempt.sent_at) else {
            return;
        };
        let term = known.value.term;
        self.unsettled.clear();
        match &mut self.leading {
            Some(leading) => leading.sent_at = leading.sent_at.max(sent_at),
            None if self.resigned || sent_at + self.timing.hold() <= now => return,
            None => {
                self.leading = Some(Leading { term, sent_at });
                actions.push(ElectionAction::Lead { term });
            }
        }
        self.next_at = sent_at + self.timing.renew_every();
    }
}

#[cfg(test)]
mod tests;
