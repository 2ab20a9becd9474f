//! The one place of this crate that reads the clock.

use std::time::{Duration, SystemTime};

use shardwright_topology::Timestamp;
use tokio::time::Instant;

/// A monotonic clock that begins with its coordinator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Timestamp {
        Timestamp(self.0.elapsed())
    }

    /// Returns the moment as tokio's timers need it.
    pub(crate) fn instant(self, at: Timestamp) -> Instant {
        // A century away is as good as never, and does not overflow.
        const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        self.0 + at.0.min(NEVER)
    }
}

/// Returns the wall time since 1970, which keys begin with. A clock before that year counts as that year.
#[expect(
    clippy::disallowed_methods,
    reason = "keys sort by the time at which people say that they were made"
)]
pub(crate) fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}
