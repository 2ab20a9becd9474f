//! The form in which a schema is stored in the keyspace record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Declaration;

/// Everything that a schema is derived from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct StoredSchema {
    /// Tables, indexes, views and triggers, in the order of their creation.
    pub objects: Vec<SchemaObject>,
    /// Where the rows of each table live, by folded table name. Every table has an entry.
    pub declarations: BTreeMap<String, Declaration>,
    /// The text encoding of the files: `UTF-8`, `UTF-16le` or `UTF-16be`.
    pub encoding: String,
    /// `PRAGMA user_version` of the logical database.
    pub user_version: i32,
    /// `PRAGMA application_id` of the logical database.
    pub application_id: i32,
}

/// One row of the logical `sqlite_schema` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaObject {
    /// `table`, `index`, `view` or `trigger`.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// The table that it belongs to.
    pub table: String,
    /// The statement that creates it, as SQLite keeps it.
    pub sql: String,
}
