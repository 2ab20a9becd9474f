//! How late this machine runs a thread that only wants to wake up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::clock;

/// How long the thread wants to sleep.
const NAP: Duration = Duration::from_millis(5);

/// The longest delay since the watch began. Dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct Lag(Arc<AtomicU64>);

impl Lag {
    /// Watches from now on.
    pub(crate) fn watch() -> Self {
        let longest = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&longest);
        thread::spawn(move || {
            while let Some(longest) = watched.upgrade() {
                let start = clock::start();
                clock::pause(NAP);
                let late = start.elapsed().saturating_sub(NAP);
                let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
                longest.fetch_max(late, Ordering::Relaxed);
            }
        });
        Self(longest)
    }

    /// The longest delay so far.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
