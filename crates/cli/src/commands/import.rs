//! `import`: an SQLite file as a new sharded database, or brought into a cluster.

mod cluster;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use shardwright_sql::Value;
use shardwright_sql::adopt::{self, AdoptOptions, ImportReport, Progress, Proposal, Step};
use shardwright_sql::schema::NullKeys;

use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::output::{self, ListingFormat, Sheet};
use crate::progress;

/// Make a sharded database of an SQLite file, or bring one into a cluster.
///
/// The file is only read. Each table is sharded by the first column of its primary key unless an
/// option or a foreign key says otherwise: tables that refer to each other are placed so that the
/// rows of one key share a shard. An import that was interrupted continues when it is run again.
///
/// With --node the database goes into a running cluster, whose tables it joins. Everything is read once first, and what the cluster would
/// refuse is said, also with --dry-run: virtual tables, rows whose foreign key finds nothing or that refer to each other in a circle, rows that
/// a CHECK does not allow, and rows of more than 8 MiB. Then come the tables, the rows in numbered INSERTs that happen once, and indexes, views
/// and triggers; in the end the counts are compared. There, a directory of shards can be brought in too. What has been acknowledged stands in
/// a journal, from which --resume goes on after an interruption if the database is the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright import shop.db --into shop --shards 8 --dry-run
  shardwright import shop.db --into shop --shards 8 --shard-key orders=customer_id
  shardwright import shop.db --into shop --shards 8 --reference countries --global settings
  shardwright import shop.db --node http://127.0.0.1:7557
  shardwright import shop --node http://10.0.0.7:7561,http://10.0.0.8:7561 --resume")]
pub(crate) struct Arguments {
    /// The SQLite file; with --node, also the directory of a sharded database.
    file: PathBuf,

    /// The directory of the new database, which must be empty or not exist.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "node",
        conflicts_with = "node"
    )]
    into: Option<PathBuf>,

    /// The number of shards.
    #[arg(
        long,
        value_name = "N",
        required_unless_present = "node",
        conflicts_with = "node"
    )]
    shards: Option<usize>,

    #[command(flatten)]
    cluster: Cluster,

    /// Go on with an import into a cluster that was interrupted.
    #[arg(long, requires = "node")]
    resume: bool,

    /// Where it is noted what the cluster has acknowledged, until everything is; by default NAME.import-journal in the current directory.
    #[arg(long, value_name = "FILE", requires = "node")]
    journal: Option<PathBuf>,

    /// Shard a table by this column.
    #[arg(long, value_name = "TABLE=COLUMN", value_parser = table_and_column)]
    shard_key: Vec<(String, String)>,

    /// Keep rows whose --shard-key is NULL together on one shard, instead of refusing them.
    #[arg(long)]
    keep_null_keys: bool,

    /// Keep a full copy of this table on every shard.
    #[arg(long, value_name = "TABLE")]
    reference: Vec<String>,

    /// Keep this table whole, on the catalog shard.
    #[arg(long, value_name = "TABLE")]
    global: Vec<String>,

    /// Say what each table would become, and why, and make nothing.
    #[arg(long)]
    dry_run: bool,

    /// How the tables are listed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    // The parser asks for both, unless there is a cluster.
    let (Some(into), Some(shards)) = (&arguments.into, arguments.shards) else {
        return cluster::run(arguments, out);
    };
    let target = Target { into, shards };
    let options = arguments.options()?;
    if arguments.dry_run {
        let proposal = adopt::inspect(&arguments.file, shards, &options)?;
        return arguments.print(target, &proposal, "would be", out);
    }
    let report = import(arguments, target, &options)?;
    let done = if report.resumed {
        "are now, after an interruption,"
    } else {
        "are now"
    };
    arguments.print(target, &report.proposal, done, out)
}

/// A directory for a new database.
#[derive(Clone, Copy)]
struct Target<'a> {
    into: &'a Path,
    shards: usize,
}

fn import(
    arguments: &Arguments,
    target: Target<'_>,
    options: &AdoptOptions,
) -> anyhow::Result<ImportReport> {
    let bar = progress::rows(0);
    let report = adopt::import(
        &arguments.file,
        target.into,
        target.shards,
        options,
        &mut |progress| show(&bar, progress),
    );
    bar.finish_and_clear();
    Ok(report?)
}

fn show(bar: &ProgressBar, progress: Progress<'_>) {
    let doing = match progress.step {
        Step::Reading => "reading",
        Step::Loading => progress.table.unwrap_or("loading"),
        Step::Indexing => "indexing",
        Step::Verifying => "verifying",
    };
    bar.set_message(doing.to_owned());
    bar.set_length(progress.total);
    bar.set_position(progress.rows);
}

impl Arguments {
    fn print(
        &self,
        target: Target<'_>,
        proposal: &Proposal,
        done: &str,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let mut sheet = sheet(proposal);
        let reasons = proposal.tables.iter().map(|table| table.reasons.join("; "));
        match self.output {
            ListingFormat::Json => {
                sheet.columns.push("why".to_owned());
                for (row, reasons) in sheet.rows.iter_mut().zip(reasons) {
                    row.push(output::text(reasons));
                }
                output::write_listing(out, self.output, &sheet)?;
            }
            ListingFormat::Table => {
                output::write_listing(out, self.output, &sheet)?;
                for (table, reasons) in proposal.tables.iter().zip(reasons) {
                    writeln!(out, "{}: {reasons}", table.name)?;
                }
                let rows = output::count(proposal.rows(), "row");
                let shards = output::count(target.shards as u64, "shard");
                writeln!(
                    out,
                    "{rows} {done} in {}, over {shards}.",
                    target.into.display()
                )?;
            }
        }
        Ok(warn(proposal)?)
    }

    fn options(&self) -> Result<AdoptOptions, Failure> {
        let mut named = BTreeSet::new();
        let sharded = self.shard_key.iter().map(|(table, _)| table);
        for table in sharded.chain(&self.reference).chain(&self.global) {
            if !named.insert(table.to_ascii_lowercase()) {
                return Err(Failure::ContradictoryOptions {
                    table: table.clone(),
                });
            }
        }
        Ok(AdoptOptions {
            shard_keys: self.shard_key.clone(),
            references: self.reference.clone(),
            globals: self.global.clone(),
            null_keys: if self.keep_null_keys {
                NullKeys::Keep
            } else {
                NullKeys::Refuse
            },
        })
    }
}

/// What each table becomes.
fn sheet(proposal: &Proposal) -> Sheet {
    let columns = ["table", "becomes", "shard_key", "colocated_with", "rows"];
    let mut sheet = Sheet::with_columns(&columns);
    for table in &proposal.tables {
        sheet.rows.push(vec![
            output::text(&table.name),
            output::text(table.kind()),
            table.key().map_or(Value::Null, output::text),
            table.colocated_with().map_or(Value::Null, output::text),
            output::number(table.rows),
        ]);
    }
    sheet
}

/// Says on standard error what the owner of the file should know.
fn warn(proposal: &Proposal) -> io::Result<()> {
    let mut err = io::stderr().lock();
    for table in &proposal.tables {
        for warning in &table.warnings {
            writeln!(err, "warning: {}: {warning}", table.name)?;
        }
    }
    for warning in &proposal.warnings {
        writeln!(err, "warning: {warning}")?;
    }
    Ok(())
}

pub(super) fn table_and_column(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((table, column)) if !table.is_empty() && !column.is_empty() => {
            Ok((table.to_owned(), column.to_owned()))
        }
        Some(_) | None => Err("write it as TABLE=COLUMN".to_owned()),
    }
}
