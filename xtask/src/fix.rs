//! Rewrites what tools can put right by themselves.

use crate::{shell, workspace};

/// Rewrite the sources: clippy's suggestions, then the formatter.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Applies clippy's machine-applicable suggestions and formats all sources.
pub(crate) fn run(Args {}: &Args) -> anyhow::Result<()> {
    let root = workspace::root();
    shell::run(shell::cargo(&root).args([
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
        "--all-features",
    ]))?;
    shell::run(shell::cargo(&root).args(["fmt", "--all"]))
}
