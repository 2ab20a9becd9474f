//! Calls that name a key: CollegeDB's `run`, `first` and `all`.

use std::ops::ControlFlow;

use shardwright_store::{Params, Row, Value};

use super::ShardedDatabase;
use crate::{answer::Outcome, error::Error, key::Key};

impl ShardedDatabase {
    /// Runs a write on the shard of a key.
    ///
    /// # Errors
    /// [`Error::KeyMismatch`] if the statement names another key, [`Error::AmbiguousKey`] if its tables have several key
    /// spaces and the key names none, and what SQLite says. Nothing is written then.
    pub fn run<'p>(
        &self,
        key: impl Into<Key>,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Outcome, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        self.write_by_key(&state, &planned, &key.into(), &params.into())
    }

    /// The first row that a query gives on the shard of a key; `None` if it gives none.
    ///
    /// # Errors
    /// As [`ShardedDatabase::run`].
    pub fn first<'p>(
        &self,
        key: impl Into<Key>,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Option<Vec<Value>>, Error> {
        self.query_row(key, sql, params, |row| row.to_values())
    }

    /// Shows the first row that a query gives on the shard of a key to `map`.
    ///
    /// # Errors
    /// As [`ShardedDatabase::run`].
    pub fn query_row<'p, T>(
        &self,
        key: impl Into<Key>,
        sql: &str,
        params: impl Into<Params<'p>>,
        mut map: impl FnMut(&Row<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        let flow = self.visit_by_key(&state, &planned, &key.into(), params.into(), |row| {
            ControlFlow::Break(map(row))
        })?;
        Ok(flow.break_value())
    }

    /// All rows that a query gives on the shard of a key.
    ///
    /// # Errors
    /// As [`ShardedDatabase::run`].
    pub fn all<'p>(
        &self,
        key: impl Into<Key>,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        let mut rows = Vec::new();
        let _ = self.visit_by_key(&state, &planned, &key.into(), params.into(), |row| {
            rows.push(row.to_values());
            ControlFlow::<()>::Continue(())
        })?;
        Ok(rows)
    }
}
