//! The one place of these tests that reads clocks and lets time pass.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use super::history::Moment;

/// How long a condition may take on a machine that does a lot else. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Now, on the clock that the audit logs use.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = Moment::try_from(time.tv_sec).expect("the clock is not before its start");
    let nanoseconds = Moment::try_from(time.tv_nsec).expect("nanoseconds are positive");
    seconds * 1_000_000_000 + nanoseconds
}

/// Waits until `condition` gives something, and fails the test with `what` if it never does.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = start();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain until {what}"
        );
        pause(POLL);
    }
}

/// Now, for measuring on this process's own clock.
#[expect(
    clippy::disallowed_methods,
    reason = "processes run in real time, and so do their tests"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// Lets time pass between two looks at a condition.
#[expect(
    clippy::disallowed_methods,
    reason = "another process cannot signal when its state changes"
)]
pub(crate) fn pause(duration: Duration) {
    thread::sleep(duration);
}
