//! `node`: a process that keeps shards, and what is done about such processes.

mod list;
mod members;
mod run;
mod watch;

use std::io::Write;

/// Run a node, which keeps copies of shards and answers SQL; or look at the nodes of a cluster, and change them.
///
/// A node finds the coordinators by the registry, and says in it where it is. The coordinators tell it which copies of shards to make;
/// what it commits is on a majority of the nodes that have a copy. Start as many as the replication factor asks for, each with a name and
/// a directory of its own; a node that starts again goes on with what is in its directory.
///
/// Prints `listening on http://...` once it takes requests. On Ctrl-C or SIGTERM it hands over what it is the primary of, and ends; a
/// second one ends it at once.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  shardwright node --id n1 --registry sqlite:registry.db --listen 127.0.0.1:7561 --data n1
  shardwright node --id n1 --registry nats://10.0.0.1:4222 --listen 10.0.0.7:7561 --data /srv/n1 --token-file token
  shardwright node list
  shardwright node drain n1 --wait"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    run: run::Keep,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(Box<list::Arguments>),
    Add(Box<members::Add>),
    Drain(Box<members::Drain>),
    Replace(Box<members::Replace>),
    Remove(Box<members::Remove>),
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    match &arguments.command {
        None => run::run(&arguments.run, out),
        Some(Command::List(list)) => list::run(list, out),
        Some(Command::Add(add)) => add.run(out),
        Some(Command::Drain(drain)) => drain.run(out),
        Some(Command::Replace(replace)) => replace.run(out),
        Some(Command::Remove(remove)) => remove.run(out),
    }
}
