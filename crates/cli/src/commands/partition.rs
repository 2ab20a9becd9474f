//! `partition`: the names that the workers serve.

use std::io::Write;

use reqwest::Method;

use crate::{
    client::{Connection, Partitions},
    output,
};

/// Add partitions for the workers to serve, or remove them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Add(Box<Named>),
    Remove(Box<Named>),
}

/// Name partitions.
///
/// Each name is served by exactly one worker, or by as many as --replicas of the coordinator says. Either all names are taken or
/// none.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright partition add invoices orders
  shardwright partition remove orders")]
pub(crate) struct Named {
    /// The partitions.
    #[arg(value_name = "PARTITION", required = true)]
    ids: Vec<String>,

    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::Add(named) => change(named, Method::POST, "added", out),
        Command::Remove(named) => change(named, Method::DELETE, "removed", out),
    }
}

fn change(named: &Named, method: Method, verb: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let body = Partitions {
        ids: named.ids.clone(),
    };
    let number = u64::try_from(named.ids.len()).unwrap_or(u64::MAX);
    let said = format!("{} {verb}", output::count(number, "partition"));
    let connection = &named.connection;
    connection.change(out, method, "/api/v1/partitions", &body, &said)
}
