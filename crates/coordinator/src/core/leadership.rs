//! Whether this coordinator leads.

use std::time::Duration;

use shardwright_registry::{LeaseRecord, Revision};
use shardwright_topology::Timestamp;

/// The name of the leader's lease.
pub(super) const LEASE: &str = "coordinator";

/// The lease of the leader, held by this process.
#[derive(Debug, Clone)]
pub(super) struct Leadership {
    pub(super) term: u64,
    /// The write that made this coordinator the leader.
    pub(super) since: Revision,
    /// Before this moment nobody is taken for dead: who is alive gets the time to say so.
    pub(super) judges_from: Timestamp,
    /// Read before the last successful renewal was sent.
    pub(super) sent_at: Timestamp,
}

impl Leadership {
    /// Whether the lease holds, by this process's own clock.
    pub(super) fn holds_at(&self, now: Timestamp, hold: Duration) -> bool {
        now < self.sent_at + hold
    }
}

/// A write of the leader's lease that is under way.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) sent_at: Timestamp,
    pub(super) record: LeaseRecord,
}
