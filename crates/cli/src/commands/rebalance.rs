//! `rebalance`: what is out of balance, and what is done about it.

use std::io::Write;

use reqwest::Method;
use serde_json::json;

use crate::{
    client::{Connection, Plan},
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
    let plan: Plan = show.connection.client()?.get("/api/v1/plans")?;
    show.connection.print(out, &plan, || sheet(&plan))
}

fn sheet(plan: &Plan) -> Sheet {
    let mut sheet = Sheet::with_columns(&["keyspace", "shard", "what", "from", "to", "why"]);
    let mut row = |keyspace: &str, shard: &str, what: &str, from, to, why: &str| {
        sheet.rows.push(vec![
            output::text(keyspace),
            output::text(shard),
            output::text(what),
            output::optional(from),
            output::optional(to),
            output::text(why),
        ]);
    };
    for step in &plan.moves {
        let (from, to) = (step.from.as_deref(), step.to.as_deref());
        row(
            &step.keyspace,
            &step.shard,
            &step.kind,
            from,
            to,
            &step.reason,
        );
    }
    for lack in &plan.under_replicated {
        let why = format!(
            "{} of {} copies, and no node may take more",
            lack.has, lack.wants
        );
        row(&lack.keyspace, &lack.shard, "nothing", None, None, &why);
    }
    sheet
}

fn run_apply(apply: &Apply, out: &mut dyn Write) -> anyhow::Result<()> {
    let connection = &apply.connection;
    let said = "the leader plans anew; `rebalance plan` shows what is left";
    connection.change(out, Method::POST, "/api/v1/rebalance", &json!({}), said)
}
