//! The one place of this crate that reads the clock.

use std::time::Instant;

use shardwright_topology::Timestamp;

/// A monotonic clock that begins with its driver.
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
