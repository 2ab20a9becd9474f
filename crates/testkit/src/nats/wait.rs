//! Waiting for another process: the one place of the runner that reads the clock.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

/// A server that is not ready by then never is.
const READY_MAX: Duration = Duration::from_secs(60);

const POLL_EVERY: Duration = Duration::from_millis(20);

/// Asks again and again until a condition holds.
///
/// # Panics
/// If it does not within a minute.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes have no virtual time"
)]
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began_at = Instant::now();
    // Nobody sends: receiving waits for the time between two questions.
    let (_sender, receiver) = mpsc::channel::<()>();
    while !holds() {
        assert!(
            began_at.elapsed() < READY_MAX,
            "{what}: not within {READY_MAX:?}"
        );
        let _elapsed = receiver.recv_timeout(POLL_EVERY);
    }
}
