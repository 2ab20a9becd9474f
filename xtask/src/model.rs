//! Explores the model of the replication protocol.

use crate::{shell, workspace};

/// Explore every state of the replication protocol within bounds; `cargo xtask model -- --help` lists the arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Passed on to the checker: `[SCENARIO] [--without RULE] [--nightly] [--trace]`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds the model with optimisation and explores it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut command = shell::cargo(&workspace::root());
    command.args([
        "run",
        "--quiet",
        "-p",
        "shardwright-model",
        "--release",
        "--",
    ]);
    shell::run(command.args(&args.rest))
}
