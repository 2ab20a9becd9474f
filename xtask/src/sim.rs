//! Runs the state machines in the simulator.

use crate::{shell, workspace};

/// Simulate processes, their network and their store; `cargo xtask sim -- --help` lists the arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Passed on to the simulator: `[NAME] [--seeds N] [--seed S] [--trace]`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds the simulator and runs it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut command = shell::cargo(&workspace::root());
    command.args(["run", "--quiet", "-p", "shardwright-sim", "--"]);
    shell::run(command.args(&args.rest))
}

/// How many seeds of each scenario a change has to pass: a few seconds each.
const SEEDS_OF_A_CHANGE: &str = "300";

/// Runs few seeds of every scenario.
pub(crate) fn run_briefly() -> anyhow::Result<()> {
    run(&Args {
        rest: vec!["--seeds".to_owned(), SEEDS_OF_A_CHANGE.to_owned()],
    })
}
