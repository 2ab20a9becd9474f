//! Reading the schema alone, as a client asks for it.
//!
//! Such a statement runs on empty databases that are there for nothing else: planning waits for none of them, however long it takes.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use rusqlite::{Connection, ErrorCode};
use shardwright_store::{Params, Value};

use super::{
    Limits,
    collect::Collected,
    read::{own_value, sqlite_value},
};
use crate::{
    error::Error,
    schema::{Schema, open_copy},
};

/// How many steps of SQLite's machine go by between two looks at the clock.
const STEPS_PER_CHECK: i32 = 100_000;

/// How many of the databases are kept.
const IDLE_MOST: usize = 4;

/// Empty databases with the schema, made when they are needed.
#[derive(Debug, Default)]
pub(super) struct SchemaReaders(Mutex<Vec<Connection>>);

impl SchemaReaders {
    /// Runs a statement that reads no table of a place.
    pub(super) fn read(
        &self,
        schema: &Schema,
        sql: &str,
        params: &Params<'_>,
        limits: Limits,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut copy = match idle {
            Some(copy) => copy,
            None => open_copy(schema)?,
        };
        let mut collected = Collected::within(limits);
        let ran = limit_time(&mut copy, limits)
            .and_then(|()| run(&copy, sql, params, &mut collected))
            .map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => Error::OutOfTime { limit: limits.time },
                _ => Error::from_sqlite(error),
            });
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MOST {
            idle.push(copy);
        }
        drop(idle);
        ran?;
        collected.finish()
    }
}

#[expect(clippy::disallowed_methods, reason = "the limit on time needs a clock")]
fn limit_time(copy: &mut Connection, limits: Limits) -> rusqlite::Result<()> {
    let began = Instant::now();
    copy.progress_handler(STEPS_PER_CHECK, Some(move || began.elapsed() > limits.time))
}

fn run(
    copy: &Connection,
    sql: &str,
    params: &Params<'_>,
    collected: &mut Collected,
) -> rusqlite::Result<()> {
    let mut statement = copy.prepare_cached(sql)?;
    for number in 1..=statement.parameter_count() {
        let name = statement.parameter_name(number).map(str::to_owned);
        if let Some(value) = params.value_of(number, name.as_deref()) {
            statement.raw_bind_parameter(number, sqlite_value(&value.to_value()))?;
        }
    }
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|column| row.get_ref(column).map(own_value));
        let values = values.collect::<rusqlite::Result<Vec<_>>>()?;
        if collected.push(values).is_break() {
            break;
        }
    }
    Ok(())
}
