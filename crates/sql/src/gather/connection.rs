//! The private in-memory SQLite, with every table of the schema as a virtual one.

use std::{ops::ControlFlow, rc::Rc, sync::Arc};

use rusqlite::Connection;
use shardwright_store::{Params, Row, Value};

use super::{execution::Execution, table};
use crate::{
    database::{own_value, sqlite_value},
    error::Error,
    schema::{Schema, quote_identifier},
};

/// How many steps of SQLite's machine go by between two looks at the clock.
const STEPS_PER_CHECK: i32 = 100_000;

#[derive(Debug)]
pub(super) struct GatherConnection {
    connection: Connection,
}

impl GatherConnection {
    pub(super) fn open(schema: &Arc<Schema>) -> Result<Self, Error> {
        let mut connection = Connection::open_in_memory().map_err(Error::from_sqlite)?;
        declare(&connection, schema).map_err(Error::from_sqlite)?;
        connection
            .progress_handler(
                STEPS_PER_CHECK,
                Some(|| {
                    Execution::current().is_ok_and(|execution| match execution.check_limits() {
                        Ok(()) => false,
                        Err(error) => {
                            execution.fail(error);
                            true
                        }
                    })
                }),
            )
            .map_err(Error::from_sqlite)?;
        Ok(Self { connection })
    }

    pub(super) fn query(
        &self,
        sql: &str,
        params: &Params<'_>,
        execution: &Rc<Execution>,
        mut visit: impl FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        execution.during(|| {
            let mut statement = self
                .connection
                .prepare_cached(sql)
                .map_err(Error::from_sqlite)?;
            for number in 1..=statement.parameter_count() {
                let name = statement.parameter_name(number).map(str::to_owned);
                let value = params
                    .value_of(number, name.as_deref())
                    .ok_or(Error::MissingParameter { number })?;
                statement
                    .raw_bind_parameter(number, sqlite_value(&value.to_value()))
                    .map_err(Error::from_sqlite)?;
            }
            let columns = statement.column_count();
            let mut rows = statement.raw_query();
            let mut values: Vec<Value> = Vec::with_capacity(columns);
            while let Some(row) = rows.next().map_err(Error::from_sqlite)? {
                values.clear();
                for column in 0..columns {
                    values.push(own_value(row.get_ref(column).map_err(Error::from_sqlite)?));
                }
                if visit(&Row::of_values(&values)).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}

fn declare(connection: &Connection, schema: &Arc<Schema>) -> rusqlite::Result<()> {
    let encoding = match schema.stored().encoding.as_str() {
        "" => "UTF-8",
        encoding => encoding,
    };
    connection.pragma_update(None, "encoding", encoding)?;
    connection.set_prepared_statement_cache_capacity(64);
    table::register(connection, schema)?;
    for table in schema.tables().filter(|table| table.module.is_none()) {
        let name = quote_identifier(&table.name);
        connection.execute_batch(&format!(
            "CREATE VIRTUAL TABLE {name} USING {}",
            table::MODULE
        ))?;
    }
    for object in schema
        .stored()
        .objects
        .iter()
        .filter(|object| object.kind == "view")
        .chain(schema.temporary_views())
    {
        connection.execute_batch(&object.sql)?;
    }
    Ok(())
}
