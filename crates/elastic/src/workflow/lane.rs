//! Lanes: from one source to one target, first pages, then changes.

use std::time::Duration;

use shardwright_topology::{Lsn, Phase, ShardId, Timestamp};

use super::{Action, Purpose, Workflow};
use crate::{DigestAt, Import, Lane, Reply, Request};

/// What takes less is soon over without a rest.
const LONG: Duration = Duration::from_millis(2);

/// The longest rest.
const RESTS: Duration = Duration::from_secs(1);

/// One lane, as far as this coordinator knows it.
#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) lane: Lane,
    import: Option<Import>,
    /// The last position of the source, as far as known in this phase.
    head: Option<Lsn>,
    pub(super) busy: bool,
    pub(super) retry_at: Timestamp,
    /// When changes were asked for last.
    polled_at: Option<Timestamp>,
    /// Since when changes that were there are on their way into the target.
    applies_since: Option<Timestamp>,
    /// What the source was at a position: the target has to be the same there.
    goal: Option<DigestAt>,
    pub(super) verified: bool,
    /// How many rows there were when it was verified.
    rows: Option<u64>,
    /// The position of the source at which it was verified by this coordinator.
    verified_at: Option<Lsn>,
    /// Whether the target was found to differ from the source at the same position.
    pub(super) differs: bool,
    /// The position after which the source had no changes any more.
    trimmed: Option<Lsn>,
    /// What the target is to be given next.
    outbox: Option<Request>,
}

impl LaneState {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane,
            import: None,
            head: None,
            busy: false,
            retry_at: Timestamp::default(),
            polled_at: None,
            applies_since: None,
            goal: None,
            verified: false,
            rows: None,
            verified_at: None,
            differs: false,
            trimmed: None,
            outbox: None,
        }
    }

    /// Begins with a phase. `small` is how many rows are compared again under the seal.
    pub(super) fn enter(&mut self, phase: Phase, small: u64) {
        self.forget_calls();
        self.polled_at = None;
        // A seal waits for no rest.
        self.retry_at = Timestamp::default();
        match phase {
            Phase::Verified => self.verified = true,
            Phase::Sealing => {
                // Who did not compare it does not know how much there is.
                self.verified = self.rows.is_some_and(|rows| rows > small);
            }
            _ => {}
        }
    }

    /// Whether it was compared at that position, from which on nothing was written.
    pub(super) fn is_verified_at(&self, last: Option<Lsn>) -> bool {
        last.is_some() && self.verified_at == last
    }

    /// Forgets what was asked: an answer that comes is not recognised.
    pub(super) fn forget_calls(&mut self) {
        self.busy = false;
        self.applies_since = None;
        self.outbox = None;
        self.goal = None;
    }

    /// Rests after changes have been applied, for as long as that took: whoever catches up does so beside clients, which are in more of a hurry.
    fn rest(&mut self, now: Timestamp) {
        let took = self.applies_since.take().map(|since| now.since(since));
        if let Some(took) = took.filter(|took| *took >= LONG) {
            self.retry_at = self.retry_at.max(now + took.min(RESTS));
        }
    }

    /// Has the target asked again what it has, because the source keeps no changes after that position; returns whether it may have more. Another
    /// coordinator may have applied them, and told the source. The second time at one position it has not.
    pub(super) fn was_behind(&mut self, after: Lsn) -> bool {
        if self.trimmed.replace(after) == Some(after) {
            return false;
        }
        self.import = None;
        self.goal = None;
        true
    }

    pub(super) fn is_copied(&self) -> bool {
        self.import.as_ref().is_some_and(|import| import.complete)
    }

    pub(super) fn applied(&self) -> Option<Lsn> {
        self.import.as_ref().map(|import| import.applied)
    }

    /// Returns how many changes of the source the target lacks, as far as known.
    pub(super) fn lag(&self) -> Option<u64> {
        let (head, applied) = (self.head?, self.applied()?);
        Some(head.0.saturating_sub(applied.0))
    }

    pub(super) fn is_polled(&self) -> bool {
        self.polled_at.is_some()
    }

    pub(super) fn poll_at(&self, poll: Duration) -> Option<Timestamp> {
        self.polled_at.map(|at| at + poll)
    }
}

impl Workflow {
    pub(super) fn step_lanes(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let phase = self.phase();
        if !matches!(
            phase,
            Phase::Copying | Phase::CatchingUp | Phase::Verified | Phase::Sealing
        ) {
            return;
        }
        for place in 0..self.lanes.len() {
            if self.lanes[place].differs {
                self.cancel.get_or_insert_with(|| {
                    "a target differs from its source at the same position".to_owned()
                });
                return;
            }
            if self.lanes[place].busy || now < self.lanes[place].retry_at {
                continue;
            }
            if let Some((to_source, request)) = self.next_request(now, place) {
                let Lane { source, target, .. } = self.lanes[place].lane;
                let part = if to_source {
                    &self.record.work.sources[source]
                } else {
                    &self.record.work.targets[target]
                };
                let node = part.node.clone();
                self.lanes[place].busy = true;
                self.call(now, Purpose::Lane(place), (node, request), actions);
            }
        }
    }

    /// Returns what a lane asks next, and whether of the source.
    fn next_request(&mut self, now: Timestamp, place: usize) -> Option<(bool, Request)> {
        let state = &mut self.lanes[place];
        if let Some(request) = state.outbox.take() {
            return Some((false, request));
        }
        let Some(import) = state.import.clone() else {
            let Lane { source, target, .. } = state.lane;
            let from = self.follows[source]?;
            let request = Request::Imported {
                target: self.record.work.targets[target].shard.clone(),
                source: self.record.work.sources[source].shard.clone(),
                from,
            };
            return Some((false, request));
        };
        // Somebody else applied more than was to be compared.
        state.goal.take_if(|goal| goal.position < import.applied);
        if import.complete {
            let is_copying = self.phase() == Phase::Copying;
            return (!is_copying).then(|| self.change_request(now, place, &import))?;
        }
        let may = self.phase() == Phase::Copying && now >= self.copy_at;
        may.then(|| {
            let Lane { source, extent, .. } = &self.lanes[place].lane;
            let request = Request::Scan {
                shard: self.record.work.sources[*source].shard.clone(),
                extent: extent.clone(),
                after: import.cursor,
                batch: self.settings.batch,
            };
            (true, request)
        })
    }

    /// Returns what a lane asks once all pages are there.
    fn change_request(
        &mut self,
        now: Timestamp,
        place: usize,
        import: &Import,
    ) -> Option<(bool, Request)> {
        let Lane {
            source,
            target,
            extent,
        } = self.lanes[place].lane.clone();
        let shard = self.record.work.sources[source].shard.clone();
        let state = &self.lanes[place];
        let goal = state.goal.filter(|_| !state.verified);
        if goal.is_some_and(|goal| goal.position == import.applied) {
            let request = Request::DigestOfImport {
                target: self.record.work.targets[target].shard.clone(),
                source: shard,
                extent,
            };
            return Some((false, request));
        }
        if goal.is_none() && self.may_compare(place, import) {
            return Some((true, Request::Digest { shard, extent }));
        }
        let up_to = self.pull(now, place, goal.map(|goal| goal.position))?;
        let request = Request::Changes {
            shard,
            extent,
            after: import.applied,
            up_to,
            batch: self.settings.batch,
        };
        Some((true, request))
    }

    /// Whether it is time to ask what the source is.
    fn may_compare(&self, place: usize, import: &Import) -> bool {
        let state = &self.lanes[place];
        if state.verified || !import.is_consistent() {
            return false;
        }
        match self.phase() {
            Phase::CatchingUp => self.is_close(state),
            Phase::Sealing => {
                let sealed = self.sealed[state.lane.source];
                let is_drained = sealed.is_some_and(|last| last <= import.applied);
                is_drained && !state.is_verified_at(sealed)
            }
            _ => false,
        }
    }

    /// Returns up to where changes are to be asked for, if it is time to.
    fn pull(&mut self, now: Timestamp, place: usize, goal: Option<Lsn>) -> Option<Option<Lsn>> {
        let poll = self.settings.poll;
        let state = &mut self.lanes[place];
        let applied = state.applied()?;
        let sealed = self.sealed[state.lane.source];
        // The log may have gone on without a write of anybody.
        let is_wanted = |last| applied < last || goal.is_some_and(|goal| applied < goal);
        if sealed.is_some_and(|last| !is_wanted(last)) {
            return None;
        }
        let knows_more = state.head.is_some_and(|head| head > applied)
            || sealed.is_some()
            || goal.is_some_and(|goal| goal > applied);
        let due = state.poll_at(poll).is_none_or(|at| at <= now);
        (knows_more || due).then(|| {
            state.polled_at = Some(now);
            goal.or(sealed)
        })
    }

    /// Keeps a request to the target until the lane's next step.
    fn forward(&mut self, place: usize, request: impl FnOnce(ShardId, ShardId) -> Request) {
        let Lane { source, target, .. } = self.lanes[place].lane;
        let source = self.record.work.sources[source].shard.clone();
        let target = self.record.work.targets[target].shard.clone();
        self.lanes[place].outbox = Some(request(source, target));
    }

    /// Waits as long as so many bytes may take.
    fn hold_back_copy(&mut self, now: Timestamp, bytes: usize) {
        if let Some(rate) = self.settings.bytes_per_second {
            let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
            let pause = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
            self.copy_at = self.copy_at.max(now) + pause;
        }
    }

    pub(super) fn lane_replied(&mut self, now: Timestamp, place: usize, reply: Reply) {
        self.lanes[place].busy = false;
        match reply {
            Reply::Page(page) => {
                let bytes = page.rows.iter().map(|row| row.key.len() + row.value.len());
                let bytes = bytes.sum::<usize>();
                self.meter.copied(now, page.rows.len(), bytes);
                self.hold_back_copy(now, bytes);
                self.forward(place, |source, target| Request::Import {
                    target,
                    source,
                    page,
                });
            }
            Reply::Changes(changes) => {
                self.lanes[place].head = Some(changes.head);
                if changes.through > changes.after {
                    self.lanes[place].applies_since = self.lanes[place].polled_at;
                    self.meter.applied(now, changes.changes.len());
                    self.forward(place, |source, target| Request::Apply {
                        target,
                        source,
                        changes,
                    });
                }
            }
            Reply::Import(import) => {
                let may_rest = self.phase() == Phase::CatchingUp && !self.holds_writers_back();
                let lane = &mut self.lanes[place];
                lane.import = Some(import);
                if may_rest {
                    lane.rest(now);
                }
            }
            Reply::Digest(found) => {
                let state = &mut self.lanes[place];
                match state.goal {
                    // The target's, at the position of the source's.
                    Some(goal) if goal.position == found.position => {
                        state.verified = goal.digest == found.digest;
                        state.differs = !state.verified;
                        state.rows = Some(goal.digest.rows);
                        let counts = state.verified && goal.counts_all;
                        state.verified_at = counts.then_some(goal.position);
                        state.goal = None;
                    }
                    // Somebody else applied more meanwhile.
                    Some(_) if state.applied() < Some(found.position) => {
                        state.goal = None;
                        state.import = None;
                    }
                    _ => state.goal = Some(found),
                }
            }
            Reply::Done | Reply::Position(_) => {}
        }
    }
}
