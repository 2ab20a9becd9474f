//! `rebalance`: what is out of balance, and what is done about it.

use std::io::Write;

use reqwest::Method;
use serde_json::json;
use shardwright_sql::Value;

use crate::{
    client::{Connection, Lack, Plan, Received},
    output::{self, Sheet},
};

/// Show what the leader plans to move, or have it plan anew.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Plan(Box<Show>),
    Apply(Box<Apply>),
}

/// Print what the leader plans and has not begun.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright rebalance plan
  shardwright rebalance plan -o json")]
pub(crate) struct Show {
    #[command(flatten)]
    connection: Connection,
}

/// Have the leader plan and begin at once, without waiting until the cluster has calmed down.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright rebalance apply")]
pub(crate) struct Apply {
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::Plan(show) => run_plan(show, out),
        Command::Apply(apply) => run_apply(apply, out),
    }
}

fn run_plan(show: &Show, out: &mut dyn Write) -> anyhow::Result<()> {
    let plan: Received<Plan> = show.connection.client()?.get("/api/v1/plans")?;
    show.connection.print(out, &plan, || sheet(&plan))
}

/// The moves, and then what no move can mend.
fn sheet(plan: &Plan) -> Sheet {
    let mut sheet = Sheet::with_columns(&["keyspace", "shard", "what", "from", "to", "why"]);
    let moves = plan.moves.iter().map(|step| {
        let shard = (step.keyspace.as_str(), step.shard.as_str());
        let (from, to) = (step.from.as_deref(), step.to.as_deref());
        row(Some(shard), &step.kind, from, to, &step.reason)
    });
    sheet.rows.extend(moves);
    let lacking = |lack: &Lack, why: &str| {
        let shard = (lack.keyspace.as_str(), lack.shard.as_str());
        let why = format!("{} of {} {why}", lack.has, lack.wants);
        row(Some(shard), NOTHING, None, None, &why)
    };
    let few = plan.under_replicated.iter();
    let few = few.map(|lack| lacking(lack, "copies, and no node may take more"));
    let crowded = plan.crowded.iter();
    let crowded = crowded.map(|lack| lacking(lack, "zones or regions, and no node of another"));
    let stuck = plan.stuck.iter().map(|stuck| {
        let shard = (stuck.keyspace.as_str(), stuck.shard.as_str());
        let why = "it is to leave, and is pinned or no other node may take it";
        row(Some(shard), NOTHING, Some(&stuck.node), None, why)
    });
    let refused = plan.refused.iter().map(|refused| {
        let named = refused.partition.as_ref();
        let shard = named.map(|named| (named.keyspace.as_str(), named.shard.as_str()));
        let why = format!("the sharder would not plan: {}", refused.code);
        row(shard, NOTHING, refused.node.as_deref(), None, &why)
    });
    let unmended = few.chain(crowded).chain(stuck).chain(refused);
    sheet.rows.extend(unmended);
    sheet
}

/// What is done about what no move can mend.
const NOTHING: &str = "nothing";

fn row(
    shard: Option<(&str, &str)>,
    what: &str,
    from: Option<&str>,
    to: Option<&str>,
    why: &str,
) -> Vec<Value> {
    vec![
        output::optional(shard.map(|(keyspace, _)| keyspace)),
        output::optional(shard.map(|(_, shard)| shard)),
        output::text(what),
        output::optional(from),
        output::optional(to),
        output::text(why),
    ]
}

fn run_apply(apply: &Apply, out: &mut dyn Write) -> anyhow::Result<()> {
    let connection = &apply.connection;
    let said = "the leader plans anew; `rebalance plan` shows what is left";
    connection.change(out, Method::POST, "/api/v1/rebalance", &json!({}), said)
}
