//! When a workflow has to be looked at although nothing happens.

use shardwright_topology::{Phase, Timestamp};

use super::{Workflow, errand::State, journal::Writing};

impl Workflow {
    /// Returns the next moment after now at which something may be due.
    pub(super) fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_over() {
            return None;
        }
        let writing = match &self.writing {
            Writing::Nothing => None,
            Writing::Record { until, .. }
            | Writing::Reading { until }
            | Writing::Resting { until } => Some(*until),
        };
        let calls = self.calls.values().map(|call| call.until);
        let errands = self
            .errands
            .iter()
            .filter(|each| each.state == State::Waiting);
        let retry = errands.map(|_| self.retry_at).take(1);
        let times = writing.into_iter().chain(calls).chain(retry);
        times.chain(self.phase_wake()).filter(|at| *at > now).min()
    }

    fn phase_wake(&self) -> Vec<Timestamp> {
        let poll = self.settings.poll;
        let idle = || self.lanes.iter().filter(|lane| !lane.busy);
        match self.phase() {
            Phase::Copying => idle()
                .map(|lane| lane.retry_at)
                .chain([self.copy_at])
                .collect(),
            Phase::CatchingUp | Phase::Verified | Phase::Sealing => {
                let mut times: Vec<Timestamp> = self.gate_wake().collect();
                times.extend(idle().map(|lane| lane.retry_at));
                times.extend(idle().filter_map(|lane| lane.poll_at(poll)));
                if self.phase() == Phase::Sealing {
                    times.push(self.entered + self.settings.seal_max);
                }
                times
            }
            Phase::CleaningUp => vec![self.entered + self.settings.grace],
            _ => Vec::new(),
        }
    }
}
