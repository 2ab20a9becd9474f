//! Compares sharded databases with SQLite: `cargo xtask slt --help`, `cargo xtask fuzz --help`.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a tool tells people what it does"
)]

mod scripts;
mod search;

use std::process::ExitCode;

use clap::Parser;

/// Compare sharded databases with SQLite.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Tool {
    Slt(scripts::Args),
    #[command(hide = true)]
    Play(scripts::PlayArgs),
    Fuzz(search::Args),
}

fn main() -> ExitCode {
    let outcome = match Tool::parse() {
        Tool::Slt(args) => scripts::run(args),
        Tool::Play(args) => scripts::play(&args).map(|()| ExitCode::SUCCESS),
        Tool::Fuzz(args) => search::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
