//! How patient and how greedy a copy is.

use std::time::Duration;

/// What the copies of a shard agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often a primary speaks to a member that has all records. A fraction of the lease. When nothing has happened for ten times as
    /// long, it speaks only so often that the leases do not lapse. 100 ms.
    pub heartbeat: Duration,
    /// After how long without an answer something is sent again. Some round trips. 300 ms.
    pub resend: Duration,
    /// For how long a member refuses higher fences; zero for none. At most the time after which a primary is taken for dead: a failover
    /// waits for the later of both. Equal on all nodes, now and before. 1 s.
    pub lease: Duration,
    /// How much two clocks may differ in their speed, in parts per million. The primary takes that off the lease. 50,000.
    pub drift_ppm: u32,
    /// How many messages with records are under way to one member. 8.
    pub window: usize,
    /// How many records may wait for their level. 4,096.
    pub waiting_max: usize,
    /// How many bytes of records a primary takes in that are not committed. They are in memory, on every member. 64 MiB.
    pub waiting_bytes: u64,
    /// How many applied records are kept for members that come back. 10,000.
    pub retain: u64,
    /// How far a member may lag before its records are dropped all the same; it gets a snapshot then. 1,000,000.
    pub retain_max: u64,
    /// How many bytes of applied records are kept at most, in memory, whoever lags. 64 MiB.
    pub retain_bytes: u64,
    /// How many records are dropped at once, unless they take too much room. 1,000.
    pub trim_step: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            resend: Duration::from_millis(300),
            lease: Duration::from_secs(1),
            drift_ppm: 50_000,
            window: 8,
            waiting_max: 4_096,
            waiting_bytes: 64 << 20,
            retain: 10_000,
            retain_max: 1_000_000,
            retain_bytes: 64 << 20,
            trim_step: 1_000,
        }
    }
}

impl Settings {
    /// Returns how long a primary may count on a promise, from when it asked for it.
    pub(super) fn usable(&self, lease: Duration) -> Duration {
        let part = 1_000_000_u32.saturating_sub(self.drift_ppm);
        lease / 1_000_000 * part
    }
}
