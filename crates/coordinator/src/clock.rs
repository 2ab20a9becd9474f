//! The wall clock, for people: the one place of this crate that reads it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the milliseconds since the beginning of 1970, as people read them. Nothing is decided by it.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "wall time for people, in events and statistics"
)]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
