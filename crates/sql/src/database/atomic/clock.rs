//! The clock of commits.
#![expect(
    clippy::disallowed_methods,
    reason = "the driver of the commit machines reads the clock for them"
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shardwright_topology::Timestamp;

/// A clock that starts when it is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Timestamp {
        Timestamp(self.0.elapsed())
    }
}

/// How old a commit is that begins now, in microseconds since 1970: the age says who goes first, and nothing else.
pub(super) fn age() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}
