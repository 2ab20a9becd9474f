//! `keys`: other names by which the keys of a database are found.

use std::{io::Write, path::PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use shardwright_sql::{Key, LookupForm, ShardedDatabase};

use crate::output::{self, ListingFormat, Sheet};

/// Add, list, replace, remove and find lookup keys.
///
/// A lookup key, such as email:jane@example.com, leads to the key of one record. By default only its HMAC is stored, under
/// the secret in the file `lookup.key` of the database.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  shardwright keys add shop user-1 email:jane@example.com name:jane --table users
  shardwright keys find shop email:jane@example.com --table users
  shardwright keys remove shop user-1 --table users")]
pub(crate) enum Command {
    /// Give a record more lookup keys.
    Add(Change),
    /// List what is stored of the lookup keys of a record.
    List(Record),
    /// Give a record these lookup keys, and take all others from it.
    Update(Change),
    /// Take all lookup keys from a record.
    Remove(Record),
    /// Print the key that a lookup key leads to.
    Find(Find),
}

/// A record, by its key or by a lookup key.
#[derive(Debug, Args)]
pub(crate) struct Record {
    /// The directory of the database.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// The key of the record, or one of its lookup keys.
    key: String,

    /// A table whose key this is.
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
}

/// Lookup keys for a record.
#[derive(Debug, Args)]
pub(crate) struct Change {
    #[command(flatten)]
    record: Record,

    /// The lookup keys.
    #[arg(required = true, value_name = "LOOKUP_KEY")]
    names: Vec<String>,

    /// What is stored of them.
    #[arg(long, value_enum, default_value_t)]
    form: Form,
}

/// A lookup key to be found.
#[derive(Debug, Args)]
pub(crate) struct Find {
    #[command(flatten)]
    record: Record,

    /// How the key is listed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

/// What is stored of lookup keys.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Form {
    /// Their HMAC-SHA-256 under the secret of the database.
    #[default]
    Hmac,
    /// Their SHA-256.
    Sha256,
    /// The lookup keys.
    Clear,
}

impl From<Form> for LookupForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Hmac => Self::Hmac,
            Form::Sha256 => Self::Sha256,
            Form::Clear => Self::Clear,
        }
    }
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::Add(change) | Command::Update(change) => {
            let record = &change.record;
            let database = super::open_with_directory(&record.directory, change.form.into())?;
            let names: Vec<&str> = change.names.iter().map(String::as_str).collect();
            let (table, key) = record.found(&database)?;
            if matches!(command, Command::Add(_)) {
                database.add_lookup_keys(table, key, &names)?;
            } else {
                database.replace_lookup_keys(table, key, &names)?;
            }
            let count = output::count(names.len() as u64, "lookup key");
            writeln!(out, "{count} of {}", record.key)?;
            Ok(database.close()?)
        }
        Command::Remove(record) => {
            let database = super::open_with_directory(&record.directory, LookupForm::default())?;
            let (table, key) = record.found(&database)?;
            database.remove_lookup_keys(table, key)?;
            writeln!(out, "no lookup keys of {}", record.key)?;
            Ok(database.close()?)
        }
        Command::List(record) => {
            let database = super::open_for_reading(&record.directory)?;
            let (table, key) = record.found(&database)?;
            for token in database.lookup_keys(table, key)? {
                writeln!(out, "{token}")?;
            }
            Ok(())
        }
        Command::Find(find) => self::find(find, out),
    }
}

fn find(find: &Find, out: &mut dyn Write) -> anyhow::Result<()> {
    let record = &find.record;
    let database = super::open_for_reading(&record.directory)?;
    let table = record.table.as_deref();
    let Some(key) = database.look_up(table, &record.key)? else {
        bail!("{} leads to no record", record.key);
    };
    let mut sheet = Sheet::with_columns(&["key", "shard"]);
    let shard = output::text(database.locate(table, &key)?);
    sheet.rows.push(vec![key.value().clone(), shard]);
    Ok(output::write_listing(out, find.output, &sheet)?)
}

impl Record {
    /// The key space and the key: a lookup key stands for the key that it leads to.
    fn found(&self, database: &ShardedDatabase) -> anyhow::Result<(Option<&str>, Key)> {
        let table = self.table.as_deref();
        let key = database.look_up(table, &self.key)?;
        Ok((table, key.unwrap_or_else(|| Key::new(self.key.as_str()))))
    }
}
