//! Settings of operations: how fast, how careful and how long.

use std::time::Duration;

use crate::Batch;

/// How operations go about their work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How much is copied with one call. Default 1,000 rows or 1 MiB.
    pub batch: Batch,
    /// How many bytes an operation copies in a second; `None` is no bound. Default none. Changes are never held back.
    pub bytes_per_second: Option<u64>,
    /// How many operations run at once; others wait before they begin, and the oldest begins first. One that is paused does not count: it goes on at once
    /// when it is resumed, so there may be more for a while. Default 4.
    pub operations_max: usize,
    /// How many operations a node takes part in at once. Default 2.
    pub operations_per_node_max: usize,
    /// How many changes a copy may lack when its sources are sealed. Default 100.
    pub lag_max: u64,
    /// For how long it may not have lacked more before that. Default 1 s.
    pub calm: Duration,
    /// How long the last changes may take, as measured, or the seal waits. Default 500 ms.
    pub pause_max: Duration,
    /// How long the sources are sealed before the operation is aborted. Default 5 s.
    pub seal_max: Duration,
    /// How long a copy may try to catch up before writers are held back, whatever its size. Default 10 s.
    pub patience: Duration,
    /// How much longer, for each GiB of the sources. Default 60 s.
    pub patience_per_gib: Duration,
    /// How often writers are told how far they may be ahead, and a copy looks for changes. Default 50 ms.
    pub poll: Duration,
    /// How long a call may take before it is repeated, or given up if nothing has begun by it. Default 30 s.
    pub call_timeout: Duration,
    /// How long a store may read a whole shard, to count its rows or to find its median, before an operation begins. Longer than a call: nothing is
    /// kept of what it finds for whoever does not wait for it. Default 10 min.
    pub reading_timeout: Duration,
    /// How long to wait after a call has failed. Default 200 ms.
    pub retry: Duration,
    /// How many rows a copy may have to be compared a second time while the sources are sealed. Default 100,000. It is compared whatever it has if the
    /// coordinator that seals did not do so the first time, and not at all if its store knows that nothing was written since.
    pub verify_sealed_rows: u64,
    /// How long the sources are kept after the commit. Each coordinator counts from when it saw the commit. Default 1 h.
    pub grace: Duration,
    /// How long the record of an operation is kept after its end: longer than a coordinator can stand still. Default 7 days.
    pub retention: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch: Batch {
                rows: 1_000,
                bytes: 1 << 20,
            },
            bytes_per_second: None,
            operations_max: 4,
            operations_per_node_max: 2,
            lag_max: 100,
            calm: Duration::from_secs(1),
            pause_max: Duration::from_millis(500),
            seal_max: Duration::from_secs(5),
            patience: Duration::from_secs(10),
            patience_per_gib: Duration::from_secs(60),
            poll: Duration::from_millis(50),
            call_timeout: Duration::from_secs(30),
            reading_timeout: Duration::from_secs(600),
            retry: Duration::from_millis(200),
            verify_sealed_rows: 100_000,
            grace: Duration::from_secs(3_600),
            retention: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

impl Settings {
    /// Returns settings without waiting: for stores in this process, whose sources nobody reads after the commit, or whose readers ask for the owner
    /// again when they find nothing.
    #[must_use]
    pub fn local() -> Self {
        Self {
            calm: Duration::ZERO,
            poll: Duration::from_millis(1),
            retry: Duration::from_millis(5),
            grace: Duration::ZERO,
            ..Self::default()
        }
    }

    /// Returns how long a copy of so many bytes may try to catch up before writers are held back.
    #[must_use]
    pub fn patience_for(&self, bytes: u64) -> Duration {
        let per_mib = self.patience_per_gib / 1024;
        let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        self.patience.saturating_add(per_mib.saturating_mul(mib))
    }
}
