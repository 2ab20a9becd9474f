//! Runs everything that can fail: tests, crates from outside the workspace, and examples.

mod examples;
mod outside;

use std::process::Command;

use crate::{
    shell, sim,
    tools::{
        libsql,
        nats::{self, Missing},
    },
    workspace::{self, Package},
};

/// How long a cluster is hurt at night.
const NIGHT_SECONDS: &str = "600";

/// Run the tests of all crates, each library from outside the workspace, and the examples.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only this part; may be repeated.
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Run nothing but what takes long: faults of a cluster in a random order, for ten minutes, half of it with the registry in a file, and half
    /// with one in nats-server, which is killed too; and thousands of new seeds of every scenario of the simulator, of each for a quarter of
    /// an hour at most.
    #[arg(long, conflicts_with_all = ["part", "filter"])]
    nightly: bool,
    /// Run only the tests whose names contain this, and nothing else; a nats-server or a client of libSQL that is not there is not
    /// fetched.
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// `cargo test` of the workspace, documentation included.
    Workspace,
    /// Each library as the one dependency of a crate elsewhere.
    Outside,
    /// The examples of all crates.
    Examples,
}

const PARTS: [Part; 3] = [Part::Workspace, Part::Outside, Part::Examples];

/// Runs all of it, or the parts or tests that are asked for.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.nightly {
        return run_nightly();
    }
    if !args.filter.is_empty() {
        return run_workspace(&args.filter, Missing::Leave);
    }
    let packages = workspace::packages()?;
    for part in PARTS {
        if !args.part.is_empty() && !args.part.contains(&part) {
            continue;
        }
        match part {
            Part::Workspace => run_workspace(&[], Missing::Fetch)?,
            Part::Outside => run_outside(&packages)?,
            Part::Examples => run_examples(&packages)?,
        }
    }
    Ok(())
}

fn run_workspace(filter: &[String], missing: Missing) -> anyhow::Result<()> {
    shell::heading("tests of the workspace");
    run_tests(shell::cargo(&workspace::root()), filter, missing)
}

/// Runs both parts, also after the first has failed, so that one night tells all.
fn run_nightly() -> anyhow::Result<()> {
    let faults = run_random_faults();
    if let Err(error) = &faults {
        shell::complain(error);
    }
    shell::heading("simulations of every scenario");
    sim::run_nightly()?;
    faults
}

/// Its seed is printed, and may be given again.
fn run_random_faults() -> anyhow::Result<()> {
    shell::heading("faults of a cluster in a random order");
    let mut command = shell::cargo(&workspace::root());
    command.env("SHARDWRIGHT_TEST_FAULT_SECONDS", NIGHT_SECONDS);
    let filter = ["faults::random", "--nocapture"].map(str::to_owned);
    run_tests(command, &filter, Missing::Fetch)
}

fn run_tests(mut command: Command, filter: &[String], missing: Missing) -> anyhow::Result<()> {
    command.args(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    command.envs(nats::variables(missing)?);
    command.envs(libsql::variables(missing)?);
    // Cargo builds the binary before any test runs, because the command's own tests need it, and every example; the tests of whole
    // clusters start the same ones.
    command.env("SHARDWRIGHT_TEST_BINARY", workspace::binary()?);
    command.env("SHARDWRIGHT_TEST_LOG_NODE", workspace::example("log_node")?);
    if !filter.is_empty() {
        command.arg("--").args(filter);
    }
    shell::run(&mut command)
}

fn run_outside(packages: &[Package]) -> anyhow::Result<()> {
    for package in packages.iter().filter(|package| package.published) {
        if let Some(lib_target) = &package.lib_target {
            shell::heading(&format!("{} from outside the workspace", package.name));
            outside::run(&workspace::root(), package, lib_target)?;
        }
    }
    Ok(())
}

fn run_examples(packages: &[Package]) -> anyhow::Result<()> {
    for package in packages {
        for example in &package.examples {
            shell::heading(&format!("example {example}"));
            examples::run(&workspace::root(), package, example)?;
        }
    }
    Ok(())
}
