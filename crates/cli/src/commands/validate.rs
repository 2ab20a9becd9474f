//! `validate`: whether an SQLite file could be a shard.

use std::{io::Write, path::PathBuf};

use shardwright_sql::{
    Error,
    adopt::{self, AttachReport},
};

use crate::output::ListingFormat;

/// Check whether an SQLite file could be adopted as a shard.
///
/// The file is only read. Each table is listed with its key and its rows; what is in the way of adopting it is an error: a table without a
/// primary key, a key column that is not there, rows without a key, triggers, and foreign keys that several files could not keep.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright validate users.db
  shardwright validate users.db --tables users,posts --key posts=user_id -o json")]
pub(crate) struct Arguments {
    /// The SQLite file.
    file: PathBuf,

    #[command(flatten)]
    chosen: super::adopt::Chosen,

    /// How the tables are listed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let report = adopt::validate(&arguments.file, &arguments.chosen.options())?;
    super::adopt::print(&report, arguments.output, out)?;
    Ok(refuse(report)?)
}

/// The error for what is in the way, if anything is.
pub(super) fn refuse(report: AttachReport) -> Result<(), Error> {
    if report.problems.is_empty() {
        return Ok(());
    }
    Err(Error::NotAdoptable {
        problems: report.problems,
    })
}
