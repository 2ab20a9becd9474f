//! `shard stats`.

use std::io::Write;

use shardwright_sql::Value;

use crate::{
    client::{Connection, Received, Statistics},
    output::{self, Sheet},
};

/// Print how much the shards with ranges have and do.
///
/// Their nodes are asked at this moment. Rates are of about the last half minute; cpu is the part of one processor that works for the shard
/// where its primary is. What a node does not say is empty, with the reason.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright shard stats
  shardwright shard stats shard-0 -o json")]
pub(crate) struct Stats {
    /// Only this one.
    shard: Option<String>,

    #[command(flatten)]
    connection: Connection,
}

impl Stats {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let path = match &self.shard {
            Some(shard) => format!("/api/v1/stats?shard={shard}"),
            None => "/api/v1/stats".to_owned(),
        };
        let found: Vec<Received<Statistics>> = self.connection.client()?.get(&path)?;
        self.connection.print(out, &found, || sheet(&found))
    }
}

fn sheet(found: &[Received<Statistics>]) -> Sheet {
    let columns = [
        "shard",
        "primary",
        "rows",
        "bytes",
        "requests/s",
        "reads/s",
        "writes/s",
        "cpu",
        "operation",
        "error",
    ];
    let mut sheet = Sheet::with_columns(&columns);
    for shard in found {
        let rate = |rate: Option<f64>| rate.map(|rate| format!("{rate:.1}"));
        let requests = rate(shard.requests_per_second);
        let (reads, writes) = (rate(shard.reads_per_second), rate(shard.writes_per_second));
        let cpu = shard.cpu.map(|part| format!("{:.1}%", part * 100.0));
        sheet.rows.push(vec![
            output::text(&shard.shard),
            output::optional(shard.primary.as_deref()),
            shard.rows.map_or(Value::Null, output::number),
            shard.bytes.map_or(Value::Null, output::number),
            output::optional(requests.as_deref()),
            output::optional(reads.as_deref()),
            output::optional(writes.as_deref()),
            output::optional(cpu.as_deref()),
            output::optional(shard.operation.as_deref()),
            output::optional(shard.error.as_deref()),
        ]);
    }
    sheet
}
