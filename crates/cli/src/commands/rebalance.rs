//! `rebalance`: what is out of balance, what is done about it, and what the leader does by itself.

mod apply;
mod auto;
mod plan;

use std::io::Write;

use reqwest::Method;
use serde_json::json;

use crate::client::Connection;

/// Plan moves by load, carry them out, or leave that to the leader.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Plan(Box<plan::Show>),
    Apply(Box<apply::Apply>),
    Status(Box<auto::Status>),
    Cancel(Box<Cancel>),
    Auto(Box<auto::Auto>),
    Pin(Box<Pin>),
    Unpin(Box<Unpin>),
}

/// Begin no further move of the plan that is being carried out.
///
/// Moves that have begun go on to their ends; `op cancel` ends one without effect.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright rebalance cancel")]
pub(crate) struct Cancel {
    #[command(flatten)]
    connection: Connection,
}

/// Have no plan move a shard that nodes keep.
///
/// A shard that somebody moves, or whose primary they name, is pinned to where it was put, unless they say otherwise. What is split from a pinned shard
/// is pinned, and what is merged from pinned ones only.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright rebalance pin shard-0")]
pub(crate) struct Pin {
    /// The shard.
    shard: String,

    #[command(flatten)]
    connection: Connection,
}

/// Let plans move a shard again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright rebalance unpin shard-0")]
pub(crate) struct Unpin {
    /// The shard.
    shard: String,

    #[command(flatten)]
    connection: Connection,
}

/// Where the balance is asked for.
const PATH: &str = "/api/v1/rebalance";

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::Plan(show) => show.run(out),
        Command::Apply(apply) => apply.run(out),
        Command::Status(status) => status.run(out),
        Command::Cancel(cancel) => {
            let path = format!("{PATH}/cancel");
            let said = "no further move begins; those that have begun go on";
            let connection = &cancel.connection;
            connection.change(out, Method::POST, &path, &json!({}), said)
        }
        Command::Auto(auto) => auto.run(out),
        Command::Pin(command) => pin(&command.connection, &command.shard, true, out),
        Command::Unpin(command) => pin(&command.connection, &command.shard, false, out),
    }
}

fn pin(
    connection: &Connection,
    shard: &str,
    pinned: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let said = match pinned {
        true => format!("{shard} stays where it is"),
        false => format!("plans may move {shard}"),
    };
    let (path, body) = (
        format!("{PATH}/pins"),
        json!({"shard": shard, "pinned": pinned}),
    );
    connection.change(out, Method::POST, &path, &body, &said)
}
