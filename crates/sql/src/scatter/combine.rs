//! The shards' rows as a table of a private SQLite, and the statement over it.

use std::ops::ControlFlow;

use rusqlite::Connection;
use shardwright_store::{Row, Value};

use super::{feed::Feed, functions};
use crate::{
    database::{own_value, sqlite_ref, sqlite_value},
    error::Error,
    meter::Meter,
    plan::{Combine, PARTS},
};

/// How many steps of SQLite's machine go by between two looks at the clock.
const STEPS_PER_CHECK: i32 = 100_000;

/// Shows the rows of the answer to `visit` until that breaks.
pub(super) fn show(
    combine: &Combine,
    params: &[Value],
    feeds: Vec<Feed>,
    meter: &Meter,
    visit: &mut dyn FnMut(&Row<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let connection = open(combine, meter).map_err(Error::from_sqlite)?;
    fill(&connection, combine, feeds, meter)?;
    let shown = answer(&connection, combine, params, visit);
    shown.map_err(|error| {
        meter
            .check()
            .err()
            .unwrap_or_else(|| Error::from_sqlite(error))
    })
}

/// A database without a name, which goes to a file of its own once it is larger than SQLite's cache.
fn open(combine: &Combine, meter: &Meter) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open("")?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    functions::register(&connection)?;
    connection.progress_handler(STEPS_PER_CHECK, Some(meter.alarm()))?;
    connection.execute_batch(&combine.table)?;
    Ok(connection)
}

fn fill(
    connection: &Connection,
    combine: &Combine,
    feeds: Vec<Feed>,
    meter: &Meter,
) -> Result<(), Error> {
    let transaction = connection
        .unchecked_transaction()
        .map_err(Error::from_sqlite)?;
    let marks = vec!["?"; combine.columns].join(", ");
    let mut insert = transaction
        .prepare(&format!("INSERT INTO {PARTS} VALUES ({marks})"))
        .map_err(Error::from_sqlite)?;
    for mut feed in feeds {
        let mut more = feed.begin(meter)?;
        while more {
            for (index, value) in feed.row().iter().enumerate() {
                insert
                    .raw_bind_parameter(index + 1, sqlite_ref(value))
                    .map_err(Error::from_sqlite)?;
            }
            insert.raw_execute().map_err(Error::from_sqlite)?;
            more = feed.advance(meter)?;
        }
    }
    drop(insert);
    transaction.commit().map_err(Error::from_sqlite)
}

fn answer(
    connection: &Connection,
    combine: &Combine,
    params: &[Value],
    visit: &mut dyn FnMut(&Row<'_>) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&combine.sql)?;
    for (index, value) in params.iter().enumerate().take(statement.parameter_count()) {
        statement.raw_bind_parameter(index + 1, sqlite_value(value))?;
    }
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    let mut values = Vec::with_capacity(columns);
    while let Some(row) = rows.next()? {
        values.clear();
        for column in 0..columns {
            values.push(own_value(row.get_ref(column)?));
        }
        if visit(&Row::of_values(&values)).is_break() {
            break;
        }
    }
    Ok(())
}
