//! The one place of this crate that reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shardwright_topology::Timestamp;

/// Returns the milliseconds since the beginning of 1970, as people read them. Nothing is decided by it.
#[expect(
    clippy::disallowed_methods,
    reason = "wall time for people, in events and statistics"
)]
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A monotonic clock that begins with the process, as far as this crate cares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "drivers measure time here and hand it to the machines"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.0.elapsed())
    }
}
