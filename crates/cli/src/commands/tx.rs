//! `shardwright tx`: commits over several shards that were interrupted.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::bail;
use clap::Args;
use serde::Deserialize;
use shardwright_registry::Clock;
use shardwright_sql::{Options, ShardedDatabase, Unresolved};

use crate::{client::SqlClient, cluster::Cluster};

/// Where a node lists what is left of commits.
const PATH: &str = "/v1/commits";

/// How long the shards of a cluster have to end what is left of commits: longer than they wait before they ask one another.
const RESOLVING: Duration = Duration::from_secs(60);

/// How often they are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// Says that nothing is left.
const WHOLE: &str = "every commit is on all of its shards";

/// Show or finish commits over several shards that were interrupted.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the commits that are decided and not on all of their shards.
    List(Arguments),
    /// Finish them: every shard gets what was decided. The shards of a cluster do that by themselves, and are waited for.
    Resolve(Arguments),
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The directory of the database.
    #[arg(
        value_name = "DIR",
        required_unless_present = "node",
        conflicts_with = "node"
    )]
    directory: Option<PathBuf>,

    #[command(flatten)]
    cluster: Cluster,
}

/// What a node says of all shards.
#[derive(Debug, Deserialize)]
struct Leftovers {
    commits: Vec<Leftover>,
    /// The shards that have not answered.
    unanswered: Vec<String>,
}

/// What is left of a commit at a shard.
#[derive(Debug, Deserialize)]
struct Leftover {
    id: String,
    shard: String,
    first: String,
    participants: Vec<String>,
    /// Who has not said that it has the commit, where the shard has decided it.
    #[serde(default)]
    missing: Option<Vec<String>>,
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::List(arguments) => list(arguments, out),
        Command::Resolve(arguments) => resolve(arguments, out),
    }
}

fn list(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(directory) = &arguments.directory else {
        return list_cluster(&arguments.cluster.client()?, out);
    };
    let database = super::open_for_reading(directory)?;
    let unresolved = database.unresolved_commits()?;
    if unresolved.is_empty() {
        writeln!(out, "{WHOLE}")?;
    }
    for commit in &unresolved {
        write_commit(commit, out)?;
    }
    Ok(())
}

/// Who opens a database for writing finishes what was interrupted, so that nothing else is to be done.
fn resolve(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(directory) = &arguments.directory else {
        return await_cluster(&arguments.cluster.client()?, out);
    };
    let before = super::open_for_reading(directory)?.unresolved_commits()?;
    let database = ShardedDatabase::open(directory, &Options::default())?;
    let left = database.unresolved_commits()?;
    for commit in before.iter().filter(|commit| !left.contains(commit)) {
        let missing = commit.missing.join(", ");
        writeln!(out, "{} is on {missing} now", commit.id)?;
    }
    if before.is_empty() {
        writeln!(out, "{WHOLE}")?;
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

fn list_cluster(client: &SqlClient, out: &mut dyn Write) -> anyhow::Result<()> {
    let left: Leftovers = client.get(PATH)?;
    for commit in &left.commits {
        write_leftover(commit, out)?;
    }
    if !left.unanswered.is_empty() {
        bail!("no answer from {}", left.unanswered.join(", "));
    }
    if left.commits.is_empty() {
        writeln!(out, "{WHOLE}")?;
    }
    Ok(())
}

/// Waits until the shards have ended what is left among themselves.
fn await_cluster(client: &SqlClient, out: &mut dyn Write) -> anyhow::Result<()> {
    let clock = Clock::start();
    let first: Leftovers = client.get(PATH)?;
    let mut left = first.commits.iter().collect::<Vec<_>>();
    let mut latest;
    loop {
        latest = client.get::<Leftovers>(PATH)?;
        let is_there = |commit: &&Leftover| {
            let same = |other: &Leftover| (&other.id, &other.shard) == (&commit.id, &commit.shard);
            !latest.unanswered.is_empty() || latest.commits.iter().any(same)
        };
        let (there, gone): (Vec<_>, Vec<_>) = left.into_iter().partition(is_there);
        for commit in gone {
            writeln!(out, "{} is resolved on {}", commit.id, commit.shard)?;
        }
        left = there;
        if left.is_empty() && latest.unanswered.is_empty() {
            break;
        }
        if clock.now() >= shardwright_topology::Timestamp(RESOLVING) {
            bail!("some commits wait for shards that do not answer; `tx list` shows them");
        }
        client.pause(LOOK);
    }
    if first.commits.is_empty() {
        writeln!(out, "{WHOLE}")?;
    }
    Ok(())
}

fn write_leftover(commit: &Leftover, out: &mut dyn Write) -> anyhow::Result<()> {
    let Leftover {
        id,
        shard,
        first,
        participants,
        missing,
    } = commit;
    match missing {
        Some(missing) => {
            let missing = missing.join(", ");
            writeln!(
                out,
                "{id}  decided by {shard}, not acknowledged by {missing}"
            )?;
        }
        None => {
            let all = participants.join(", ");
            writeln!(out, "{id}  prepared on {shard}, {first} decides for {all}")?;
        }
    }
    Ok(())
}
