//! `node`: the members of the cluster.

use std::io::Write;

use reqwest::Method;
use serde_json::json;

use crate::{
    client::{Connection, Node, Received},
    output::{self, Sheet},
};

/// List the nodes of the cluster, or drain one.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    List(Box<List>),
    Drain(Box<Drain>),
}

/// List the nodes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright node list --coordinator http://127.0.0.1:7557
  shardwright node list -o json")]
pub(crate) struct List {
    #[command(flatten)]
    connection: Connection,
}

/// Move every shard of a node to others, and give it none any more.
///
/// Returns as soon as the node is marked: `node list` shows how many shards it still has. A node that registers
/// again is a new one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright node drain w2")]
pub(crate) struct Drain {
    /// The node.
    #[arg(value_name = "NODE")]
    node: String,

    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::List(list) => run_list(list, out),
        Command::Drain(drain) => run_drain(drain, out),
    }
}

fn run_list(list: &List, out: &mut dyn Write) -> anyhow::Result<()> {
    let nodes: Vec<Received<Node>> = list.connection.client()?.get("/api/v1/nodes")?;
    list.connection.print(out, &nodes, || sheet(&nodes))
}

fn sheet(nodes: &[Received<Node>]) -> Sheet {
    let columns = [
        "id", "state", "role", "shards", "weight", "zone", "region", "address",
    ];
    let mut sheet = Sheet::with_columns(&columns);
    for node in nodes {
        sheet.rows.push(vec![
            output::text(&node.id),
            output::text(&node.state),
            output::text(&node.role),
            output::number(node.shards),
            output::number(node.weight),
            output::optional(node.zone.as_deref()),
            output::optional(node.region.as_deref()),
            output::text(&node.address),
        ]);
    }
    sheet
}

fn run_drain(drain: &Drain, out: &mut dyn Write) -> anyhow::Result<()> {
    let body = json!({ "node": drain.node });
    let said = format!(
        "{} is draining; `node list` shows how much it still has",
        drain.node
    );
    drain
        .connection
        .change(out, Method::POST, "/api/v1/drain", &body, &said)
}
