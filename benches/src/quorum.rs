//! `quorum`: copies on several nodes, against their goals.

mod put;

use crate::harness::Suite;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    put::run(suite)
}
