//! The gate between catching up and the seal, and the writers who keep it closed.
//!
//! A copy that is slower than the writers would never catch up. So after a while, longer for larger shards, the sources are told how far
//! writers may be ahead of what is applied: first half of what lacks, and again half whenever that was not enough, down to half of what the
//! gate allows. From then on writers are as fast as the copy, and the gate opens.

use std::time::Duration;

use shardwright_topology::{Lsn, Phase, Timestamp};

use super::{Action, Purpose, Report, Workflow, lane::LaneState};
use crate::{Pace, Request};

/// How often a bound is tightened, and the store told what was applied.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Gate {
    /// Since when little is lacking.
    calm_since: Option<Timestamp>,
    catching_up_since: Option<Timestamp>,
    ahead: Option<u64>,
    bounded_at: Timestamp,
    sources: Vec<Told>,
}

/// What a source was told.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    pace: Option<Pace>,
    at: Timestamp,
    sending: Option<Pace>,
}

impl Gate {
    pub(super) fn new(sources: usize) -> Self {
        Self {
            calm_since: None,
            catching_up_since: None,
            ahead: None,
            bounded_at: Timestamp::default(),
            sources: vec![Told::default(); sources],
        }
    }

    pub(super) fn enter(&mut self, now: Timestamp, phase: Phase) {
        self.calm_since = None;
        self.forget_calls();
        if phase == Phase::CatchingUp {
            self.catching_up_since.get_or_insert(now);
        }
    }

    /// Forgets what is being said: an answer that comes is not recognised.
    pub(super) fn forget_calls(&mut self) {
        for told in &mut self.sources {
            told.sending = None;
        }
    }

    /// Notes whether a source was told.
    pub(super) fn sent(&mut self, source: usize, told: bool) {
        let slot = &mut self.sources[source];
        if let Some(pace) = slot.sending.take()
            && told
        {
            slot.pace = Some(pace);
        }
    }
}

impl Workflow {
    /// Returns how many changes the targets lack at most, once that is known of all.
    pub(super) fn lag(&self) -> Option<u64> {
        let lags: Option<Vec<u64>> = self.lanes.iter().map(LaneState::lag).collect();
        lags?.into_iter().max()
    }

    pub(super) fn is_close(&self, lane: &LaneState) -> bool {
        let few = lane.lag().is_some_and(|lag| lag <= self.settings.lag_max);
        few && lane.is_polled()
    }

    pub(super) fn is_far_behind(&self) -> bool {
        let most = self.settings.lag_max.saturating_mul(4).saturating_add(4);
        self.lag().is_some_and(|lag| lag > most)
    }

    pub(super) fn is_drained(&self, lane: &LaneState) -> bool {
        let last = self.sealed[lane.lane.source];
        let is_verified = lane.verified || lane.is_verified_at(last);
        last.is_some() && lane.applied() >= last && is_verified
    }

    pub(super) fn gate_is_open(&self, now: Timestamp) -> bool {
        let calm = self.gate.calm_since;
        let calm = calm.is_some_and(|since| now.since(since) >= self.settings.calm);
        let pause = self.meter.time_for(self.lag().unwrap_or(0));
        calm && pause <= self.settings.pause_max
    }

    pub(super) fn step_gate(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if !matches!(self.phase(), Phase::CatchingUp | Phase::Verified) {
            return;
        }
        if self.all_lanes(|lane| self.is_close(lane)) {
            self.gate.calm_since.get_or_insert(now);
        } else {
            self.gate.calm_since = None;
            self.bound_writers(now, actions);
        }
        for source in 0..self.gate.sources.len() {
            self.tell_source(now, source, actions);
        }
    }

    /// Whether writers wait for the copy by now.
    pub(super) fn holds_writers_back(&self) -> bool {
        self.gate.ahead.is_some()
    }

    fn bound_writers(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let bytes = self
            .meter
            .total
            .map_or(self.meter.bytes, |(_, bytes)| bytes);
        let patience = self.settings.patience_for(bytes);
        let since = self.gate.catching_up_since;
        let impatient = since.is_some_and(|since| now.since(since) >= patience);
        let Some(lag) = self.lag().filter(|lag| *lag > self.settings.lag_max) else {
            return;
        };
        let due = self.gate.ahead.is_none() || now.since(self.gate.bounded_at) >= EVERY;
        if !impatient || !due {
            return;
        }
        let least = (self.settings.lag_max / 2).max(1);
        let half = self.gate.ahead.unwrap_or(lag) / 2;
        let ahead = half.max(least);
        if self.gate.ahead != Some(ahead) {
            actions.push(Action::Tell(Report::HeldBack { ahead }));
        }
        self.gate.ahead = Some(ahead);
        self.gate.bounded_at = now;
    }

    fn tell_source(&mut self, now: Timestamp, source: usize, actions: &mut Vec<Action>) {
        let own = self.lanes.iter().filter(|lane| lane.lane.source == source);
        let applied: Option<Vec<Lsn>> = own.map(LaneState::applied).collect();
        let Some(acknowledged) = applied.and_then(|applied| applied.into_iter().min()) else {
            return;
        };
        let pace = Pace {
            acknowledged,
            ahead: self.gate.ahead,
        };
        let told = &mut self.gate.sources[source];
        let is_due = now.since(told.at) >= EVERY;
        let is_new = pace.ahead.is_some() && told.pace != Some(pace);
        // Without a bound, it is told for the sake of what it keeps.
        let renews = is_due && (pace.ahead.is_some() || told.pace != Some(pace));
        if told.sending.is_some() || !(is_new || renews) {
            return;
        }
        told.sending = Some(pace);
        told.at = now;
        let part = &self.record.work.sources[source];
        let (node, shard) = (part.node.clone(), part.shard.clone());
        let request = Request::Pace { shard, pace };
        self.call(now, Purpose::Pace(source), (node, request), actions);
    }

    /// Returns when the gate has to be looked at again.
    pub(super) fn gate_wake(&self) -> impl Iterator<Item = Timestamp> {
        let calm = self.gate.calm_since.map(|since| since + self.settings.calm);
        let bytes = self
            .meter
            .total
            .map_or(self.meter.bytes, |(_, bytes)| bytes);
        let patience = self.settings.patience_for(bytes);
        let impatient = self.gate.catching_up_since.map(|since| since + patience);
        let bounded = self.gate.ahead.map(|_| self.gate.bounded_at + EVERY);
        calm.into_iter().chain(impatient).chain(bounded)
    }
}
