//! Records that somebody is yet to read.

use std::time::Duration;

use shardwright_topology::{Lsn, Timestamp};

/// Until when a primary keeps the records after a place, as for a member that lags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    after: Lsn,
    until: Timestamp,
}

impl Hold {
    pub(super) fn new(now: Timestamp, after: Lsn, lasting: Duration) -> Self {
        let until = now + lasting;
        Self { after, until }
    }

    /// Returns the last record that is not needed, of a log that ends at `last`; `None` if that has been so for long enough, or nobody may lag so far.
    pub(super) fn held(&self, now: Timestamp, last: u64, lag_max: u64) -> Option<u64> {
        let lag = last.saturating_sub(self.after.0);
        (now < self.until && lag <= lag_max).then_some(self.after.0)
    }
}
