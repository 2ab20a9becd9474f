//! The columns of a table that make up its rows, for reading them from one file and writing them to another.

use rusqlite::{
    Row, Statement,
    types::{ToSqlOutput, ValueRef as SqliteValue},
};
use shardwright_hashing::Position;
use shardwright_store::ValueRef;

use crate::{
    key::KeyRules,
    schema::{Generated, Table, quote_identifier},
};

/// The columns of a table that are copied: the stored ones, after the rowid where that is no column.
#[derive(Debug)]
pub(crate) struct Columns {
    names: Vec<String>,
    /// The place of the shard key among them.
    key: Option<usize>,
    /// The place of the rowid among them, under whatever name.
    rowid: Option<usize>,
}

impl Columns {
    pub(crate) fn of(table: &Table) -> Self {
        let rowid = table
            .rowid_name()
            .filter(|_| table.rowid_alias.is_none())
            .map(str::to_owned);
        let mut key = None;
        let mut at = rowid.as_ref().map(|_| 0);
        let mut names: Vec<String> = rowid.into_iter().collect();
        for (index, column) in table.columns.iter().enumerate() {
            if column.generated == Generated::Ordinary {
                if table.shard_key().is_some_and(|key| key.column == index) {
                    key = Some(names.len());
                }
                if table.rowid_alias == Some(index) {
                    at = Some(names.len());
                }
                names.push(quote_identifier(&column.name));
            }
        }
        Self {
            names,
            key,
            rowid: at,
        }
    }

    /// Reads in the order of the rowid or primary key, in which appending is cheapest.
    pub(crate) fn select(&self, table: &Table) -> String {
        let order = self
            .rowid
            .map(|rowid| format!(" ORDER BY {}", self.names[rowid]))
            .unwrap_or_default();
        format!(
            "SELECT {} FROM main.{} NOT INDEXED{order}",
            self.names.join(", "),
            quote_identifier(&table.name)
        )
    }

    /// The place of the rowid in a row, if it can be read.
    pub(crate) fn rowid(&self) -> Option<usize> {
        self.rowid
    }

    pub(crate) fn insert(&self, table: &Table) -> String {
        format!(
            "INSERT INTO main.{}({}) VALUES ({})",
            quote_identifier(&table.name),
            self.names.join(", "),
            vec!["?"; self.names.len()].join(", ")
        )
    }

    /// The position of the row's key, if the table is sharded.
    pub(crate) fn key(&self, table: &Table, row: &Row<'_>) -> rusqlite::Result<Option<Position>> {
        let (Some(index), Some(key), Some(column)) =
            (self.key, table.shard_key(), table.key_column())
        else {
            return Ok(None);
        };
        let value = match row.get_ref(index)? {
            SqliteValue::Null => ValueRef::Null,
            SqliteValue::Integer(value) => ValueRef::Integer(value),
            SqliteValue::Real(value) => ValueRef::Real(value),
            SqliteValue::Text(bytes) => ValueRef::Text(bytes),
            SqliteValue::Blob(bytes) => ValueRef::Blob(bytes),
        };
        let position = KeyRules::from(column)
            .canonical(value)
            .position_in(&key.group);
        Ok(Some(position))
    }
}

/// Inserts a row as it was read, value by value.
pub(crate) fn copy(row: &Row<'_>, insert: &mut Statement<'_>) -> rusqlite::Result<()> {
    for column in 0..insert.parameter_count() {
        insert.raw_bind_parameter(column + 1, ToSqlOutput::Borrowed(row.get_ref(column)?))?;
    }
    insert.raw_execute().map(drop)
}
