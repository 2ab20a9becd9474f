//! How much a statement has fetched so far, and how far it may go.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use shardwright_store::Batch;

use crate::{database::Limits, error::Error};

/// Counts what comes from the places for one statement.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    started: Instant,
    rows: Cell<u64>,
    bytes: Cell<u64>,
}

impl Meter {
    #[expect(clippy::disallowed_methods, reason = "the limit on time needs a clock")]
    pub(crate) fn start(limits: Limits) -> Self {
        Self {
            limits,
            started: Instant::now(),
            rows: Cell::new(0),
            bytes: Cell::new(0),
        }
    }

    /// Counts a batch.
    pub(crate) fn count(&self, batch: &Batch) -> Result<(), Error> {
        let add = |cell: &Cell<u64>, more: usize| {
            let more = u64::try_from(more).unwrap_or(u64::MAX);
            cell.set(cell.get().saturating_add(more));
        };
        add(&self.rows, batch.len());
        add(&self.bytes, batch.payload_bytes());
        self.check()
    }

    /// Says whether a limit is passed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let reached = |limit: String| Err(Error::LimitReached { limit });
        if self.rows.get() > self.limits.rows {
            return reached(format!("{} rows fetched", self.limits.rows));
        }
        if self.bytes.get() > self.limits.bytes {
            return reached(format!("{} bytes fetched", self.limits.bytes));
        }
        if self.started.elapsed() > self.limits.time {
            return Err(Error::OutOfTime {
                limit: self.limits.time,
            });
        }
        Ok(())
    }

    /// Tells, on any thread, whether the time is over.
    pub(crate) fn alarm(&self) -> impl Fn() -> bool + Send + 'static {
        let (started, time) = (self.started, self.limits.time);
        move || started.elapsed() > time
    }

    /// How long the statement may take.
    pub(crate) fn time(&self) -> Duration {
        self.limits.time
    }
}
