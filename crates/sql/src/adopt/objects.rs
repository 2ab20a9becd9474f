//! The schema of the file to adopt, as SQLite stores it.

use super::source::Source;
use crate::{
    error::Error,
    schema::{SchemaObject, StoredSchema},
};

/// Names that the files of a sharded database use themselves.
const RESERVED: [&str; 7] = {
    let [meta, position, outcomes] = shardwright_store::SYSTEM_TABLES;
    [
        meta,
        position,
        outcomes,
        "_sequence",
        "_directory",
        "_lookup",
        "_lookup_of",
    ]
};

/// Reads tables, indexes, views and triggers in the order of their creation, without declarations. What SQLite makes
/// by itself is left out: its own tables, the indexes of constraints, and the tables behind virtual tables.
pub(super) fn read(source: &Source) -> Result<StoredSchema, Error> {
    let sqlite = source.connection();
    let mut statement = sqlite
        .prepare(
            "SELECT type, name, tbl_name, sql FROM main.sqlite_schema
             WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
             AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
             AND tbl_name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow')
             ORDER BY rowid",
        )
        .map_err(|error| source.error(error))?;
    let objects = statement
        .query_map((), |row| {
            Ok(SchemaObject {
                kind: row.get(0)?,
                name: row.get(1)?,
                table: row.get(2)?,
                sql: row.get(3)?,
            })
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(|error| source.error(error))?;
    if let Some(object) = objects.iter().find(|object| is_reserved(&object.name)) {
        return Err(Error::Unsupported {
            what: format!("a {} named {}", object.kind, object.name),
            hint: "rename it in a copy of the file; shard files use that name themselves",
        });
    }
    let pragma = |name| {
        sqlite
            .pragma_query_value(None, name, |row| row.get::<_, i32>(0))
            .map_err(|error| source.error(error))
    };
    Ok(StoredSchema {
        objects,
        encoding: sqlite
            .pragma_query_value(None, "encoding", |row| row.get(0))
            .map_err(|error| source.error(error))?,
        user_version: pragma("user_version")?,
        application_id: pragma("application_id")?,
        ..StoredSchema::default()
    })
}

fn is_reserved(name: &str) -> bool {
    RESERVED
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(name))
}
