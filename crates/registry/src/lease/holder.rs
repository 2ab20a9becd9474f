//! The holder's side of a lease: until when it may act.

use std::time::Duration;

use shardwright_topology::Timestamp;

use super::LeaseRecord;
use crate::Stored;

/// A lease that this process took, and until when it may act on it.
#[derive(Debug)]
#[must_use = "whoever takes a lease renews it, or gives it back"]
pub struct Held {
    stored: Stored<LeaseRecord>,
    hold: Duration,
    /// Read before the last successful change was sent.
    sent_at: Timestamp,
}

impl Held {
    pub(super) fn new(stored: Stored<LeaseRecord>, hold: Duration, sent_at: Timestamp) -> Self {
        Self {
            stored,
            hold,
            sent_at,
        }
    }

    pub(super) fn renewed(&mut self, stored: Stored<LeaseRecord>, sent_at: Timestamp) {
        self.stored = stored;
        // Two renewals that overtook each other must not shorten the time.
        self.sent_at = self.sent_at.max(sent_at);
    }

    pub(super) fn stored(&self) -> &Stored<LeaseRecord> {
        &self.stored
    }

    pub(super) fn into_stored(self) -> Stored<LeaseRecord> {
        self.stored
    }

    /// Returns the term, which goes with every command of the holder: no two holders have the same.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.stored.value.term
    }

    /// Returns the moment from which on the holder must not act.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.sent_at + self.hold
    }

    /// Returns whether the holder may act.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> bool {
        now < self.ends_at()
    }
}
