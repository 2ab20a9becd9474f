//! The watcher's side of a lease: when it may be taken.

use shardwright_topology::Timestamp;

use super::{LeaseRecord, LeaseTiming};
use crate::{Revision, Stored};

/// What one process has seen of one lease.
#[derive(Debug, Clone)]
pub struct LeaseWatcher {
    timing: LeaseTiming,
    seen: Option<Seen>,
}

#[derive(Debug, Clone)]
struct Seen {
    lease: Option<Stored<LeaseRecord>>,
    /// When this process first saw it so.
    since: Timestamp,
}

/// The right to try to take a lease, which only a watcher gives.
#[derive(Debug, Clone)]
pub struct Vacancy {
    seen: Option<Stored<LeaseRecord>>,
}

impl Vacancy {
    /// Returns the lease as it was seen: what has to be replaced. `None` if it never existed.
    #[must_use]
    pub fn seen(&self) -> Option<&Stored<LeaseRecord>> {
        self.seen.as_ref()
    }

    /// Returns the last term, 0 before the first.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.seen.as_ref().map_or(0, |seen| seen.value.term)
    }
}

impl LeaseWatcher {
    /// Returns the watcher of a lease of which nothing was seen yet.
    #[must_use]
    pub fn new(timing: LeaseTiming) -> Self {
        Self { timing, seen: None }
    }

    /// Takes in what the lease holds. `now` is read after it was.
    ///
    /// What a lagging read shows again, after something newer, is passed over.
    pub fn observe(&mut self, now: Timestamp, lease: Option<Stored<LeaseRecord>>) {
        let revision = |lease: &Option<Stored<LeaseRecord>>| {
            lease.as_ref().map_or(Revision(0), |lease| lease.revision)
        };
        let newer = self
            .seen
            .as_ref()
            .is_none_or(|seen| revision(&seen.lease) < revision(&lease));
        if newer {
            self.seen = Some(Seen { lease, since: now });
        }
    }

    /// Takes in that a change which this process wrote for the holder answers a sign of life that it had got at that moment already, however
    /// long the write took. What was seen after it is left alone.
    pub fn date_back(&mut self, revision: Revision, at: Timestamp) {
        let seen = self.seen.as_mut().filter(|seen| {
            let lease = seen.lease.as_ref();
            lease.is_some_and(|lease| lease.revision == revision)
        });
        if let Some(seen) = seen {
            seen.since = at.min(seen.since);
        }
    }

    /// Returns the right to take the lease, if it has no holder, or showed no sign of life for the time-out.
    #[must_use]
    pub fn vacancy(&self, now: Timestamp) -> Option<Vacancy> {
        let seen = self.seen.as_ref()?;
        let held = seen
            .lease
            .as_ref()
            .is_some_and(|lease| lease.value.holder.is_some());
        let silent = self.timing.timeout() <= now.since(seen.since);
        (!held || silent).then(|| Vacancy {
            seen: seen.lease.clone(),
        })
    }

    /// Returns the lease as it was last seen.
    #[must_use]
    pub fn lease(&self) -> Option<&LeaseRecord> {
        self.seen.as_ref()?.lease.as_ref().map(|lease| &lease.value)
    }

    /// Returns the moment at which the lease becomes vacant if nothing more is seen of it.
    #[must_use]
    pub fn vacant_at(&self) -> Option<Timestamp> {
        self.seen
            .as_ref()
            .map(|seen| seen.since + self.timing.timeout())
    }
}
