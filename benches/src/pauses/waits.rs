//! The longest waits, by range of keys.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use shardwright_topology::{Position, Timestamp};

/// How many ranges of positions are told apart.
pub(super) const RANGES: usize = 8;

/// What clients have waited for at most, as they note it.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Requests that were due before that do not count.
    since: AtomicU64,
    /// In microseconds: of writes and of reads.
    longest: [[AtomicU64; 2]; RANGES],
    /// The longest of all, and when that request was due.
    worst: Mutex<(u64, Timestamp)>,
    again: AtomicU64,
}

/// What they have waited for while something was done.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// How long that took.
    pub(super) took: Duration,
    /// In milliseconds, by range: of writes and of reads.
    pub(super) waits: [[f64; 2]; RANGES],
    /// When the request was due that was waited for longest.
    pub(super) worst: Timestamp,
    /// How many requests were sent again.
    pub(super) again: u64,
}

impl Waits {
    /// Begins anew.
    pub(super) fn begin(&self, now: Timestamp) {
        self.since.store(micros(now), Ordering::SeqCst);
        for longest in self.longest.iter().flatten() {
            longest.store(0, Ordering::SeqCst);
        }
        *self.worst() = (0, now);
        self.again.store(0, Ordering::SeqCst);
    }

    /// Notes that a request was answered.
    pub(super) fn note(&self, at: Position, of: usize, due: Timestamp, now: Timestamp) {
        if self.since.load(Ordering::SeqCst) <= micros(due) {
            let wait = micros(now) - micros(due);
            self.longest[range_of(at)][of].fetch_max(wait, Ordering::SeqCst);
            let mut worst = self.worst();
            *worst = (*worst).max((wait, due));
        }
    }

    fn worst(&self) -> MutexGuard<'_, (u64, Timestamp)> {
        self.worst.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request is sent again.
    pub(super) fn note_again(&self) {
        self.again.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns what was noted.
    #[expect(clippy::cast_precision_loss, reason = "it is shown")]
    pub(super) fn window(&self, took: Duration) -> Window {
        let milliseconds = |wait: &AtomicU64| wait.load(Ordering::SeqCst) as f64 / 1e3;
        Window {
            took,
            waits: self
                .longest
                .each_ref()
                .map(|both| both.each_ref().map(milliseconds)),
            worst: self.worst().1,
            again: self.again.load(Ordering::SeqCst),
        }
    }
}

impl Window {
    /// Returns the longest wait, in milliseconds.
    pub(super) fn longest(&self) -> f64 {
        let [writes, reads] = self.longest_of_each();
        writes.max(reads)
    }

    /// Returns the longest one of writes and of reads.
    pub(super) fn longest_of_each(&self) -> [f64; 2] {
        [0, 1].map(|of| self.waits.iter().map(|both| both[of]).fold(0.0, f64::max))
    }
}

/// Returns a time in whole microseconds.
pub(super) fn micros(at: Timestamp) -> u64 {
    u64::try_from(at.0.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the range of a position.
fn range_of(Position(at): Position) -> usize {
    (at >> (64 - RANGES.ilog2())) as usize
}

/// Returns where a range begins.
pub(super) fn name_of(range: usize) -> String {
    format!("{:x}000...", range << (4 - RANGES.ilog2()))
}
