//! A hand-over: another process is to be the primary next, and the one that is makes way.

use std::time::Duration;

use shardwright_topology::{Epoch, Timestamp};

/// How a primary makes way for the next one. If that one never comes, it goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandOver {
    /// The epoch that the other process is to begin.
    pub(super) epoch: Epoch,
    /// From when on it makes way.
    from: Timestamp,
    /// Whether that process has asked.
    pub(super) is_asked: bool,
}

/// The part of the patience for which a primary goes on after the registry has named another one, which asks for itself soon.
const UNASKED: u32 = 4;

impl HandOver {
    /// The registry names another process. Should that be unable to ask, its fences are to get through at others.
    pub(super) fn named(now: Timestamp, epoch: Epoch, patience: Duration) -> Self {
        let from = now + patience / UNASKED;
        Self {
            epoch,
            from,
            is_asked: false,
        }
    }

    /// The other process has asked.
    pub(super) fn asked(now: Timestamp, epoch: Epoch) -> Self {
        Self {
            epoch,
            from: now,
            is_asked: true,
        }
    }

    fn lasts(&self, now: Timestamp) -> Option<Duration> {
        (now >= self.from).then(|| now.since(self.from))
    }

    /// Returns whether records are refused, so that those taken before reach their level first.
    pub(super) fn refuses_records(&self, now: Timestamp, patience: Duration) -> bool {
        self.lasts(now).is_some_and(|lasts| lasts < patience * 2)
    }

    /// Returns whether it is time to give way: those who wait have been answered, or have had their time.
    pub(super) fn is_due(&self, now: Timestamp, patience: Duration, is_waited_for: bool) -> bool {
        let lasts = self.lasts(now);
        lasts.is_some_and(|lasts| !is_waited_for || lasts >= patience)
    }
}
