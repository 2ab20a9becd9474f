//! `quorum`: copies on several nodes, against their goals.

mod append;
mod put;

use crate::harness::Suite;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    put::run(suite)?;
    append::run(suite)
}

/// Does the part of a process that another one has started for these cases.
pub(crate) fn hold() -> Option<anyhow::Result<()>> {
    append::hold()
}
