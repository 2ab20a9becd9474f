//! The one place of this crate that reads the clock.

use std::time::Instant;

/// Returns the time by which kept read transactions age.
#[expect(
    clippy::disallowed_methods,
    reason = "the age of a read transaction is a matter of this process's driver of SQLite"
)]
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}
