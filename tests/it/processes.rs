//! Processes that tests start, hurt and cut off from one another.

pub(crate) mod clock;
pub(crate) mod process;
pub(crate) mod proxy;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test has a cluster: they would slow one another.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has no part in the next.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
