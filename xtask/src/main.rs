//! Tasks of this repository: `cargo xtask --help` lists them.

mod bench;
mod ci;
mod compare;
mod fix;
mod layers;
mod model;
mod report;
mod shell;
mod sim;
mod source;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// Tasks of the Shardwright repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    Test(test::Args),
    Ci(ci::Args),
    Fix(fix::Args),
    Tidy(tidy::Args),
    Layers(layers::Args),
    Bench(bench::Args),
    Sim(sim::Args),
    Slt(compare::Scripts),
    Fuzz(compare::Fuzz),
    Model(model::Args),
}

fn main() -> ExitCode {
    let outcome = match Task::parse() {
        Task::Test(args) => test::run(&args),
        Task::Ci(args) => ci::run(&args),
        Task::Fix(args) => fix::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Layers(args) => layers::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Slt(args) => compare::run_scripts(&args),
        Task::Fuzz(args) => compare::fuzz(&args),
        Task::Model(args) => model::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::complain(&error);
            ExitCode::FAILURE
        }
    }
}
