//! How a process of a cluster starts: it takes its settings, logs as they say, and serves.

use anyhow::Context as _;

use crate::{
    logging,
    settings::{Family, Given, Settings},
};

/// Runs `serve` with what is given, on a runtime of its own.
///
/// # Errors
/// When a setting cannot be used, or `serve` fails.
pub(crate) fn run<F: Family>(
    given: &Given<F>,
    serve: impl AsyncFnOnce(&Settings) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let settings = given.resolve()?;
    logging::start(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(serve(&settings))
}
