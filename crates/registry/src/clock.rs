//! The clock of drivers.

use std::time::Instant;

use shardwright_topology::Timestamp;

/// A monotonic clock that begins at [`Timestamp::default`] when it is started. Drivers read it and hand the time to machines, which read none.
///
/// ```
/// use shardwright_registry::Clock;
///
/// let clock = Clock::start();
/// let (sooner, later) = (clock.now(), clock.now());
/// assert!(sooner <= later);
/// ```
///
/// A copy goes on with the original. Times of two clocks have nothing to do with each other.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

/// Waits for one millisecond, in a thread that may: for what nobody else says when it is over.
#[cfg(feature = "sqlite")]
#[expect(
    clippy::disallowed_methods,
    reason = "other processes do not say when they are ready with a file"
)]
pub(crate) fn wait_for_a_moment() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}

impl Clock {
    /// Starts a clock.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "drivers measure time here and hand it to the machines"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns how long ago it was started.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.elapsed())
    }
}
