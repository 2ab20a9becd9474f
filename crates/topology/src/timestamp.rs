//! Timestamps: what a clock that only goes forward shows.

use std::{fmt, ops::Add, time::Duration};

/// A moment on the monotonic clock of one process: the time since some fixed moment of that process.
///
/// Those of two processes are never compared. Only a driver reads a clock; everything else takes the moment as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub Duration);

impl Timestamp {
    /// Returns the time that has passed since `earlier`, none if it is later than this.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}
