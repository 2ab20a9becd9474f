//! Benchmarks of Shardwright against its peers: `cargo xtask bench NAME`.

mod bare_file;
mod cluster;
mod control;
mod copies;
mod elastic;
mod harness;
mod hashing;
mod pauses;
mod quorum;
mod replication;
mod sql;
mod subprocess;

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Parser, ValueEnum};

use crate::harness::Suite;

/// Measure one group of cases, each against a baseline, in interleaved rounds.
#[derive(Debug, Parser)]
struct Arguments {
    /// The group of cases.
    group: Group,

    /// Also write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The number of rounds for each case.
    #[arg(long, default_value = "25")]
    rounds: NonZeroUsize,

    /// Only the cases whose names begin so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Group {
    /// The control plane.
    Control,
    /// Splits and merges.
    Elastic,
    /// Keys to shards.
    Hashing,
    /// How long clients wait while shards are split, merged and moved under load.
    Pauses,
    /// Copies on several nodes.
    Quorum,
    /// SQLite on several nodes.
    Replication,
    /// Statements by key.
    Sql,
}

fn main() -> anyhow::Result<()> {
    let hold = || cluster::hold().or_else(quorum::hold);
    if let Some(ended) = hold().or_else(replication::hold) {
        return ended;
    }
    let arguments = Arguments::parse();
    let mut suite = Suite::new(arguments.rounds, arguments.only);
    match arguments.group {
        Group::Control => control::run(&mut suite)?,
        Group::Elastic => elastic::run(&mut suite)?,
        Group::Hashing => hashing::run(&mut suite)?,
        Group::Pauses => pauses::run(&mut suite)?,
        Group::Quorum => quorum::run(&mut suite)?,
        Group::Replication => replication::run(&mut suite)?,
        Group::Sql => sql::run(&mut suite)?,
    }
    suite.report(arguments.out.as_deref())
}
