//! `op`: the splits, merges and moves of shards that are under way, or ended lately.

mod watch;

use std::io::Write;

use reqwest::Method;
use serde_json::json;

use self::watch::Until;
pub(super) use self::watch::Waiting;
use crate::{
    client::{Connection, Operation, Received},
    output::{self, Sheet},
};

/// Look at splits, merges and moves of shards, follow them, hold them up, or take them back.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    List(Box<List>),
    Show(Box<Show>),
    Watch(Box<Watch>),
    Pause(Box<Pause>),
    Resume(Box<Resume>),
    Cancel(Box<Cancel>),
    Reverse(Box<Reverse>),
}

/// List the operations, also those that ended lately.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright op list
  shardwright op list -o json")]
pub(crate) struct List {
    #[command(flatten)]
    connection: Connection,
}

/// Print one operation, and how far it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright op show op-3f9c62b1d7e40a55")]
pub(crate) struct Show {
    /// The operation.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    connection: Connection,
}

/// Follow an operation until it ends.
///
/// Also until what is left of the old shards is removed, which follows their time of grace; --wait of the command that begins an operation ends before
/// that. Says how far it is, at a terminal in one line. Exits with 1 if it ends without effect. Nothing happens to it when this command is
/// interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright op watch op-3f9c62b1d7e40a55
  shardwright op watch op-3f9c62b1d7e40a55 --within 1h -o json")]
pub(crate) struct Watch {
    /// The operation.
    #[arg(value_name = "ID")]
    id: String,

    /// How long it is followed.
    #[arg(long, value_name = "DURATION", default_value = watch::WITHIN)]
    within: humantime::Duration,

    #[command(flatten)]
    connection: Connection,
}

/// Have an operation wait where it is.
///
/// It waits until it is resumed, whatever becomes of the coordinators. One that is about to switch can no longer wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright op pause op-3f9c62b1d7e40a55")]
pub(crate) struct Pause {
    #[command(flatten)]
    named: Named,
}

/// Have a paused operation go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright op resume op-3f9c62b1d7e40a55")]
pub(crate) struct Resume {
    #[command(flatten)]
    named: Named,
}

/// End an operation without effect.
///
/// The shards stay as they were, and what was made of the new ones is removed. One that has committed is refused: reverse it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright op cancel op-3f9c62b1d7e40a55")]
pub(crate) struct Cancel {
    #[command(flatten)]
    named: Named,
}

/// Undo an operation that has committed, by another one.
///
/// What was split is merged, what was merged is split where it was joined, and what has moved moves back. Whatever was written since then is
/// kept; shards that are split or merged get new names.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright op reverse op-3f9c62b1d7e40a55 --wait")]
pub(crate) struct Reverse {
    #[command(flatten)]
    named: Named,

    #[command(flatten)]
    waiting: Waiting,
}

/// An operation that something is done about.
#[derive(Debug, clap::Args)]
struct Named {
    /// The operation.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    connection: Connection,
}

impl Named {
    /// Asks for a change of the operation. The answer is the operation as it is then, or the one that undoes it.
    fn ask(&self, what: &str) -> anyhow::Result<Received<Operation>> {
        let path = format!("{}/{what}", path(&self.id));
        let client = self.connection.client()?;
        Ok(client.send(Method::POST, &path, &json!({}))?)
    }

    fn change(&self, what: &str, said: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        let operation = self.ask(what)?;
        finish(&self.connection, &operation, said, out)
    }
}

/// Where an operation is, below a coordinator.
pub(super) fn path(id: &str) -> String {
    format!("/api/v1/operations/{id}")
}

/// Prints an operation for a program, or what is so for people.
pub(super) fn finish(
    connection: &Connection,
    operation: &Received<Operation>,
    said: &str,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if connection.is_json() {
        Ok(output::write_json(out, operation)?)
    } else {
        Ok(writeln!(out, "{said}")?)
    }
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::List(list) => run_list(list, out),
        Command::Show(show) => run_show(show, out),
        Command::Watch(watch) => {
            let Watch {
                id,
                within,
                connection,
            } = &**watch;
            watch::follow(connection, id, Until::Over, **within, out)
        }
        Command::Pause(pause) => {
            let named = &pause.named;
            let said = format!("{} waits until it is resumed", named.id);
            named.change("pause", &said, out)
        }
        Command::Resume(resume) => {
            let named = &resume.named;
            let said = format!("{} goes on", named.id);
            named.change("resume", &said, out)
        }
        Command::Cancel(cancel) => {
            let named = &cancel.named;
            let said = format!("{} has no effect; the shards stay as they were", named.id);
            named.change("cancel", &said, out)
        }
        Command::Reverse(reverse) => run_reverse(reverse, out),
    }
}

fn run_list(list: &List, out: &mut dyn Write) -> anyhow::Result<()> {
    let client = list.connection.client()?;
    let operations: Vec<Received<Operation>> = client.get("/api/v1/operations")?;
    list.connection.print(out, &operations, || {
        let columns = [
            "id", "kind", "phase", "sources", "targets", "from", "to", "progress", "error",
        ];
        let mut sheet = Sheet::with_columns(&columns);
        for operation in &operations {
            sheet.rows.push(vec![
                output::optional(operation.id.as_deref()),
                output::text(&operation.kind),
                output::text(&operation.phase),
                output::text(operation.sources.join(" ")),
                output::text(operation.targets.join(" ")),
                output::optional(operation.from.as_deref()),
                output::optional(operation.to.as_deref()),
                output::text(watch::progress(operation)),
                output::optional(operation.error.as_deref()),
            ]);
        }
        sheet
    })
}

fn run_show(show: &Show, out: &mut dyn Write) -> anyhow::Result<()> {
    let client = show.connection.client()?;
    let operation: Received<Operation> = client.get(&path(&show.id))?;
    show.connection.print(out, &operation, || {
        let mut sheet = Sheet::with_columns(&["what", "is"]);
        let lag = operation.progress.lag.map(output::grouped);
        let rows = [
            ("id", operation.id.clone()),
            ("kind", Some(operation.kind.clone())),
            ("phase", Some(operation.phase.clone())),
            ("sources", Some(operation.sources.join(" "))),
            ("targets", Some(operation.targets.join(" "))),
            ("from", operation.from.clone()),
            ("to", operation.to.clone()),
            ("divided at", Some(operation.at.join(" "))),
            ("why", Some(operation.reason.clone())),
            ("progress", Some(watch::progress(&operation))),
            ("changes to come", lag),
            ("error", operation.error.clone()),
        ];
        for (what, is) in rows {
            let row = vec![output::text(what), output::optional(is.as_deref())];
            sheet.rows.push(row);
        }
        sheet
    })
}

fn run_reverse(reverse: &Reverse, out: &mut dyn Write) -> anyhow::Result<()> {
    let Reverse { named, waiting } = reverse;
    let operation = named.ask("reverse")?;
    let said = format!("{} is undone", named.id);
    waiting.begun(&named.connection, &operation, &said, out)
}
