//! `shards`: what the shards are and what they hold.

use std::io::Write;
use std::path::PathBuf;

use shardwright_sql::{CATALOG, ShardedDatabase, Value};

use crate::output::{self, ListingFormat, Sheet};

/// List the shards of a database.
///
/// A shard owns the positions from start up to end; a key's position is where its hash falls. The
/// catalog shard, which holds the global tables and owns no positions, is not listed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright shards shop
  shardwright shards shop -o json")]
pub(crate) struct Arguments {
    /// The directory of the database.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// How the shards are listed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let database = super::open_for_reading(&arguments.directory)?;
    Ok(output::write_listing(
        out,
        arguments.output,
        &sheet(&database)?,
    )?)
}

/// The shards, one a row, in the order of their ranges.
pub(crate) fn sheet(database: &ShardedDatabase) -> anyhow::Result<Sheet> {
    let mut sheet = Sheet::with_columns(&["id", "start", "end", "rows", "bytes", "file"]);
    for shard in database
        .shards()?
        .into_iter()
        .filter(|shard| shard.name != CATALOG)
    {
        sheet.rows.push(vec![
            output::text(shard.name),
            shard.start.map_or(Value::Null, output::text),
            shard.end.map_or(Value::Null, output::text),
            output::number(shard.rows),
            output::number(shard.bytes),
            shard
                .path
                .map_or(Value::Null, |path| output::text(path.display().to_string())),
        ]);
    }
    Ok(sheet)
}
