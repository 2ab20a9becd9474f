//! `reassign`: another home for a key and all its rows.

use std::{io::Write, path::PathBuf};

use shardwright_sql::LookupForm;

use crate::output;

/// Move a key with all its rows to another shard.
///
/// The rows of every table of the key space move in one commit, and the directory of the database names the new home
/// from then on. A database without a directory gets one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright reassign shop 7 shard-2 --table customers")]
pub(crate) struct Arguments {
    /// The directory of the database.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// The key.
    key: String,

    /// The shard that becomes its home.
    shard: String,

    /// A table whose key this is.
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let database = super::open_with_directory(&arguments.directory, LookupForm::default())?;
    let key = arguments.key.as_str();
    let moved = database.reassign_shard(arguments.table.as_deref(), key, &arguments.shard)?;
    let rows = output::count(moved.rows, "row");
    writeln!(out, "{key}: {rows} from {} to {}", moved.from, moved.to)?;
    Ok(database.close()?)
}
