//! `shard split` and `shard merge`.

use std::io::Write;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::{Connection, MemberMove, Operation, Received},
    commands::op::{self, Waiting},
};

/// Split a shard in two.
///
/// The two new shards have names of their own and share its range; rows are written and read meanwhile, but for a moment. They are made on
/// the nodes that have copies of it, so that no row goes over the network. Returns as soon as it has begun, unless it is to wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright shard split shard-0 --wait
  shardwright shard split shard-0 --at middle
  shardwright shard split shard-0 --at 2000000000000000 --dry-run")]
pub(crate) struct Split {
    /// The shard.
    shard: String,

    /// Where: `median`, so that each part has half of the rows, `middle`, half of the range, or a position of 16 hexadecimal digits, which is
    /// the first of the second part.
    #[arg(long, value_name = "WHERE", default_value = "median")]
    at: String,

    /// Divide it at its median although it has few rows.
    #[arg(long)]
    force: bool,

    /// Only say where it would be divided.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    connection: Connection,
}

/// Make one shard of neighbours.
///
/// Their ranges have to follow each other. Where they have too few copies on the same nodes, some of them move first. The new shard has a name of its own; rows are written and read meanwhile, but for a moment.
/// Returns as soon as it has begun, unless it is to wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright shard merge shard-2 shard-3 --wait")]
pub(crate) struct Merge {
    /// The shards, two or more.
    #[arg(value_name = "SHARD", required = true, num_args = 2..)]
    shards: Vec<String>,

    /// Merge them although the new shard is large, or hardly any other is left.
    #[arg(long)]
    force: bool,

    /// Only say whether they can be merged, and what would move first.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    connection: Connection,
}

impl Split {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let body = json!({
            "kind": "split",
            "shards": [self.shard],
            "at": self.at,
            "force": self.force,
            "dry_run": self.dry_run,
        });
        let operation = begin(&self.connection, &body)?;
        let at = operation.at.join(" ");
        if self.dry_run {
            let said = format!("{} would be split at {at}", self.shard);
            return op::finish(&self.connection, &operation, &said, out);
        }
        let said = format!("{} is split at {at}", self.shard);
        let connection = &self.connection;
        self.waiting.begun(connection, &operation, &said, out)
    }
}

impl Merge {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let body = json!({
            "kind": "merge",
            "shards": self.shards,
            "force": self.force,
            "dry_run": self.dry_run,
        });
        let operation = begin(&self.connection, &body)?;
        let shards = self.shards.join(", ");
        if self.dry_run {
            let moves = operation.moves.iter().map(|moved| {
                let MemberMove { shard, from, to } = moved;
                format!("{shard} would move from {from} to {to}\n")
            });
            let said = format!("{}{shards} would be merged", moves.collect::<String>());
            return op::finish(&self.connection, &operation, &said, out);
        }
        let connection = &self.connection;
        let said = format!("{shards} are merged");
        self.waiting.begun(connection, &operation, &said, out)
    }
}

fn begin(connection: &Connection, body: &Value) -> anyhow::Result<Received<Operation>> {
    let client = connection.client()?;
    Ok(client.send(Method::POST, "/api/v1/operations", body)?)
}
