//! The same rows in one SQLite database in memory: what every answer has to equal.

use anyhow::Context as _;
use rusqlite::types::{ToSqlOutput, Value as SqlValue};
use rusqlite::{Connection, params_from_iter};
use shardwright_sql::Value;

use super::data::{SCHEMA, TABLES, Table};
use crate::interrupt::Interrupt;
use crate::output::Sheet;
use crate::values;

/// One SQLite database with all rows of the data set.
#[derive(Debug)]
pub(crate) struct Baseline(Connection);

impl Baseline {
    /// Creates the database in memory and loads it.
    pub(crate) fn load(interrupt: &Interrupt) -> anyhow::Result<Self> {
        let mut connection = Connection::open_in_memory().context("open SQLite in memory")?;
        connection
            .execute_batch(SCHEMA)
            .context("create the tables in SQLite")?;
        let transaction = connection.transaction()?;
        for table in &TABLES {
            insert(&transaction, table, interrupt)?;
        }
        transaction.commit()?;
        Ok(Self(connection))
    }

    /// Runs a query that has no parameters.
    pub(crate) fn answer(&self, sql: &str) -> anyhow::Result<Sheet> {
        let mut statement = self.0.prepare(sql).context("ask one SQLite file")?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let width = columns.len();
        let rows = statement
            .query_map([], |row| {
                (0..width)
                    .map(|index| Ok(values::of_sqlite(row.get_ref(index)?)))
                    .collect()
            })?
            .collect::<Result<_, _>>()?;
        Ok(Sheet { columns, rows })
    }
}

fn insert(connection: &Connection, table: &Table, interrupt: &Interrupt) -> anyhow::Result<()> {
    let mut statement = None;
    for row in table.rows() {
        interrupt.check()?;
        let row = row?;
        let statement = match &mut statement {
            Some(statement) => statement,
            empty @ None => {
                let places = vec!["?"; row.len()].join(", ");
                let sql = format!("INSERT INTO {} VALUES ({places})", table.name);
                empty.insert(connection.prepare(&sql)?)
            }
        };
        statement.execute(params_from_iter(row.into_iter().map(parameter)))?;
    }
    Ok(())
}

fn parameter(value: Value) -> ToSqlOutput<'static> {
    match value {
        Value::Null => ToSqlOutput::Owned(SqlValue::Null),
        Value::Integer(integer) => ToSqlOutput::Owned(SqlValue::Integer(integer)),
        Value::Real(real) => ToSqlOutput::Owned(SqlValue::Real(real)),
        Value::Text(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            ToSqlOutput::Owned(SqlValue::Text(text))
        }
        Value::Blob(bytes) => ToSqlOutput::Owned(SqlValue::Blob(bytes)),
    }
}
