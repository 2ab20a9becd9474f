//! `status`: how a cluster is, and how its shards are.

use std::{io::Write, time::Duration};

use crate::{
    client::{Client, Connection, Received, Shard, Status},
    output::{self, ListingFormat, Sheet},
};

/// How long the leader may take to say how the shards are. Who leads is said without it.
const GLANCE: Duration = Duration::from_secs(1);

/// Say who leads, how many nodes and shards there are, and how each shard is that commits on several members.
///
/// The answer is that of the first coordinator that answers; name one alone to know what it thinks. How the shards are is known to the
/// leader, which is asked: their epoch, who is primary, which other members have all that was acknowledged, and by how many records the
/// last of them is behind.
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
    let client = connection.client()?;
    let status: Received<Status> = client.get("/api/v1/status")?;
    let replicated = if status.leader.is_some() && status.shards > 0 {
        replicated(&client)
    } else {
        Vec::new()
    };
    if connection.is_json() {
        let mut all = serde_json::to_value(&status)?;
        all["replicated"] = serde_json::to_value(&replicated)?;
        return Ok(output::write_json(out, &all)?);
    }
    output::write_listing(out, ListingFormat::Table, &sheet(&status))?;
    if !replicated.is_empty() {
        writeln!(out)?;
        output::write_listing(out, ListingFormat::Table, &shards(&replicated))?;
    }
    Ok(())
}

/// The shards that commit on several members, as the leader knows them; none if it does not answer.
fn replicated(client: &Client) -> Vec<Received<Shard>> {
    let all = client.glance("/api/v1/shards?leader=true", GLANCE);
    let mut all: Vec<Received<Shard>> = all.unwrap_or_default();
    all.retain(|shard| shard.condition.is_some());
    all
}

fn shards(replicated: &[Received<Shard>]) -> Sheet {
    let columns = [
        "shard",
        "is",
        "epoch",
        "primary",
        "in sync",
        "lag",
        "not in sync",
        "troubles",
    ];
    let mut sheet = Sheet::with_columns(&columns);
    for shard in replicated {
        let nodes = |in_sync: bool| {
            let replicas = shard.replicas.iter();
            let replicas = replicas.filter(|each| (each.in_sync == Some(true)) == in_sync);
            let names: Vec<&str> = replicas.map(|each| each.node.as_str()).collect();
            output::text(names.join(" "))
        };
        let lag = shard.replicas.iter().map(|each| each.lag).max().flatten();
        sheet.rows.push(vec![
            output::text(format!("{}/{}", shard.keyspace, shard.id)),
            output::optional(shard.condition.as_deref()),
            output::text(format!("e{}", shard.epoch)),
            output::optional(shard.primary.as_deref()),
            nodes(true),
            lag.map_or(shardwright_sql::Value::Null, output::number),
            nodes(false),
            output::number(shard.troubles.len() as u64),
        ]);
    }
    sheet
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
        ("splits and merges", output::grouped(status.operations)),
        ("registry revision", status.revision.to_string()),
    ];
    for (what, is) in rows {
        sheet.rows.push(vec![output::text(what), output::text(is)]);
    }
    sheet
}
