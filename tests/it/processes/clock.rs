//! The one place of these tests that reads a clock and lets time pass.

use std::{thread, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// A moment on the machine's monotonic clock, which all processes share, in nanoseconds.
pub(crate) type Moment = u64;

/// Now.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = Moment::try_from(time.tv_sec).expect("the clock is not before its start");
    let nanoseconds = Moment::try_from(time.tv_nsec).expect("nanoseconds are positive");
    seconds * 1_000_000_000 + nanoseconds
}

/// Lets time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "how late a thread runs shows when it wanted to sleep"
)]
pub(crate) fn pause(duration: Duration) {
    thread::sleep(duration);
}
