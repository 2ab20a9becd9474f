//! Rows found by their keys.

use rusqlite::CachedStatement;

use super::TableDef;
use crate::{Error, Result, Row, ValueRef, connection::Connection, value::RawValue};

/// Reads rows of one table by their keys.
pub(crate) struct KeyedRows<'c> {
    connection: &'c Connection,
    statement: CachedStatement<'c>,
}

impl<'c> KeyedRows<'c> {
    pub(crate) fn new(connection: &'c Connection, def: &TableDef) -> Result<Self> {
        Ok(Self {
            connection,
            statement: connection.prepare(&def.select_sql)?,
        })
    }

    /// Shows `visit` the stored columns of the row with the key, if there is one. A row whose key is
    /// equal by a collation but not by its bytes may be shown too.
    pub(crate) fn find<'v, T>(
        &mut self,
        key: impl Iterator<Item = ValueRef<'v>>,
        visit: impl FnOnce(Option<&Row<'_>>) -> T,
    ) -> Result<T> {
        bind(&mut self.statement, 1, key)?;
        let mut rows = self.statement.raw_query();
        match rows.next() {
            Ok(Some(row)) => Ok(visit(Some(&Row::of_statement(row)))),
            Ok(None) => Ok(visit(None)),
            Err(error) => Err(self.connection.error(error)),
        }
    }
}

/// Binds values to the parameters from that number on.
pub(crate) fn bind<'v>(
    statement: &mut rusqlite::Statement<'_>,
    first: usize,
    values: impl Iterator<Item = ValueRef<'v>>,
) -> Result<()> {
    for (number, value) in (first..).zip(values) {
        statement
            .raw_bind_parameter(number, RawValue(value))
            .map_err(Error::from_statement)?;
    }
    Ok(())
}
