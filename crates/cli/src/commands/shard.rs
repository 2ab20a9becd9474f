//! `shard`: the shards and partitions of a cluster, and who serves them.

mod change;
mod stats;

use std::io::Write;

use reqwest::Method;
use serde_json::{Value, json};
use shardwright_hashing::Position;

use crate::{
    client::{Connection, Node, Operation, Received, Shard},
    commands::op::{self, Waiting},
    failure::Failure,
    output::{self, Sheet},
};

/// List the shards of a cluster, find one, split or merge some, or give one to another node.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    List(Box<List>),
    Locate(Box<Locate>),
    Move(Box<Move>),
    Promote(Box<Promote>),
    Split(Box<change::Split>),
    Merge(Box<change::Merge>),
    Stats(Box<stats::Stats>),
}

/// List the shards and partitions.
///
/// A shard of the keyspace main owns the positions from start up to end; a partition has a name and no range.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright shard list --coordinator http://127.0.0.1:7557
  shardwright shard list --keyspace partitions -o json")]
pub(crate) struct List {
    /// Only those of this keyspace.
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,

    #[command(flatten)]
    connection: Connection,
}

/// Print who owns a key.
///
/// The key is hashed as text and looked up among the ranges of the keyspace. In a keyspace without ranges the key is the
/// name of a partition.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright shard locate tenant-123
  shardwright shard locate invoices --keyspace partitions")]
pub(crate) struct Locate {
    /// The key.
    key: String,

    /// The keyspace.
    #[arg(long, value_name = "NAME", default_value = "main")]
    keyspace: String,

    #[command(flatten)]
    connection: Connection,
}

/// Give a shard to another node.
///
/// The old owner stops serving before the new one starts. Of a partition only the assignment moves, and data that the old owner holds stays
/// there. A shard that nodes keep is copied while it is written to, and no copy goes before that is done; `op` shows it and takes it back. A
/// node that has a copy in sync already becomes the primary. Plans leave it there, unless told otherwise. Returns as soon as it has begun, unless it
/// is to wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright shard move invoices --to w3
  shardwright shard move shard-0 --from n1 --to n4 --wait")]
pub(crate) struct Move {
    /// The shard or partition.
    shard: String,

    /// The node that gets it.
    #[arg(long, value_name = "NODE")]
    to: String,

    /// The node that loses its copy; the primary, if none is named.
    #[arg(long, value_name = "NODE")]
    from: Option<String>,

    /// The keyspace, where several have a shard of this name.
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,

    /// Let plans move it again.
    #[arg(long)]
    no_pin: bool,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    connection: Connection,
}

/// Make a replica of a shard its primary.
///
/// No data moves. It is refused where the replica is not known to have all that the primary had; --force promotes it all the same. A
/// shard that commits on several members hands over to one that is in sync; without a quorum of them, name the shard again to accept the loss.
/// Plans leave the shard there, unless told otherwise or a loss was accepted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright shard promote invoices --to w3
  shardwright shard promote shard-0 --to n2 --no-pin
  shardwright shard promote shard-0 --to w3 --accept-data-loss shard-0 --by 'Ada, ticket 17'")]
pub(crate) struct Promote {
    /// The shard or partition.
    shard: String,

    /// The node whose replica it is.
    #[arg(long, value_name = "NODE")]
    to: String,

    /// The keyspace, where several have a shard of this name.
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,

    /// Promote it even if it may lack what the primary had.
    #[arg(long)]
    force: bool,

    /// The shard again: go on from this copy although acknowledged writes may be lost. Only for shards that commit on several members, when
    /// too few of them can be reached.
    #[arg(long, value_name = "SHARD", conflicts_with = "force")]
    accept_data_loss: Option<String>,

    /// Who accepts the loss, for the record.
    #[arg(long, value_name = "NAME", requires = "accept_data_loss")]
    by: Option<String>,

    /// Let plans make another node the primary again.
    #[arg(long)]
    no_pin: bool,

    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::List(list) => run_list(list, out),
        Command::Locate(locate) => run_locate(locate, out),
        Command::Move(command) => run_move(command, out),
        Command::Promote(promote) => run_promote(promote, out),
        Command::Split(split) => split.run(out),
        Command::Merge(merge) => merge.run(out),
        Command::Stats(stats) => stats.run(out),
    }
}

fn run_list(list: &List, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut shards: Vec<Received<Shard>> = list.connection.client()?.get("/api/v1/shards")?;
    if let Some(keyspace) = &list.keyspace {
        shards.retain(|shard| shard.keyspace == *keyspace);
    }
    list.connection.print(out, &shards, || sheet(&shards))
}

fn sheet(shards: &[Received<Shard>]) -> Sheet {
    let columns = [
        "id", "keyspace", "start", "end", "state", "epoch", "primary", "replicas",
    ];
    let mut sheet = Sheet::with_columns(&columns);
    for shard in shards {
        let replicas: Vec<&str> = shard
            .replicas
            .iter()
            .map(|replica| replica.node.as_str())
            .collect();
        sheet.rows.push(vec![
            output::text(&shard.id),
            output::text(&shard.keyspace),
            output::optional(shard.start.as_deref()),
            output::optional(shard.end.as_deref()),
            output::text(&shard.state),
            output::text(format!("e{}", shard.epoch)),
            output::optional(shard.primary.as_deref()),
            output::text(replicas.join(" ")),
        ]);
    }
    sheet
}

fn run_locate(locate: &Locate, out: &mut dyn Write) -> anyhow::Result<()> {
    let client = locate.connection.client()?;
    let shards: Vec<Shard> = client.get("/api/v1/shards")?;
    let position = Position::of(&locate.key).to_string();
    let shard = shards
        .iter()
        // One that is being filled owns nothing yet.
        .filter(|shard| shard.keyspace == locate.keyspace && shard.state != "importing")
        .find(|shard| holds(shard, &locate.key, &position))
        .ok_or_else(|| Failure::NoShard {
            key: locate.key.clone(),
            keyspace: locate.keyspace.clone(),
        })?;
    let nodes: Vec<Node> = client.get("/api/v1/nodes")?;
    let address = nodes
        .iter()
        .find(|node| Some(&node.id) == shard.primary.as_ref())
        .map(|node| node.address.as_str());
    let answer = json!({
        "key": locate.key,
        "shard": shard.id,
        "keyspace": shard.keyspace,
        "epoch": shard.epoch,
        "primary": shard.primary,
        "address": address,
    });
    locate.connection.print(out, &answer, || {
        let mut sheet = Sheet::with_columns(&["key", "shard", "epoch", "primary", "address"]);
        sheet.rows.push(vec![
            output::text(&locate.key),
            output::text(&shard.id),
            output::text(format!("e{}", shard.epoch)),
            output::optional(shard.primary.as_deref()),
            output::optional(address),
        ]);
        sheet
    })
}

/// Whether the shard's range has the position, or the key is its name. Positions are texts of equal length, which sort as
/// the numbers do.
fn holds(shard: &Shard, key: &str, position: &str) -> bool {
    let Some(start) = &shard.start else {
        return shard.id == key;
    };
    start.as_str() <= position && shard.end.as_deref().is_none_or(|end| position < end)
}

fn run_move(command: &Move, out: &mut dyn Write) -> anyhow::Result<()> {
    let body = json!({
        "shard": command.shard,
        "keyspace": command.keyspace,
        "from": command.from,
        "to": command.to,
        "pin": !command.no_pin,
    });
    let said = format!("{} goes to {}", command.shard, command.to);
    let connection = &command.connection;
    let client = connection.client()?;
    let answer: Value = client.send(Method::POST, "/api/v1/move", &body)?;
    if let Some(id) = answer["operation"].as_str() {
        let operation: Received<Operation> = client.get(&op::path(id))?;
        return command.waiting.begun(connection, &operation, &said, out);
    }
    if connection.is_json() {
        Ok(output::write_json(out, &answer)?)
    } else {
        Ok(writeln!(out, "{said}")?)
    }
}

fn run_promote(promote: &Promote, out: &mut dyn Write) -> anyhow::Result<()> {
    let body = body_of(promote);
    let connection = &promote.connection;
    let client = connection.client()?;
    let answer: Value = client.send(Method::POST, "/api/v1/promote", &body)?;
    if connection.is_json() {
        return Ok(output::write_json(out, &answer)?);
    }
    let Promote { shard, to, .. } = promote;
    match answer["changes"].as_u64() {
        Some(0) => writeln!(out, "{to} is the primary of {shard} already")?,
        _ => writeln!(out, "{to} becomes the primary of {shard}")?,
    }
    Ok(())
}

fn body_of(promote: &Promote) -> Value {
    let mut body = json!({
        "shard": promote.shard,
        "keyspace": promote.keyspace,
        "node": promote.to,
        "force": promote.force,
    });
    if promote.no_pin {
        body["pin"] = false.into();
    }
    if let Some(shard) = &promote.accept_data_loss {
        body["accept_data_loss"] = shard.as_str().into();
        body["by"] = by(promote).into();
    }
    body
}

/// Who accepts a loss: as was said, or whoever is logged in.
fn by(promote: &Promote) -> String {
    let said = promote.by.clone();
    let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    said.or_else(user)
        .unwrap_or_else(|| "somebody at the command line".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        promote: Promote,
    }

    fn body(arguments: &[&str]) -> Result<Value, clap::Error> {
        let line = ["promote", "shard-0", "--to", "w3"].iter().chain(arguments);
        Ok(body_of(&Line::try_parse_from(line)?.promote))
    }

    #[test]
    fn a_loss_is_accepted_by_naming_the_shard_again() {
        let plain = body(&[]).unwrap();
        assert!(plain.get("accept_data_loss").is_none(), "{plain}");
        assert!(plain.get("pin").is_none(), "{plain}");
        assert_eq!(body(&["--no-pin"]).unwrap()["pin"], false);
        let accepts = body(&["--accept-data-loss", "shard-0", "--by", "Ada"]).unwrap();
        assert_eq!(accepts["accept_data_loss"], "shard-0");
        assert_eq!(
            (&accepts["by"], &accepts["force"]),
            (&json!("Ada"), &json!(false))
        );
        let unsaid = body(&["--accept-data-loss", "shard-0"]).unwrap();
        assert!(unsaid["by"].as_str().is_some_and(|by| !by.is_empty()));
        for refused in [
            &["--by", "Ada"][..],
            &["--accept-data-loss", "shard-0", "--force"],
        ] {
            assert!(body(refused).is_err(), "{refused:?}");
        }
    }
}
