//! The audit log of a worker: what it could serve, and when, on a clock that all processes of the machine share.
//!
//! A line of JSON per event, in nanoseconds of `CLOCK_MONOTONIC`:
//!
//! ```text
//! {"at":71000,"event":"extend","until":970000}
//! {"at":72000,"event":"serve","shard":"p1","epoch":3,"role":"primary"}
//! {"at":95000,"event":"delete","shard":"p1","epoch":3}
//! ```
//!
//! `extend` and `serve` are written before they hold, and don't hold where that fails; `delete` is written after it has happened. So
//! at every moment the worker serves at most what the log says: what was `serve`d and not `delete`d, until the last `extend` before.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// A moment of `CLOCK_MONOTONIC`, in nanoseconds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        let part =
            |part: i64| u64::try_from(part).expect("the clock counts from the machine's start");
        Self(part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec))
    }

    /// So much later.
    pub(crate) fn after(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }
}

/// An open audit log.
#[derive(Debug)]
pub(crate) struct Audit {
    file: File,
}

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    at: Moment,
    #[serde(flatten)]
    event: Event<'a>,
}

/// What a line tells.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// The worker is about to serve a shard.
    Serve {
        shard: &'a str,
        epoch: u64,
        role: &'a str,
    },
    /// The worker may serve until then.
    Extend { until: Moment },
    /// The worker has ceased to serve a shard.
    Delete { shard: &'a str, epoch: u64 },
}

impl Audit {
    /// Opens the log at `path`, to append to it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file })
    }

    /// Appends an event of this moment. A line that fails may be there in part, as the last one.
    pub(crate) fn append(&self, event: Event<'_>) -> io::Result<()> {
        let line = Line {
            at: Moment::now(),
            event,
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        (&self.file).write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_with_its_moment() {
        let line = Line {
            at: Moment(7),
            event: Event::Serve {
                shard: "p1",
                epoch: 3,
                role: "primary",
            },
        };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"at":7,"event":"serve","shard":"p1","epoch":3,"role":"primary"}"#
        );
    }

    #[test]
    fn the_clock_does_not_stand_still_or_go_back() {
        let earlier = Moment::now();
        assert!(earlier <= Moment::now());
        assert!(earlier > Moment(0));
    }
}
