//! `export`: a sharded database back as one SQLite file.

use std::io::Write;
use std::path::PathBuf;

use shardwright_sql::ShardedDatabase;

use crate::{output, progress};

/// Write a sharded database to one SQLite file.
///
/// The file gets the tables, indexes, views and triggers, and all rows. It must not exist.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright export shop shop.db
  sqlite3 shop.db 'SELECT count(*) FROM orders'")]
pub(crate) struct Arguments {
    /// The directory of the database.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// The SQLite file to write.
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let database = super::open_for_reading(&arguments.directory)?;
    let bar = progress::rows(rows_of(&database)?);
    let report = database.export(&arguments.file, &mut |progress| {
        bar.set_message(progress.table.unwrap_or("checking").to_owned());
        bar.set_position(progress.rows);
    });
    bar.finish_and_clear();
    let report = report?;
    let rows = output::count(report.rows, "row");
    let tables = output::count(report.tables as u64, "table");
    writeln!(
        out,
        "{rows} of {tables} are now in {}.",
        arguments.file.display()
    )?;
    Ok(())
}

/// The rows of all places. Reference tables count once per place, so the bar may end early.
fn rows_of(database: &ShardedDatabase) -> anyhow::Result<u64> {
    Ok(database.shards()?.iter().map(|shard| shard.rows).sum())
}
