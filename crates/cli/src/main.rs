//! The `shardwright` command: a directory of SQLite files as one sharded database, and the processes of a cluster of them.
//!
//! Each subcommand is one file under `commands`. Exit codes: 0 for success, 1 for an error, 2 for
//! wrong usage, 3 when a safety check refused, 4 when time ran out, 130 when interrupted.

#[cfg(unix)]
mod audit;
mod automatic;
mod backup;
mod client;
mod cluster;
mod commands;
mod demo;
mod elastic;
mod failure;
mod halts;
mod health;
mod interrupt;
mod listening;
mod logging;
mod migrations;
mod output;
mod pass_on;
mod process;
mod progress;
mod registry;
mod session;
mod settings;
mod sharder;
mod shell;
mod signals;
mod streams;
mod style;
mod timing;
mod transfer;
mod values;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;

/// Many SQLite files as one sharded database.
#[derive(Debug, Parser)]
#[command(name = "shardwright", version, about = ABOUT, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const ABOUT: &str = "Many SQLite files as one sharded database.";

const AFTER_HELP: &str = "\
Examples:
  shardwright demo
  shardwright import shop.db --into shop --shards 8
  shardwright sql shop -e 'SELECT count(*) FROM orders'
  shardwright export shop shop-again.db
  shardwright dev
  shardwright sql --node http://127.0.0.1:7557

Exit codes: 0 success, 1 error, 2 wrong usage, 3 refused by a safety check, 4 timed out.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let result = arguments
        .command
        .run(&mut out)
        .and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What was answered before the failure is still an answer; if it cannot be written,
            // the failure is what counts.
            let flushed = out.flush();
            failure::report(&error, &flushed)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
