//! Measures, and keeps the figures.

use std::fs;

use anyhow::Context;

use crate::{
    shell,
    tools::nats::{self, Missing},
    workspace,
};

/// Measure one group of cases; the figures go to target/bench/NAME.json.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The group, for example `hashing`.
    name: String,
    /// Passed on to the benchmark.
    #[arg(last = true)]
    rest: Vec<String>,
}

/// The group that measures against a nats-server.
const NEEDS_NATS: &str = "control";

/// Runs the benchmark of that name in the `bench` profile.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = workspace::root();
    let directory = root.join("target/bench");
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let mut command = shell::cargo(&root);
    command.args([
        "run",
        "--profile",
        "bench",
        "-p",
        "shardwright-benches",
        "--",
        &args.name,
    ]);
    command
        .arg("--out")
        .arg(directory.join(format!("{}.json", args.name)));
    if args.name == NEEDS_NATS {
        command.envs(nats::variables(Missing::Fetch)?);
    }
    shell::run(command.args(&args.rest))
}
