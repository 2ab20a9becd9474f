//! `rebalance auto` and `rebalance status`.

use std::{io::Write, time::Duration};

use reqwest::Method;
use serde_json::json;

use super::PATH;
use crate::{
    client::{Balance, Connection, Execution, Received, Rules},
    failure::Failure,
    output::{self, Sheet},
};

/// How long between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(300);

/// Print how far the plan is that is being carried out, or was last, and what the leader does by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright rebalance status
  shardwright rebalance status -o json")]
pub(crate) struct Status {
    #[command(flatten)]
    connection: Connection,
}

/// Have the leader split hot shards, merge cold ones and move what is out of balance by itself, or not.
///
/// It is off in a new cluster. Each decision is an event with its reason. With --dry-run the leader decides and says so, and does nothing. The
/// setting is kept in the registry, so it outlives every coordinator.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright rebalance auto on --dry-run
  shardwright rebalance auto on
  shardwright rebalance auto status")]
pub(crate) struct Auto {
    /// What the leader is to do, or whether that is what is asked.
    #[arg(value_enum)]
    what: What,

    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    On,
    Off,
    Status,
}

impl Status {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let balance: Received<Balance> = self.connection.client()?.get(PATH)?;
        print(&self.connection, &balance, out)
    }
}

impl Auto {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let mode = match (self.what, self.dry_run) {
            (What::Status, _) => {
                let balance: Received<Balance> = client.get(PATH)?;
                return print(&self.connection, &balance, out);
            }
            (What::On, false) => "on",
            (What::On, true) => "dry-run",
            (What::Off, _) => "off",
        };
        let said = match mode {
            "on" => "the leader splits, merges and moves shards by itself",
            "dry-run" => "the leader says what it would do; `events` shows it",
            _ => "the leader does nothing by itself",
        };
        let (path, body) = (format!("{PATH}/auto"), json!({"mode": mode}));
        self.connection
            .change(out, Method::POST, &path, &body, said)
    }
}

fn print(
    connection: &Connection,
    balance: &Received<Balance>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    connection.print(out, balance, || {
        let mut sheet = Sheet::with_columns(&["what", "is"]);
        let mut say = |what: &str, is: String| {
            sheet.rows.push(vec![output::text(what), output::text(is)]);
        };
        say("automatic", balance.automatic.clone());
        rules(balance, &mut say);
        say("pinned", balance.pins.join(" "));
        if let Some(execution) = &balance.execution {
            say("plan", execution.id.clone());
            say("state", execution.state.clone());
            say("moves", progress(execution));
            for left in &execution.left {
                say(
                    "not done",
                    format!("{} {}: {}", left.kind, left.shard, left.why),
                );
            }
        }
        sheet
    })
}

/// When the leader does what, as it is set.
fn rules(balance: &Balance, say: &mut impl FnMut(&str, String)) {
    let Rules {
        lasting_seconds,
        cool_down_seconds,
        rest_seconds,
        shards_min,
        split,
        merge,
    } = &balance.rules;
    let (above, below) = (
        [
            Some(format!("{} bytes", output::grouped(split.bytes))),
            split
                .rows
                .map(|rows| format!("{} rows", output::grouped(rows))),
            Some(format!("{:.0} requests/s", split.requests_per_second)),
            Some(format!("{:.0} % of a processor", split.cpu * 100.0)),
        ],
        [
            format!("{} bytes", output::grouped(merge.bytes)),
            format!("{:.0} requests/s", merge.requests_per_second),
            format!("{:.0} % of a processor", merge.cpu * 100.0),
        ],
    );
    let above: Vec<_> = above.into_iter().flatten().collect();
    let (least, most) = (
        output::grouped(split.rows_min),
        output::grouped(merge.rows_max),
    );
    say("looks every", format!("{} s", balance.interval_seconds));
    say(
        "splits above",
        format!("{}; with {least} rows or more", above.join(", or ")),
    );
    say(
        "merges below",
        format!(
            "{}; up to {most} rows, down to {}",
            below.join(", and "),
            output::count(*shards_min, "shard")
        ),
    );
    say(
        "waits",
        format!(
            "until there was a reason for {lasting_seconds} s; {cool_down_seconds} s after a split or a merge, {rest_seconds} s after a move"
        ),
    );
}

/// How far a plan is, in words.
pub(super) fn progress(execution: &Execution) -> String {
    let Execution {
        moves,
        done,
        running,
        given_up,
        ..
    } = execution;
    let lost = match given_up {
        0 => String::new(),
        lost => format!(", {lost} given up"),
    };
    format!("{done} of {moves} done, {running} under way{lost}")
}

/// Prints how a plan has ended; it is a failure if anything is not done.
pub(super) fn ended(
    connection: &Connection,
    balance: &Received<Balance>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if connection.is_json() {
        output::write_json(out, balance)?;
    }
    let Some(execution) = &balance.execution else {
        return Ok(());
    };
    if execution.given_up > 0 {
        let left = execution.left.iter();
        let left: Vec<_> = left
            .map(|left| format!("{} {}: {}", left.kind, left.shard, left.why))
            .collect();
        let (plan, left) = (execution.id.clone(), left.join("; "));
        return Err(Failure::GivenUp { plan, left }.into());
    }
    if !connection.is_json() {
        writeln!(out, "{}", progress(execution))?;
    }
    Ok(())
}
