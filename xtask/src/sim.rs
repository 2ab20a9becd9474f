//! Runs the state machines in the simulator.

use crate::{shell, workspace};

/// Simulate processes, their network and their store; `cargo xtask sim -- --help` lists the arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Passed on to the simulator: `[NAME] [--seeds N] [--seed S] [--trace]`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds the simulator with optimisation, which many seeds repay, and runs it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    simulate(&["--release"], &args.rest)
}

fn simulate(profile: &[&str], rest: &[String]) -> anyhow::Result<()> {
    let mut command = shell::cargo(&workspace::root());
    command.args(["run", "--quiet", "-p", "shardwright-sim"]);
    command.args(profile).arg("--");
    shell::run(command.args(rest))
}

/// Runs thousands of seeds of every scenario, which are others each time.
pub(crate) fn run_nightly() -> anyhow::Result<()> {
    simulate(&["--release"], &["--nightly".to_owned()])
}

/// Runs few seeds of every scenario, on the build that the tests made.
pub(crate) fn run_briefly() -> anyhow::Result<()> {
    simulate(&[], &["--brief".to_owned()])
}
