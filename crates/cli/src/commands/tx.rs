//! `shardwright tx`: commits over several shards that were interrupted.

use std::{io::Write, path::PathBuf};

use clap::Args;
use shardwright_sql::{Options, ShardedDatabase, Unresolved};

/// Show or finish commits over several shards that were interrupted.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the commits that are decided and not on all of their shards.
    List(Arguments),
    /// Finish them: every shard gets what was decided.
    Resolve(Arguments),
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The directory of the database.
    directory: PathBuf,
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::List(arguments) => list(arguments, out),
        Command::Resolve(arguments) => resolve(arguments, out),
    }
}

fn list(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let database = super::open_for_reading(&arguments.directory)?;
    let unresolved = database.unresolved_commits()?;
    if unresolved.is_empty() {
        writeln!(out, "every commit is on all of its shards")?;
    }
    for commit in &unresolved {
        write_commit(commit, out)?;
    }
    Ok(())
}

/// Who opens a database for writing finishes what was interrupted, so that nothing else is to be done.
fn resolve(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let before = super::open_for_reading(&arguments.directory)?.unresolved_commits()?;
    let database = ShardedDatabase::open(&arguments.directory, &Options::default())?;
    let left = database.unresolved_commits()?;
    for commit in before.iter().filter(|commit| !left.contains(commit)) {
        let missing = commit.missing.join(", ");
        writeln!(out, "{} is on {missing} now", commit.id)?;
    }
    if before.is_empty() {
        writeln!(out, "every commit is on all of its shards")?;
    }
    database.close()?;
    Ok(())
}

fn write_commit(commit: &Unresolved, out: &mut dyn Write) -> anyhow::Result<()> {
    let (id, first) = (commit.id, &commit.first);
    let missing = commit.missing.join(", ");
    writeln!(out, "{id}  decided by {first}, missing on {missing}")?;
    Ok(())
}
