//! When time passes for a copy: often while something goes on, and no more often than the machine needs it otherwise. A node may have
//! thousands of copies that nobody uses.

use std::{future::pending, pin::Pin, time::Duration};

use shardwright_topology::Timestamp;
use tokio::time::{Sleep, sleep};

use super::driver::{Aside, Driver};

/// Copies that nobody hurries wake up together, so that what they say to a node goes out at once.
const GRID: Duration = Duration::from_millis(5);

/// One moment that is waited for.
#[derive(Debug)]
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    at: Option<Timestamp>,
}

impl Timer {
    /// Returns a timer that ends at once.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            sleep: Box::pin(sleep(Duration::ZERO)),
            at: Some(now),
        }
    }

    /// Lets it end at that moment, if not earlier.
    pub(super) fn arm(&mut self, now: Timestamp, at: Timestamp) {
        if self.at.is_none_or(|set| at < set) {
            self.sleep.set(sleep(at.since(now)));
            self.at = Some(at);
        }
    }

    /// Waits for it; for ever, if it is not armed.
    pub(super) async fn ended(&mut self) {
        if self.at.is_none() {
            pending::<()>().await;
        }
        self.sleep.as_mut().await;
        self.at = None;
    }
}

impl Driver<'_> {
    /// Returns when time is to pass next, though nothing happens; `None` if it need not.
    pub(super) fn next_tick(&self, now: Timestamp) -> Option<Timestamp> {
        let soon = now + self.options.tick;
        if self.is_busy() {
            return Some(soon);
        }
        let unsaved = (self.saved < self.seen).then_some(self.save_after);
        let due = self
            .machine
            .next_tick(now)
            .into_iter()
            .chain(unsaved)
            .min()?;
        Some(if due <= soon { soon } else { on_grid(due) })
    }

    /// Whether somebody waits, or the threads or tasks of this copy have something to do.
    fn is_busy(&self) -> bool {
        let waiting = &self.waiting;
        self.is_unshown
            || self.seen < self.handed
            || self.activating.is_some()
            || !matches!(self.aside, Aside::None)
            || !waiting.calls.is_empty()
            || !waiting.appends.is_empty()
            || !waiting.reads.is_empty()
            || !waiting.unapplied.is_empty()
    }
}

/// Returns the next moment, no earlier than that, at which others wake up too.
fn on_grid(at: Timestamp) -> Timestamp {
    let grid = GRID.as_nanos();
    let late = at.0.as_nanos() % grid;
    let wait = if late == 0 { 0 } else { grid - late };
    at + Duration::from_nanos(u64::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_wakes_up_too_early() {
        let at = |micros| Timestamp(Duration::from_micros(micros));
        for (due, wakes) in [(0, 0), (1, 5_000), (5_000, 5_000), (5_001, 10_000)] {
            assert_eq!(on_grid(at(due)), at(wakes), "{due}");
        }
    }
}
