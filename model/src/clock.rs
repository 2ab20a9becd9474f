//! The one place of this program that reads the clock.

use std::time::Instant;

/// Returns the time by which the speed of a check is measured.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a check takes is no part of it"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
