//! What migrations are made on: a directory, or a cluster.

use shardwright_sql::{SchemaStanding, ShardedDatabase, Value, schema::SchemaObject, shards::Call};

use super::{Migration, Note};
use crate::client::{SqlClient, Writing};

/// The table of the notes. It is whole, on the catalog shard.
const TABLE: &str = "shardwright_migrations";

/// How often a migration is tried whose answer was lost and that was not made.
const ATTEMPTS: usize = 5;

/// A database whose schema changes.
pub(crate) enum Target<'a> {
    Files(&'a ShardedDatabase),
    Nodes(&'a SqlClient),
}

impl Target<'_> {
    fn rows(&self, sql: &str) -> anyhow::Result<Vec<Vec<Value>>> {
        Ok(match self {
            Self::Files(database) => database.execute(sql, ())?.rows,
            Self::Nodes(client) => client.execute(sql, &[], Writing::Single)?.rows,
        })
    }

    /// What the schema has, without the table of the notes.
    pub(crate) fn objects(&self) -> anyhow::Result<Vec<SchemaObject>> {
        let sql = format!(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema
             WHERE sql IS NOT NULL AND tbl_name <> '{TABLE}'"
        );
        let objects = self.rows(&sql)?.into_iter().map(|row| {
            let mut texts = row.into_iter().map(text);
            let mut next = || texts.next().unwrap_or_default();
            SchemaObject {
                kind: next(),
                name: next(),
                table: next(),
                sql: next(),
            }
        });
        Ok(objects.collect())
    }

    /// Which changes each place has.
    pub(crate) fn standing(&self) -> anyhow::Result<SchemaStanding> {
        Ok(match self {
            Self::Files(database) => database.schema_standing(),
            Self::Nodes(client) => client.get("/v1/schema")?,
        })
    }

    fn has_notes(&self) -> anyhow::Result<bool> {
        let sql = format!("SELECT 1 FROM sqlite_schema WHERE name = '{TABLE}'");
        Ok(!self.rows(&sql)?.is_empty())
    }
}

/// What is noted.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn notes(target: &Target<'_>) -> anyhow::Result<Vec<Note>> {
    if !target.has_notes()? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT version, name, sha256, made FROM {TABLE} ORDER BY version");
    let notes = target.rows(&sql)?.into_iter().map(|row| {
        let mut values = row.into_iter();
        let version = values.next().and_then(|version| version.as_i64());
        let mut next = || values.next().map(text).unwrap_or_default();
        Note {
            version: version.map_or(0, i64::unsigned_abs),
            name: next(),
            sha256: next(),
            made: next(),
        }
    });
    Ok(notes.collect())
}

/// Makes a migration with its note: on all places or on none.
///
/// # Errors
/// What refuses it. Where the answer is lost, the notes say whether it was made.
pub(crate) fn make(target: &Target<'_>, migration: &Migration, now: &str) -> anyhow::Result<()> {
    let mut statements = Vec::new();
    if !target.has_notes()? {
        statements.push(format!(
            "CREATE TABLE {TABLE}(version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, made TEXT NOT NULL)
             /* shardwright: global */"
        ));
    }
    statements.extend(migration.statements.iter().cloned());
    statements.push(format!(
        "INSERT INTO {TABLE}(version, name, sha256, made) VALUES ({}, {}, {}, {})",
        migration.version,
        quoted(&migration.name),
        quoted(&migration.sha256),
        quoted(now)
    ));
    match target {
        Target::Files(database) => {
            let calls: Vec<Call<'_>> = statements.iter().map(|sql| Call::new(&**sql, ())).collect();
            Ok(database.execute_together(&calls).map(drop)?)
        }
        Target::Nodes(client) => {
            let mut attempts = 0;
            loop {
                attempts += 1;
                match client.execute_together(&statements) {
                    Ok(()) => return Ok(()),
                    Err(error) if error.is_timeout() => {
                        let is_it = |note: &Note| note.version == migration.version;
                        if notes(target)?.iter().any(is_it) {
                            return Ok(());
                        }
                        if attempts == ATTEMPTS {
                            return Err(error.into());
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn text(value: Value) -> String {
    match value {
        Value::Text(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => String::new(),
    }
}
