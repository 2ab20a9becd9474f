//! The workflow: one operation from its plan to its end, as a pure state machine.
//!
//! ```text
//! Planned      hold the sources, create the targets
//! Created      keep the changes of the sources
//! Copying      copy pages; a page may be of a later moment than the one before
//! CatchingUp   apply changes; compare source and target at one position; hold writers back if it takes too long
//! Verified     go on until little was lacking for a while
//! Sealing      end the writes of the sources, apply the last changes, compare again; too long: Aborting
//! Sealed       -
//! Committed    the targets own the keys: open them, let go of the shards
//! CleaningUp   after a time of grace, remove the sources
//! Done
//!
//! Aborting     let go of the sources, which take writes again, and remove the targets, as far as they can be reached
//! Aborted
//! ```
//!
//! A phase is written before anything of it is done, by compare-and-set on what was read, so of several coordinators that run one operation at
//! once each change is made by one. Everything else may be done twice, late or by several: stores refuse what does not fit any more. So a
//! coordinator that starts needs the record, and nothing else.

mod errand;
mod event;
mod gate;
mod journal;
mod lane;
mod progress;
mod wake;

use std::collections::BTreeMap;

use shardwright_topology::{Decision, Lsn, OperationId, Phase, Timestamp};

use self::{
    errand::{Errand, State, Step},
    journal::Writing,
    lane::LaneState,
    progress::Meter,
};
pub use self::{
    event::{Action, Call, CallId, Event, Owned, Report, Written},
    progress::Progress,
};
use crate::{Entry, Record, Reply, Request, Settings, StoreError, Version};

/// One operation, as one coordinator runs it.
///
/// Whoever drives it carries out its [`Action`]s and tells it what became of them, in any order; what is not answered is asked again after
/// [`Settings::call_timeout`].
#[derive(Debug)]
pub struct Workflow {
    settings: Settings,
    record: Record,
    version: Version,
    writing: Writing,
    /// When this coordinator saw the phase first.
    entered: Timestamp,
    admitted: bool,
    cancel: Option<String>,
    pause: Option<bool>,
    errands: Vec<Errand>,
    lanes: Vec<LaneState>,
    /// Since when the changes of each source are kept.
    follows: Vec<Option<Lsn>>,
    /// The last position of each source.
    sealed: Vec<Option<Lsn>>,
    calls: BTreeMap<CallId, Outstanding>,
    next_call: u64,
    retry_at: Timestamp,
    copy_at: Timestamp,
    gate: gate::Gate,
    meter: Meter,
    is_gone: bool,
}

/// A call that was not answered.
#[derive(Debug, Clone, Copy)]
struct Outstanding {
    purpose: Purpose,
    until: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Errand(usize),
    Lane(usize),
    /// Tells the writers of a source how far they may be ahead.
    Pace(usize),
}

impl Workflow {
    /// Returns the workflow of an operation that was read from its journal.
    #[must_use]
    pub fn new(settings: Settings, entry: Entry, now: Timestamp) -> Self {
        let Entry { record, version } = entry;
        let sources = record.work.sources.len();
        let mut workflow = Self {
            settings,
            version,
            writing: Writing::Nothing,
            entered: now,
            // Who was let begin once is not asked again.
            admitted: record.phase() != Phase::Planned,
            cancel: None,
            pause: None,
            errands: Vec::new(),
            lanes: record.lanes().into_iter().map(LaneState::new).collect(),
            follows: vec![None; sources],
            sealed: vec![None; sources],
            calls: BTreeMap::new(),
            next_call: 0,
            retry_at: now,
            copy_at: now,
            gate: gate::Gate::new(sources),
            meter: Meter::default(),
            is_gone: false,
            record,
        };
        workflow.enter(now);
        workflow
    }

    /// Advances on `event`, appending to `actions` what is to be done next.
    pub fn handle(&mut self, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Admitted => self.admitted = true,
            Event::Measured { rows, bytes } => self.meter.total = Some((rows, bytes)),
            Event::Replied { call, outcome } => self.replied(now, call, outcome, actions),
            Event::Owned { call, outcome } => self.owned(now, call, outcome),
            Event::Wrote { call, outcome } => self.wrote(now, call, outcome, actions),
            Event::Read(found) => self.read(now, found, actions),
            Event::Unread => self.unread(now),
            Event::Pause => self.pause = Some(true),
            Event::Resume => self.pause = Some(false),
            Event::Cancel { reason } => self.cancel = Some(reason),
        }
        self.step(now, actions);
        if let Some(at) = self.next_wake(now) {
            actions.push(Action::WakeAt(at));
        }
    }

    /// Returns the record as it was last read or written.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Returns its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the name of the operation.
    #[must_use]
    pub fn id(&self) -> &OperationId {
        self.record.id()
    }

    /// Returns the phase that was last read or written.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.record.phase()
    }

    /// Returns whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_gone || self.phase().is_final()
    }

    /// Returns how far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let total = self.meter.total;
        let (rows, bytes) = total
            .filter(|_| progress::is_copied(self.phase()))
            .unwrap_or_default();
        Progress {
            phase: self.phase(),
            paused: self.record.is_paused(),
            rows: self.meter.rows.max(rows),
            bytes: self.meter.bytes.max(bytes),
            changes: self.meter.changes,
            rows_total: total.map(|(rows, _)| rows),
            bytes_total: total.map(|(_, bytes)| bytes),
            bytes_per_second: self.meter.bytes_per_second(),
            lag: self.lag(),
            remaining: self.meter.remaining(),
        }
    }

    /// Begins with a phase, knowing nothing of it.
    fn enter(&mut self, now: Timestamp) {
        self.entered = now;
        self.errands = Errand::of(&self.record);
        for errand in &mut self.errands {
            // What is known need not be asked.
            if let Step::Store {
                request,
                source: Some(source),
                ..
            } = &errand.step
                && matches!(**request, Request::Follow { .. })
                && self.follows[*source].is_some()
            {
                errand.state = State::Done;
            }
        }
        self.calls.clear();
        self.retry_at = now;
        self.gate.enter(now, self.phase());
        let (phase, small) = (self.phase(), self.settings.verify_sealed_rows);
        for lane in &mut self.lanes {
            lane.enter(phase, small);
        }
    }

    fn step(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.is_over() {
            return;
        }
        self.expire(now);
        if self.step_journal(now, actions) {
            return;
        }
        if self.wants_to_wait() {
            return;
        }
        if self.phase() == Phase::CleaningUp && now < self.entered + self.settings.grace {
            return;
        }
        self.run_errands(now, actions);
        self.step_lanes(now, actions);
        self.step_gate(now, actions);
        if let Some(next) = self.next_phase(now) {
            self.write_phase(now, next, None, actions);
        }
    }

    fn wants_to_wait(&self) -> bool {
        match self.phase() {
            Phase::Planned => self.record.is_paused() || !self.admitted,
            Phase::Created | Phase::Copying | Phase::CatchingUp | Phase::Verified => {
                self.record.is_paused()
            }
            _ => false,
        }
    }

    /// Returns the phase that follows, once all of the present one is done.
    fn next_phase(&self, now: Timestamp) -> Option<Phase> {
        let done = self
            .errands
            .iter()
            .all(|errand| errand.state == State::Done);
        let next = match self.phase() {
            Phase::Planned => done.then_some(Phase::Created),
            Phase::Created => done.then_some(Phase::Copying),
            Phase::Copying => self
                .all_lanes(LaneState::is_copied)
                .then_some(Phase::CatchingUp),
            Phase::CatchingUp => {
                let close = |lane: &LaneState| lane.verified && self.is_close(lane);
                self.all_lanes(close).then_some(Phase::Verified)
            }
            Phase::Verified if self.is_far_behind() => Some(Phase::CatchingUp),
            Phase::Verified => self.gate_is_open(now).then_some(Phase::Sealing),
            Phase::Sealing => self
                .all_lanes(|lane| self.is_drained(lane))
                .then_some(Phase::Sealed),
            Phase::Sealed => Some(Phase::Committed),
            Phase::Committed => done.then_some(Phase::CleaningUp),
            Phase::CleaningUp => done.then_some(Phase::Done),
            Phase::Aborting => done.then_some(Phase::Aborted),
            Phase::Done | Phase::Aborted => None,
        };
        let late = self.phase() == Phase::Sealing && now >= self.entered + self.settings.seal_max;
        if late && next.is_none() {
            return Some(Phase::Aborting);
        }
        next
    }

    fn all_lanes(&self, holds: impl Fn(&LaneState) -> bool) -> bool {
        self.lanes.iter().all(holds)
    }

    fn expire(&mut self, now: Timestamp) {
        let late: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, call)| call.until <= now)
            .map(|(id, _)| *id)
            .collect();
        for call in late {
            if let Some(purpose) = self.ended(call) {
                self.again(purpose);
            }
        }
    }

    fn ended(&mut self, call: CallId) -> Option<Purpose> {
        self.calls.remove(&call).map(|call| call.purpose)
    }

    /// Lets what a call was for be called for again.
    fn again(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Errand(place) => {
                if let Some(errand) = self.errands.get_mut(place) {
                    errand.again();
                }
            }
            Purpose::Lane(place) => self.lanes[place].busy = false,
            Purpose::Pace(source) => self.gate.sent(source, false),
        }
    }

    fn begin(&mut self, now: Timestamp, purpose: Purpose) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let until = now + self.settings.call_timeout;
        self.calls.insert(id, Outstanding { purpose, until });
        id
    }

    fn call(
        &mut self,
        now: Timestamp,
        purpose: Purpose,
        (node, request): (shardwright_topology::NodeId, Request),
        actions: &mut Vec<Action>,
    ) {
        let id = self.begin(now, purpose);
        actions.push(Action::Call(Call {
            id,
            node,
            operation: self.record.id().clone(),
            request,
        }));
    }

    fn run_errands(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if now < self.retry_at {
            return;
        }
        let unfinished = self.errands.iter().filter(|each| each.state != State::Done);
        let Some(turn) = unfinished.map(|errand| errand.turn).min() else {
            return;
        };
        for place in 0..self.errands.len() {
            let errand = &mut self.errands[place];
            if errand.turn != turn || errand.state != State::Waiting {
                continue;
            }
            errand.state = State::Calling;
            match errand.step.clone() {
                Step::Hold => {
                    let call = self.begin(now, Purpose::Errand(place));
                    let record = Box::new(self.record.clone());
                    actions.push(Action::Hold { call, record });
                }
                Step::Resolve => {
                    let call = self.begin(now, Purpose::Errand(place));
                    let record = Box::new(self.record.clone());
                    actions.push(Action::Resolve { call, record });
                }
                Step::Store { node, request, .. } => {
                    self.call(now, Purpose::Errand(place), (node, *request), actions);
                }
            }
        }
    }

    fn owned(&mut self, now: Timestamp, call: CallId, outcome: Owned) {
        let Some(Purpose::Errand(place)) = self.ended(call) else {
            return;
        };
        let refused = match &outcome {
            Owned::Refused { reason } => Some(reason.clone()),
            Owned::Done | Owned::Failed => None,
        };
        match outcome {
            Owned::Done => self.errands[place].state = State::Done,
            Owned::Refused { .. } | Owned::Failed => {
                self.again(Purpose::Errand(place));
                self.retry_at = now + self.settings.retry;
            }
        }
        if let Some(reason) = refused
            && self.phase().decision() == Decision::Open
        {
            self.cancel.get_or_insert(reason);
        }
    }

    fn replied(
        &mut self,
        now: Timestamp,
        call: CallId,
        outcome: Result<Reply, StoreError>,
        actions: &mut Vec<Action>,
    ) {
        let Some(purpose) = self.ended(call) else {
            return;
        };
        match (purpose, outcome) {
            (Purpose::Errand(place), Ok(reply)) => self.errand_done(place, &reply),
            (Purpose::Lane(place), Ok(reply)) => self.lane_replied(now, place, reply),
            (Purpose::Pace(source), Ok(_)) => self.gate.sent(source, true),
            (purpose, Err(error)) => self.failed(now, purpose, &error, actions),
        }
    }

    fn errand_done(&mut self, place: usize, reply: &Reply) {
        let errand = &mut self.errands[place];
        errand.state = State::Done;
        if let Step::Store {
            request,
            source: Some(source),
            ..
        } = &errand.step
            && let Reply::Position(at) = reply
        {
            match **request {
                Request::Seal { .. } => self.sealed[*source] = Some(*at),
                _ => self.follows[*source] = Some(*at),
            }
        }
    }

    /// Decides what a failed call means.
    fn failed(
        &mut self,
        now: Timestamp,
        purpose: Purpose,
        error: &StoreError,
        actions: &mut Vec<Action>,
    ) {
        self.again(purpose);
        self.retry_at = now + self.settings.retry;
        if let Purpose::Lane(place) = purpose {
            self.lanes[place].retry_at = now + self.settings.retry;
        }
        if let (Purpose::Lane(place), StoreError::Trimmed { after, .. }) = (purpose, error)
            && self.lanes[place].was_behind(*after)
        {
            return;
        }
        if let Purpose::Errand(place) = purpose
            && self.is_done_anyway(place, error)
        {
            self.errands[place].state = State::Done;
            return;
        }
        let report = Report::Failed {
            error: error.with_causes(),
        };
        actions.push(Action::Tell(report));
        if error.is_retryable() || purpose_is_hint(purpose) {
            return;
        }
        if self.phase().decision() == Decision::Open {
            self.cancel.get_or_insert_with(|| error.with_causes());
        } else {
            // Somebody else may have gone on.
            self.read_again(now, actions);
        }
    }

    /// Whether the call wanted what is so: a shard that is not there need not be let go of.
    fn is_done_anyway(&self, place: usize, error: &StoreError) -> bool {
        let gone = matches!(
            error,
            StoreError::Unknown { .. } | StoreError::Removed { .. }
        );
        let letting_go = matches!(self.phase(), Phase::Aborting | Phase::CleaningUp);
        gone && letting_go && place < self.errands.len()
    }
}

/// Whether nothing depends on the call.
fn purpose_is_hint(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Pace(_))
}

#[cfg(test)]
mod tests;
