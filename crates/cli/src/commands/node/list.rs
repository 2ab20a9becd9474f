//! `node list`: the nodes of a cluster, and what they hold.

use std::{collections::BTreeMap, io::Write};

use crate::{
    client::{Assignment, Connection, Node, Received},
    output::{self, Sheet},
};

/// List the nodes, with how many shards each has a copy of, and of how many it is the primary.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright node list --coordinator http://127.0.0.1:7557
  shardwright node list -o json")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let connection = &arguments.connection;
    let client = connection.client()?;
    let nodes: Vec<Received<Node>> = client.get("/api/v1/nodes")?;
    if connection.is_json() {
        return connection.print(out, &nodes, Sheet::default);
    }
    let assigned: Vec<Assignment> = client.get("/api/v1/assignments")?;
    connection.print(out, &nodes, || sheet(&nodes, &assigned))
}

fn sheet(nodes: &[Received<Node>], assigned: &[Assignment]) -> Sheet {
    let columns = [
        "id", "state", "role", "shards", "primary", "weight", "zone", "region", "address",
    ];
    let mut primaries: BTreeMap<&str, u64> = BTreeMap::new();
    for assigned in assigned.iter().filter(|each| each.role == "primary") {
        *primaries.entry(&assigned.node).or_default() += 1;
    }
    let mut sheet = Sheet::with_columns(&columns);
    for node in nodes {
        let primaries = primaries.get(node.id.as_str()).copied();
        sheet.rows.push(vec![
            output::text(&node.id),
            output::text(&node.state),
            output::text(&node.role),
            output::number(node.shards),
            output::number(primaries.unwrap_or_default()),
            output::number(node.weight),
            output::optional(node.zone.as_deref()),
            output::optional(node.region.as_deref()),
            output::text(&node.address),
        ]);
    }
    sheet
}
