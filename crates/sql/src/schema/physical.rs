//! The statements that create a table in the files of the shards.
//!
//! A shard enforces a foreign key only if the parent's row is in the same file. The clauses of the others are cut out
//! of the statement; everything else stays as its author wrote it.

mod clause;

use rusqlite::Connection;

use super::{ForeignKey, Schema, ShardKey, Table, TableKind, quote_identifier};
use crate::error::Error;

/// Whether the place that holds a row of `table` also holds the row that its foreign key refers to, and may follow
/// the key's actions by itself.
#[must_use]
pub fn is_enforceable(schema: &Schema, table: &Table, key: &ForeignKey) -> bool {
    // A parent that does not exist makes SQLite refuse writes, wherever the table is.
    let Some(parent) = schema.table(&key.parent) else {
        return true;
    };
    match (&table.kind, &parent.kind) {
        (_, TableKind::Reference) | (TableKind::Global, TableKind::Global) => true,
        (TableKind::Sharded(own), TableKind::Sharded(other)) => {
            own.group == other.group
                && !changes_columns(key)
                && refers_by_key(key, own, parent, other)
        }
        (TableKind::Sharded(_) | TableKind::Reference, TableKind::Global)
        | (TableKind::Reference | TableKind::Global, TableKind::Sharded(_)) => false,
    }
}

/// Whether an action of the foreign key may set the shard key to something else.
fn changes_columns(key: &ForeignKey) -> bool {
    [&key.on_delete, &key.on_update]
        .iter()
        .any(|action| action.to_ascii_uppercase().starts_with("SET"))
}

fn refers_by_key(key: &ForeignKey, own: &ShardKey, parent: &Table, other: &ShardKey) -> bool {
    let Some(position) = key.columns.iter().position(|column| *column == own.column) else {
        return false;
    };
    let referred = match key.parent_columns.get(position) {
        Some(name) => parent.resolve(name),
        None => parent.primary_key.get(position).copied(),
    };
    referred == Some(other.column)
}

/// Returns the statement that creates a table on its places: the stored one, without the foreign keys that no place
/// can enforce alone.
///
/// # Errors
/// [`Error::UnknownTable`] if the schema does not have the table, and what SQLite says of the statement.
pub fn create_statement(schema: &Schema, table: &str) -> Result<String, Error> {
    let unknown = || Error::UnknownTable {
        table: table.to_owned(),
    };
    let sql = schema
        .stored()
        .objects
        .iter()
        .find(|object| object.kind == "table" && object.name.eq_ignore_ascii_case(table))
        .map(|object| object.sql.as_str())
        .ok_or_else(unknown)?;
    let table = schema.table(table).ok_or_else(unknown)?;
    let kept: Vec<bool> = table
        .foreign_keys
        .iter()
        .map(|key| is_enforceable(schema, table, key))
        .collect();
    if kept.iter().all(|kept| *kept) {
        return Ok(sql.to_owned());
    }
    let clauses = clause::foreign_keys(sql);
    let mut result = sql.to_owned();
    for (clause, _) in clauses.iter().zip(&kept).filter(|(_, kept)| !**kept).rev() {
        result.replace_range(clause.clone(), " ");
    }
    check(table, &result, kept.iter().filter(|kept| **kept).count())?;
    Ok(result)
}

/// Asks SQLite whether the statement still creates the table, with so many foreign keys.
fn check(table: &Table, sql: &str, foreign_keys: usize) -> Result<(), Error> {
    let connection = Connection::open_in_memory().map_err(Error::from_sqlite)?;
    connection.execute_batch(sql).map_err(Error::from_sqlite)?;
    let is_right = connection
        .query_row(
            "SELECT (SELECT count(*) FROM pragma_table_xinfo(?1)) = ?2
             AND (SELECT count(DISTINCT id) FROM pragma_foreign_key_list(?1)) = ?3",
            (&table.name, table.columns.len() as i64, foreign_keys as i64),
            |row| row.get(0),
        )
        .map_err(Error::from_sqlite)?;
    if is_right {
        Ok(())
    } else {
        Err(Error::Unsupported {
            what: format!(
                "the way in which table {} states its foreign keys",
                quote_identifier(&table.name)
            ),
            hint: "state each foreign key on its own, after the columns",
        })
    }
}

#[cfg(test)]
mod tests;
