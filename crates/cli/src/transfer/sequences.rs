//! The numbers that AUTOINCREMENT has given out, where no row has the last one any more.
//!
//! A cluster learns of a number from a row that has it. So a row with the last number comes first, alone, and goes again.

use anyhow::Context as _;
use rusqlite::{Connection, OptionalExtension as _};
use shardwright_sql::{
    Value,
    schema::{Affinity, Generated, NullKeys, Schema, Table, quote_identifier},
};

use super::{batches::Batch, order, rows::Rows, survey::Reading};
use crate::values;

/// A row that has the last number of its table.
#[derive(Debug)]
pub(super) struct LastNumber {
    table: String,
    alias: String,
    last: i64,
    columns: Vec<String>,
    values: Vec<Value>,
}

/// The row that has to come first in a table, if the cluster would not learn from its rows which numbers AUTOINCREMENT has given out. `Err`
/// says why no such row can be made.
///
/// # Errors
/// When the database cannot be read.
pub(super) fn last_number(
    source: &Reading<'_>,
    table: &Table,
    rows: &Rows,
) -> anyhow::Result<Result<Option<LastNumber>, String>> {
    let connection = source.connection;
    let Some(alias) = table.rowid_alias.filter(|_| table.autoincrement) else {
        return Ok(Ok(None));
    };
    let context = || format!("read the last number of {}", table.name);
    let last = given_out(connection, table).with_context(context)?;
    let name = quote_identifier(&table.name);
    let column = quote_identifier(&table.columns[alias].name);
    let greatest = format!("SELECT coalesce(max({column}), 0) FROM main.{name}");
    let greatest: i64 = connection
        .query_row(&greatest, (), |row| row.get(0))
        .with_context(context)?;
    // Shards of a sharded table do not note the numbers that rows bring along.
    let is_sharded = table.shard_key().is_some();
    let is_needed = |last: &i64| greatest < *last || is_sharded && greatest == *last && *last != 0;
    let Some(last) = last.filter(is_needed) else {
        return Ok(Ok(None));
    };
    let made = make(source, table, rows, alias, last);
    Ok(match made.with_context(context)? {
        Ok(made) => Ok(Some(made)),
        // A row has it: that is as good, as long as the row is there.
        Err(_) if greatest == last => Ok(None),
        Err(why) => Err(format!(
            "AUTOINCREMENT has given out {last}, which no row has any more, and no row can be made that tells the cluster: {why}; give a \
             row that number, or remove the table from sqlite_sequence, in a copy of the file"
        )),
    })
}

/// Makes the row. `Err` says why there can be none.
fn make(
    source: &Reading<'_>,
    table: &Table,
    rows: &Rows,
    alias: usize,
    last: i64,
) -> rusqlite::Result<Result<LastNumber, String>> {
    let schema = source.schema;
    let mut keys = order::kept_keys(schema, table);
    if keys.any(|key| key.columns.contains(&alias) && !key.parent.eq_ignore_ascii_case(&table.name))
    {
        return Ok(Err("another table decides about its numbers".to_owned()));
    }
    let first = first_row(source.connection, rows)?;
    let is_empty = first.is_none();
    let (columns, values) = match first {
        Some(values) => (
            rows.columns.clone(),
            renumbered(schema, table, values, last),
        ),
        None => filler(table, last),
    };
    let row = LastNumber {
        table: quote_identifier(&table.name),
        alias: quote_identifier(&table.columns[alias].name),
        last,
        columns,
        values,
    };
    let [comes, _] = row.batches();
    // What a row of the table refers to is there; what is made up may refer to what is not.
    let taken = source.place.takes(table, &comes, is_empty);
    Ok(taken.map(|()| row).map_err(|error| error.to_string()))
}

impl LastNumber {
    /// The statements: the row comes, and goes.
    pub(super) fn batches(&self) -> [Batch; 2] {
        let comes = Batch {
            // A query, so that the cluster looks at each row by itself and notes its number.
            sql: format!(
                "INSERT INTO {} ({}) SELECT {}",
                self.table,
                self.columns.join(", "),
                vec!["?"; self.columns.len()].join(", ")
            ),
            args: self.values.clone(),
            rows: 0,
        };
        let goes = Batch {
            sql: format!("DELETE FROM {} WHERE {} = ?", self.table, self.alias),
            args: vec![Value::Integer(self.last)],
            rows: 0,
        };
        [comes, goes]
    }
}

fn given_out(connection: &Connection, table: &Table) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT max(seq) FROM main.sqlite_sequence WHERE name = ?1 COLLATE NOCASE AND typeof(seq) = 'integer'";
    connection.query_row(sql, [&table.name], |row| row.get(0))
}

/// The values of the row that comes first.
fn first_row(connection: &Connection, rows: &Rows) -> rusqlite::Result<Option<Vec<Value>>> {
    let mut statement = connection.prepare(&format!("{} LIMIT 1", rows.select))?;
    let width = rows.columns.len();
    let row = statement.query_row((), |row| {
        let values = (0..width).map(|column| Ok(values::of_sqlite(row.get_ref(column)?)));
        values.collect()
    });
    row.optional()
}

/// The row with another number. Where it refers to itself, it does so again.
fn renumbered(schema: &Schema, table: &Table, mut values: Vec<Value>, last: i64) -> Vec<Value> {
    let ordinary = table.columns.iter().enumerate();
    let ordinary = ordinary.filter(|(_, column)| column.generated == Generated::Ordinary);
    let places: Vec<usize> = ordinary.map(|(index, _)| index).collect();
    let value_of = |column: usize| places.iter().position(|place| *place == column);
    let alias = table.rowid_alias;
    let Some(own) = alias.and_then(value_of) else {
        return values;
    };
    let number = values[own].clone();
    for key in order::kept_keys(schema, table) {
        if !key.parent.eq_ignore_ascii_case(&table.name) {
            continue;
        }
        for (index, column) in key.columns.iter().enumerate() {
            let referred = match key.parent_columns.get(index) {
                Some(name) => table.resolve(name),
                None => table.primary_key.get(index).copied(),
            };
            if referred == alias
                && let Some(place) = value_of(*column)
                && values[place] == number
            {
                values[place] = Value::Integer(last);
            }
        }
    }
    values[own] = Value::Integer(last);
    values
}

/// A row of a table that has none: the number, and something where there has to be something.
fn filler(table: &Table, last: i64) -> (Vec<String>, Vec<Value>) {
    let key = table
        .shard_key()
        .filter(|key| key.nulls == NullKeys::Refuse);
    let ordinary = table.columns.iter().enumerate();
    let ordinary = ordinary.filter(|(_, column)| column.generated == Generated::Ordinary);
    let given = ordinary.filter_map(|(index, column)| {
        let name = quote_identifier(&column.name);
        if Some(index) == table.rowid_alias {
            return Some((name, Value::Integer(last)));
        }
        let is_key = key.is_some_and(|key| key.column == index);
        let is_needed = column.default.is_none() && (column.not_null || is_key);
        let value = match column.affinity {
            Affinity::Text => Value::from(""),
            Affinity::Blob => Value::Blob(Vec::new()),
            _ => Value::Integer(0),
        };
        is_needed.then_some((name, value))
    });
    given.unzip()
}
