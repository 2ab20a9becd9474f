//! The workflow's dealings with the journal.

use shardwright_topology::{Decision, Phase, Timestamp};

use super::{Action, CallId, Report, Workflow, Written, errand::State, lane::LaneState};
use crate::{Entry, Record};

/// What the journal was asked and did not answer.
#[derive(Debug)]
pub(super) enum Writing {
    Nothing,
    Record {
        call: CallId,
        to: Box<Record>,
        until: Timestamp,
    },
    Reading {
        until: Timestamp,
    },
    /// The journal failed.
    Resting {
        until: Timestamp,
    },
}

impl Workflow {
    /// Waits for the journal, or writes what somebody wants; returns whether there is nothing else to do.
    pub(super) fn step_journal(&mut self, now: Timestamp, actions: &mut Vec<Action>) -> bool {
        match &self.writing {
            Writing::Nothing => {}
            Writing::Record { until, .. } | Writing::Reading { until } if now < *until => {
                return true;
            }
            Writing::Resting { until } if now < *until => return true,
            Writing::Record { .. } | Writing::Reading { .. } | Writing::Resting { .. } => {
                self.read_again(now, actions);
                return true;
            }
        }
        self.drop_granted();
        if let Some(reason) = self.cancel.clone() {
            actions.push(Action::Tell(Report::Aborting {
                reason: reason.clone(),
            }));
            self.write_phase(now, Phase::Aborting, Some(reason), actions);
            return true;
        }
        if let Some(paused) = self.pause {
            let mut record = self.record.clone();
            record.operation.paused = paused;
            self.write(now, record, actions);
            return true;
        }
        false
    }

    /// Drops what was wanted and is so, or can be no more. Anything else stays wanted until the journal has it, however often a change fails.
    fn drop_granted(&mut self) {
        if self.phase().decision() != Decision::Open {
            self.cancel = None;
        }
        let is_late = !matches!(
            self.phase(),
            Phase::Planned | Phase::Created | Phase::Copying | Phase::CatchingUp | Phase::Verified
        );
        if is_late || self.pause == Some(self.record.is_paused()) {
            self.pause = None;
        }
    }

    pub(super) fn write_phase(
        &mut self,
        now: Timestamp,
        to: Phase,
        error: Option<String>,
        actions: &mut Vec<Action>,
    ) {
        let late = || "the sources were sealed for too long".to_owned();
        let is_late = to == Phase::Aborting && error.is_none();
        let error = error.or_else(|| is_late.then(late));
        if let Ok(mut record) = self.record.advance(to) {
            record.operation.error = error.or(record.operation.error);
            self.write(now, record, actions);
        }
    }

    fn write(&mut self, now: Timestamp, record: Record, actions: &mut Vec<Action>) {
        let until = now + self.settings.call_timeout;
        let to = Box::new(record);
        let call = CallId(self.next_call);
        self.next_call += 1;
        actions.push(Action::Write {
            call,
            expected: self.version,
            record: to.clone(),
        });
        self.writing = Writing::Record { call, to, until };
    }

    pub(super) fn read_again(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let until = now + self.settings.call_timeout;
        self.writing = Writing::Reading { until };
        actions.push(Action::Read);
    }

    pub(super) fn wrote(
        &mut self,
        now: Timestamp,
        call: CallId,
        written: Written,
        actions: &mut Vec<Action>,
    ) {
        // An answer to an earlier change says nothing of this one.
        if !matches!(&self.writing, Writing::Record { call: asked, .. } if *asked == call) {
            return;
        }
        let Writing::Record { to, .. } = std::mem::replace(&mut self.writing, Writing::Nothing)
        else {
            return;
        };
        match written {
            Written::Done(version) => {
                let record = *to;
                self.adopt(now, Entry { record, version }, actions);
            }
            Written::Conflict(found) => self.read(now, found, actions),
            Written::Unknown => self.read_again(now, actions),
        }
    }

    pub(super) fn read(
        &mut self,
        now: Timestamp,
        found: Option<Box<Entry>>,
        actions: &mut Vec<Action>,
    ) {
        self.writing = Writing::Nothing;
        match found {
            None => self.is_gone = true,
            // A read may lag behind.
            Some(entry) if entry.version < self.version => {
                let until = now + self.settings.retry;
                self.writing = Writing::Resting { until };
            }
            Some(entry) => self.adopt(now, *entry, actions),
        }
    }

    pub(super) fn unread(&mut self, now: Timestamp) {
        let until = now + self.settings.retry;
        self.writing = Writing::Resting { until };
    }

    /// Goes on from a record that is in the journal.
    fn adopt(&mut self, now: Timestamp, entry: Entry, actions: &mut Vec<Action>) {
        let before = self.phase();
        self.record = entry.record;
        self.version = entry.version;
        let phase = self.phase();
        if phase != before {
            actions.push(Action::Tell(Report::Phase(phase)));
            self.enter(now);
        } else if self.record.is_paused() {
            self.calls.clear();
            self.lanes.iter_mut().for_each(LaneState::forget_calls);
            self.gate.forget_calls();
            self.errands
                .iter_mut()
                .filter(|errand| errand.state == State::Calling)
                .for_each(|errand| errand.state = State::Waiting);
        }
    }
}
