//! `adopt`: existing SQLite files as the shards of a database, in place.

use std::{io::Write, path::PathBuf};

use shardwright_sql::adopt::{self, AttachOptions, AttachReport, ShardSource};

use crate::output::{self, ListingFormat, Sheet};

/// Make existing SQLite files the shards of a database, in place.
///
/// The directory gets a link to each file, and every row stays in its file and is found there by its key. A file gets the tables that only
/// others have, empty, and what the database needs; --rollback takes all of it out again. From then on, only the database may write to
/// the files. Files that hold rows of the same key are refused, and so is whatever else would make a row impossible to find; --dry-run says
/// everything that is in the way. An adoption that was interrupted is taken back and made again when it is run again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright adopt college db-users=users.db db-orders=orders.db db-new --dry-run
  shardwright adopt college db-users=users.db db-orders=orders.db --key posts=user_id
  shardwright adopt college --rollback")]
pub(crate) struct Arguments {
    /// The directory of the new database, which must be empty or not exist.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// The shards: a name and a file, or the name alone of a new one.
    #[arg(value_name = "NAME=FILE", required_unless_present = "rollback", value_parser = source)]
    shards: Vec<ShardSource>,

    #[command(flatten)]
    chosen: Chosen,

    /// Say what would become of the files, and what is in the way, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// Make of the files what they were, and remove the directory. Refused if rows would be lost.
    #[arg(long, conflicts_with_all = ["shards", "dry_run"])]
    rollback: bool,

    /// How the tables are listed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

/// What is adopted of the files.
#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    /// Adopt only these tables.
    #[arg(long, value_name = "TABLE", value_delimiter = ',')]
    tables: Vec<String>,

    /// The column of a table's key, where it is not the first of its primary key.
    #[arg(long, visible_alias = "pk", value_name = "TABLE=COLUMN", value_parser = super::import::table_and_column)]
    key: Vec<(String, String)>,
}

impl Chosen {
    pub(super) fn options(&self) -> AttachOptions {
        AttachOptions {
            tables: self.tables.clone(),
            keys: self.key.clone(),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the form of a parser")]
fn source(text: &str) -> Result<ShardSource, String> {
    Ok(match text.split_once('=') {
        Some((name, file)) => ShardSource {
            name: name.to_owned(),
            file: Some(file.into()),
        },
        None => ShardSource {
            name: text.to_owned(),
            file: None,
        },
    })
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let directory = &arguments.directory;
    if arguments.rollback {
        adopt::detach(directory)?;
        writeln!(
            out,
            "the files are what they were; {} is gone",
            directory.display()
        )?;
        return Ok(());
    }
    let options = arguments.chosen.options();
    let report = if arguments.dry_run {
        adopt::inspect_attach(&arguments.shards, &options)?
    } else {
        adopt::attach(directory, &arguments.shards, &options)?
    };
    print(&report, arguments.output, out)?;
    Ok(super::validate::refuse(report)?)
}

/// Prints the tables, and in a listing for people also what else is to say.
pub(super) fn print(
    report: &AttachReport,
    format: ListingFormat,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut columns = vec!["table", "key"];
    columns.extend(report.shards.iter().map(String::as_str));
    let mut sheet = Sheet::with_columns(&columns);
    for table in &report.tables {
        let mut row = vec![
            output::text(&table.name),
            output::optional(table.key.as_deref()),
        ];
        row.extend(table.rows_by_shard.iter().map(|rows| output::number(*rows)));
        sheet.rows.push(row);
    }
    output::write_listing(out, format, &sheet)?;
    if format == ListingFormat::default() {
        let entries = output::count(report.entries, "key");
        writeln!(
            out,
            "{entries} elsewhere than their hash says, in the directory of keys"
        )?;
        for left in &report.left {
            writeln!(out, "left alone: {left}")?;
        }
    }
    Ok(())
}
