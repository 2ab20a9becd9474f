//! Waiting for what other processes do: the one place of this crate that reads the clock and lets time pass.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a condition may take on a machine that does a lot else. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Looks at `condition` again and again until it gives something, and returns that.
///
/// # Panics
/// With `what`, if it gives nothing within a minute.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "other processes run in real time, and cannot signal when their state changes"
)]
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began_at = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(
            began_at.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain until {what}"
        );
        thread::sleep(POLL_EVERY);
    }
}
