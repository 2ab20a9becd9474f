//! `locate`: where the rows of a key live.

use std::io::Write;
use std::path::PathBuf;

use crate::output::{self, ListingFormat, Sheet};

/// Print the shard of a key.
///
/// Tables that are colocated share a key space; where the database has several, --table says which
/// one is meant. The key is read as the type of the table's shard-key column: 7 is a number in an
/// INTEGER column and text in a TEXT column.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright locate shop 7 --table orders
  shardwright locate flights N384HA --table planes")]
pub(crate) struct Arguments {
    /// The directory of the database.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// The key.
    key: String,

    /// A table whose key this is.
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,

    /// How the places are listed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let database = super::open_for_reading(&arguments.directory)?;
    let key = arguments.key.as_str();
    let shard = database.locate(arguments.table.as_deref(), key)?;
    let mut sheet = Sheet::with_columns(&["key", "shard"]);
    sheet
        .rows
        .push(vec![output::text(key), output::text(shard)]);
    Ok(output::write_listing(out, arguments.output, &sheet)?)
}
