//! Where the rows of tables belong, for who divides a shard's data without an engine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_hashing::Position;
use shardwright_registry::KeyspaceRecord;
use shardwright_store::ValueRef;

use crate::{
    database::{last_broadcast, stored_schema},
    error::Error,
    key::KeyRules,
    schema::{Generated, Schema, Table, fold},
};

/// The sharded tables of a keyspace at one schema. Of every other table a shard has all rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The number of the last [broadcast](crate::shards::BROADCAST_KEY) that the schema includes.
    pub number: u64,
    tables: BTreeMap<String, PlacedTable>,
}

/// A sharded table: what leads from a row to its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedTable {
    /// Its name, as it was declared.
    pub name: String,
    /// The column of the shard key.
    pub column: String,
    /// Which of the columns that a row stores that is, from 0: generated columns do not count.
    pub stored: usize,
    rules: KeyRules,
    group: String,
}

impl Placement {
    /// Reads the placement that the record of a keyspace describes.
    ///
    /// # Errors
    /// [`Error::BadSchemaRecord`], and [`Error::Unsupported`] if a shard key is not stored, as in a virtual table.
    pub fn of(record: &KeyspaceRecord) -> Result<Self, Error> {
        let schema = Schema::derive(stored_schema(record.schema.clone())?)?;
        let mut tables = BTreeMap::new();
        for table in schema.tables() {
            if let Some(placed) = placed(table)? {
                tables.insert(fold(&table.name), placed);
            }
        }
        Ok(Self {
            number: last_broadcast(record),
            tables,
        })
    }

    /// Returns a sharded table by its name; `None` if a shard has all of the table's rows.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&PlacedTable> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.tables.get(&fold(name))
        } else {
            self.tables.get(name)
        }
    }

    /// Returns the sharded tables, in the order of their names.
    pub fn tables(&self) -> impl Iterator<Item = &PlacedTable> {
        self.tables.values()
    }
}

impl PlacedTable {
    /// Returns where a row belongs whose shard key has that value.
    #[must_use]
    pub fn position(&self, key: ValueRef<'_>) -> Position {
        self.rules.canonical(key).position_in(&self.group)
    }
}

fn placed(table: &Table) -> Result<Option<PlacedTable>, Error> {
    let Some((key, column)) = table.shard_key().zip(table.key_column()) else {
        return Ok(None);
    };
    if table.module.is_some() || column.generated != Generated::Ordinary {
        return Err(Error::Unsupported {
            what: format!("dividing the rows of table {}", table.name),
            hint: "a shard can be divided if its shard keys are ordinary columns of ordinary tables",
        });
    }
    let before = &table.columns[..key.column];
    let stored = before
        .iter()
        .filter(|column| column.generated == Generated::Ordinary);
    Ok(Some(PlacedTable {
        name: table.name.clone(),
        column: column.name.clone(),
        stored: stored.count(),
        rules: KeyRules::from(column),
        group: key.group.clone(),
    }))
}
