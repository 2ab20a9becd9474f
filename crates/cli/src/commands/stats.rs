//! `stats`: what each shard of a database has.

use std::{io::Write, path::PathBuf};

use crate::output::{self, ListingFormat, Sheet};

/// Count the keys, rows and bytes of each shard.
///
/// Keys are the entries of the directory: those whose home is not left to their hash.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright stats shop -o json")]
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
    let mut sheet = Sheet::with_columns(&["shard", "keys", "rows", "bytes"]);
    for shard in database.shard_stats()? {
        sheet.rows.push(vec![
            output::text(shard.name),
            output::number(shard.keys),
            output::number(shard.rows),
            output::number(shard.bytes),
        ]);
    }
    Ok(output::write_listing(out, arguments.output, &sheet)?)
}
