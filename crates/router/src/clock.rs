//! The one place of this crate that reads the clock.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

/// A moment by which a call must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Returns the moment so long from now.
    pub(crate) fn after(time: Duration) -> Self {
        let now = Instant::now();
        // A century away is as good as never, and does not overflow.
        const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        Self(now + time.min(NEVER))
    }

    /// Returns how long there is left.
    pub(crate) fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns whether the moment has come.
    pub(crate) fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// Returns the earlier of this moment and the one so long from now.
    pub(crate) fn within(self, time: Duration) -> Self {
        self.min(Self::after(time))
    }

    /// Runs a future up to this moment; `None` if it was dropped unfinished.
    pub(crate) async fn limit<T>(self, future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.0, future).await.ok()
    }
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Returns a number that no other caller gets, so that those that failed together do not return together.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}
