//! `control`: the control plane, against its goals.

mod rebalance;
mod registry;
mod routing;

use crate::harness::Suite;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    rebalance::run(suite)?;
    routing::run(suite)?;
    registry::run(suite)
}
