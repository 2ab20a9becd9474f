//! A hand-over: another process is to be the primary next, and the one that is makes way.

use std::time::Duration;

use shardwright_topology::{Epoch, Timestamp};

/// How a primary makes way for the next one. If that one never comes, it goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandOver {
    /// The epoch that the other process is to begin.
    pub(super) epoch: Epoch,
    since: Timestamp,
}

impl HandOver {
    pub(super) fn new(now: Timestamp, epoch: Epoch) -> Self {
        Self { epoch, since: now }
    }

    /// Returns whether records are refused, so that those taken before reach their level first.
    pub(super) fn refuses_records(&self, now: Timestamp, patience: Duration) -> bool {
        now.since(self.since) < patience * 2
    }

    /// Returns whether those who wait have had their time.
    pub(super) fn is_impatient(&self, now: Timestamp, patience: Duration) -> bool {
        now.since(self.since) >= patience
    }
}
