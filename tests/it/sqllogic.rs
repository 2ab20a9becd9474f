//! The scripts of `slt/`, each against sharded databases, and against one SQLite database, so that the scripts
//! themselves are known to be right.

use crate::sharded::{Sharded, Storage};
use shardwright_testkit::{Answer, Database, Failure, ForeignKeys, Oracle, Value};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};
use std::{fmt, path::PathBuf};

/// Runs scripts on any database of the test kit.
#[derive(Debug)]
pub(crate) struct Scripted<D> {
    database: D,
    engine: &'static str,
}

impl<D> Scripted<D> {
    pub(crate) fn new(database: D, engine: &'static str) -> Self {
        Self { database, engine }
    }
}

impl<D: Database> DB for Scripted<D> {
    type Error = ScriptError;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, ScriptError> {
        let answer = self.database.execute(sql, &[]).map_err(ScriptError)?;
        Ok(output(&answer))
    }

    fn engine_name(&self) -> &str {
        self.engine
    }
}

fn output(answer: &Answer) -> DBOutput<DefaultColumnType> {
    if answer.columns.is_empty() {
        return DBOutput::StatementComplete(answer.changes.unwrap_or_default());
    }
    let rows = answer
        .rows
        .iter()
        .map(|row| row.iter().map(shown).collect())
        .collect();
    DBOutput::Rows {
        types: vec![DefaultColumnType::Any; answer.columns.len()],
        rows,
    }
}

/// Text as it is, everything else as its literal.
fn shown(value: &Value) -> String {
    match value {
        Value::Text(bytes) if bytes.is_empty() => "(empty)".to_owned(),
        Value::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => value.literal(),
    }
}

/// A failure as a script's `statement error` sees it.
#[derive(Debug)]
pub(crate) struct ScriptError(Failure);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ScriptError {}

/// The scripts in a fixed order.
pub(crate) fn scripts() -> Vec<PathBuf> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/slt");
    let entries = std::fs::read_dir(directory).expect("the scripts are in the repository");
    let paths = entries.map(|entry| entry.expect("the directory can be read").path());
    let mut scripts: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "slt"))
        .collect();
    scripts.sort();
    scripts
}

fn pass_every_script<D: Database + Send>(engine: &'static str, open: impl Fn() -> D) {
    let scripts = scripts();
    assert!(
        scripts.len() >= 10,
        "only {} scripts were found",
        scripts.len()
    );
    let mut failed = Vec::new();
    for script in scripts {
        let mut runner = Runner::new(async || Ok(Scripted::new(open(), engine)));
        if let Err(error) = runner.run_file(&script) {
            failed.push(error.to_string());
        }
    }
    assert!(failed.is_empty(), "{engine}:\n{}", failed.join("\n\n"));
}

#[test]
fn one_sqlite_database_passes_every_script() {
    pass_every_script("sqlite", || {
        Oracle::in_memory(ForeignKeys::Enforced).expect("an empty database")
    });
}

#[test]
fn one_shard_passes_every_script() {
    pass_every_script("sharded", || Sharded::create(1));
}

#[test]
fn three_shards_pass_every_script() {
    pass_every_script("sharded", || Sharded::create(3));
}

#[test]
fn sixteen_shards_pass_every_script() {
    pass_every_script("sharded", || Sharded::create(16));
}

#[test]
fn five_shards_behind_channels_pass_every_script() {
    pass_every_script("sharded", || Sharded::create_on(Storage::Channels, 5));
}
