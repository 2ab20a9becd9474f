//! `control`: the control plane, against its goals.

mod rebalance;

use crate::harness::Suite;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    rebalance::run(suite)
}
