//! `status`: how a cluster is, in a few lines.

use std::io::Write;

use crate::{
    client::{Connection, Received, Status},
    output::{self, Sheet},
};

/// Say who leads, and how many nodes and shards there are.
///
/// The answer is that of the first coordinator that answers; name one alone to know what it thinks.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright status
  shardwright status --coordinator http://127.0.0.1:7557 -o json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let connection = &arguments.connection;
    let status: Received<Status> = connection.client()?.get("/api/v1/status")?;
    connection.print(out, &status, || sheet(&status))
}

fn sheet(status: &Status) -> Sheet {
    let mut sheet = Sheet::with_columns(&["what", "is"]);
    let leader = match &status.leader {
        Some(leader) => format!("{leader}, term {}", status.term),
        None => "nobody".to_owned(),
    };
    let rows = [
        ("answered by", status.id.clone()),
        ("leader", leader),
        (
            "nodes up",
            format!("{} of {}", status.nodes_up, status.nodes),
        ),
        (
            "shards with an owner",
            format!("{} of {}", status.assigned, status.shards),
        ),
        ("moves planned", output::grouped(status.planned)),
        ("moves under way", output::grouped(status.moving)),
        ("registry revision", status.revision.to_string()),
    ];
    for (what, is) in rows {
        sheet.rows.push(vec![output::text(what), output::text(is)]);
    }
    sheet
}
