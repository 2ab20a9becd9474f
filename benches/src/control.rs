//! `control`: the control plane, against its goals.

mod routing;

use crate::harness::Suite;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    routing::run(suite)
}
