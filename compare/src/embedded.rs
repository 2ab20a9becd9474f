//! The embedded engine as the test kit sees a database.

use std::path::Path;

use shardwright_sql::{CreateOptions, Error, Options, Session, ShardedDatabase};
use shardwright_store as store;
use shardwright_testkit::{Answer, Database, Failure, FailureKind, Value};
use tempfile::TempDir;

/// A sharded database in a directory that goes away with it, and one session on it.
#[derive(Debug)]
pub struct Embedded {
    // The session goes first: it holds the files.
    session: Session,
    _directory: TempDir,
}

impl Embedded {
    /// An empty database of `shards` shards, in a new directory below `parent` or where the system has temporary files. Nothing of it
    /// survives a power failure, and writes to several shards happen on all of them or on none.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be made.
    pub fn create(parent: Option<&Path>, shards: usize) -> anyhow::Result<Self> {
        let directory = match parent {
            Some(parent) => TempDir::new_in(parent)?,
            None => TempDir::new()?,
        };
        let options = CreateOptions {
            shards,
            options: Options {
                synchronous: store::Synchronous::Off,
                ..Options::default()
            },
            ..CreateOptions::default()
        };
        let database = ShardedDatabase::create(directory.path().join("db"), &options)?;
        Ok(Self {
            session: database.session(),
            _directory: directory,
        })
    }

    /// A session on `database`, whose files are in `directory`.
    #[must_use]
    pub fn over(database: &ShardedDatabase, directory: TempDir) -> Self {
        Self {
            session: database.session(),
            _directory: directory,
        }
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.session.in_transaction()
    }
}

impl Database for Embedded {
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<Answer, Failure> {
        let params = params_of(params);
        let answer = self.session.execute(sql, &params);
        answer.map(answer_of).map_err(|error| failure_of(&error))
    }
}

/// Parameters in the engine's terms.
#[must_use]
pub fn params_of(params: &[Value]) -> Vec<store::Value> {
    params.iter().map(to_store).collect()
}

/// An answer of the engine's in the test kit's terms.
#[must_use]
pub fn answer_of(answer: shardwright_sql::Answer) -> Answer {
    let columns = answer.columns.into_iter().map(|column| column.name);
    let rows = answer.rows.into_iter();
    Answer {
        columns: columns.collect(),
        rows: rows
            .map(|row| row.into_iter().map(from_store).collect())
            .collect(),
        changes: Some(answer.changes),
    }
}

/// A failure of the engine's in the test kit's terms; its message begins with the code.
///
/// A shard keeps a foreign key only where both rows are in one file, so such a failure is a rule of the sharded
/// database and not of the one that it is compared with.
#[must_use]
pub fn failure_of(error: &Error) -> Failure {
    let message = error.to_string();
    let (code, kind) = match error.code() {
        code if error.is_refusal() => (code, FailureKind::Refused),
        "CONSTRAINT" if message.starts_with("FOREIGN KEY") => ("FOREIGN_KEY", FailureKind::Refused),
        code @ "CONSTRAINT" => (code, FailureKind::Constraint),
        code @ ("LIMIT_REACHED" | "INTERRUPTED") => (code, FailureKind::Exhausted),
        code => (code, FailureKind::Sql),
    };
    Failure {
        kind,
        message: format!("{code}: {message}"),
    }
}

fn to_store(value: &Value) -> store::Value {
    match value.clone() {
        Value::Null => store::Value::Null,
        Value::Integer(integer) => store::Value::Integer(integer),
        Value::Real(real) => store::Value::Real(real),
        Value::Text(bytes) => store::Value::Text(bytes),
        Value::Blob(bytes) => store::Value::Blob(bytes),
    }
}

fn from_store(value: store::Value) -> Value {
    match value {
        store::Value::Null => Value::Null,
        store::Value::Integer(integer) => Value::Integer(integer),
        store::Value::Real(real) => Value::Real(real),
        store::Value::Text(bytes) => Value::Text(bytes),
        store::Value::Blob(bytes) => Value::Blob(bytes),
    }
}
