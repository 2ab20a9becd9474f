//! `quorum`: copies on several nodes, against their goals.

mod append;
mod put;

pub(crate) use self::append::{follow, follower_directory, hold_copy};
use crate::harness::Suite;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    put::run(suite)?;
    append::run(suite)
}
