//! Progress: how much was copied, how fast, and how long it will take.

use std::time::Duration;

use shardwright_topology::{Phase, Timestamp};

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Its phase.
    pub phase: Phase,
    /// Whether it waits because somebody asked it to.
    pub paused: bool,
    /// Rows that were copied by this coordinator; all of them, once none is left to be copied.
    pub rows: u64,
    /// Bytes that were copied by this coordinator; all of them, once none is left to be copied.
    pub bytes: u64,
    /// Changes that were applied by this coordinator.
    pub changes: u64,
    /// How many rows the sources have, as far as known.
    pub rows_total: Option<u64>,
    /// How many bytes the sources have, as far as known.
    pub bytes_total: Option<u64>,
    /// Bytes in a second, over the time in which rows were copied.
    pub bytes_per_second: f64,
    /// How many changes the copy lacks at most.
    pub lag: Option<u64>,
    /// How long the copying of rows will take from here; `None` if that is not known.
    pub remaining: Option<Duration>,
}

impl Progress {
    /// Returns the part of the rows that is copied, from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a part that is shown")]
    pub fn fraction(&self) -> f64 {
        match (self.phase, self.bytes_total) {
            (Phase::Planned | Phase::Created, _) => 0.0,
            (Phase::Copying, Some(total)) if total > 0 => {
                (self.bytes as f64 / total as f64).min(1.0)
            }
            (Phase::Copying, _) => 0.0,
            _ => 1.0,
        }
    }
}

/// Whether the targets have all rows of the sources, whoever copied them: another coordinator, or the nodes by themselves.
pub(super) fn is_copied(phase: Phase) -> bool {
    match phase {
        Phase::Planned | Phase::Created | Phase::Copying | Phase::Aborting | Phase::Aborted => {
            false
        }
        Phase::CatchingUp
        | Phase::Verified
        | Phase::Sealing
        | Phase::Sealed
        | Phase::Committed
        | Phase::CleaningUp
        | Phase::Done => true,
    }
}

/// Counts what is copied.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) changes: u64,
    pub(super) total: Option<(u64, u64)>,
    began: Option<Timestamp>,
    last: Option<Timestamp>,
    /// When changes began to be applied.
    applying: Option<Timestamp>,
    applied: Option<Timestamp>,
}

impl Meter {
    pub(super) fn copied(&mut self, now: Timestamp, rows: usize, bytes: usize) {
        self.began.get_or_insert(now);
        self.last = Some(now);
        self.rows += rows as u64;
        self.bytes += bytes as u64;
    }

    pub(super) fn applied(&mut self, now: Timestamp, changes: usize) {
        self.applying.get_or_insert(now);
        self.applied = Some(now);
        self.changes += changes as u64;
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(super) fn bytes_per_second(&self) -> f64 {
        rate(self.bytes as f64, self.began, self.last)
    }

    /// Returns how long so many changes take, going by those before; nothing if there were none.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(super) fn time_for(&self, changes: u64) -> Duration {
        let rate = rate(self.changes as f64, self.applying, self.applied);
        if changes == 0 || rate <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(changes as f64 / rate).unwrap_or(Duration::MAX)
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn remaining(&self) -> Option<Duration> {
        let (_, total) = self.total?;
        let (left, rate) = (total.saturating_sub(self.bytes), self.bytes_per_second());
        if left == 0 {
            return Some(Duration::ZERO);
        }
        (rate > 0.0).then(|| Duration::try_from_secs_f64(left as f64 / rate).ok())?
    }
}

fn rate(count: f64, began: Option<Timestamp>, last: Option<Timestamp>) -> f64 {
    let (Some(began), Some(last)) = (began, last) else {
        return 0.0;
    };
    let seconds = last.since(began).as_secs_f64();
    if seconds > 0.0 { count / seconds } else { 0.0 }
}
