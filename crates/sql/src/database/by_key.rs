//! Calls that name a key: CollegeDB's `run`, `first` and `all`.

use std::ops::ControlFlow;

use shardwright_store::{Params, Row, Value};

use super::{ShardedDatabase, collect::Collected};
use crate::{
    answer::{Answer, Outcome, Tier},
    error::Error,
    key::Key,
    plan::{Homes, Plan, Purpose},
    shards::Place,
};

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
        let _pass = self.enter();
        let ran = self.write_by_key(&state, &planned, &key.into(), &params.into())?;
        Ok(ran.outcome)
    }

    /// Runs a statement that reads or writes on the shard of a key, and returns all that it gives. `table` names the
    /// key space, where the statement's tables have several.
    ///
    /// # Errors
    /// As [`ShardedDatabase::run`], and [`Error::UnknownTable`] or [`Error::NotSharded`] for `table`.
    pub fn execute_by_key<'p>(
        &self,
        key: &Key,
        table: Option<&str>,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Answer, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        let params = params.into();
        let key = match table {
            Some(_) => {
                let table = state.table_of_key(table, key)?;
                let group = table.shard_key().map(|key| key.group.clone());
                key.clone().in_group(group.unwrap_or_default())
            }
            None => key.clone(),
        };
        let _pass = self.enter();
        let mut answer = Answer::of_changes(Vec::new(), Tier::Single, "the call names the key");
        answer.columns.clone_from(&planned.columns);
        if let Plan::Read(_) = &planned.plan {
            let mut rows = Collected::within(self.limits());
            let _ = self.visit_by_key(&state, &planned, &key, params, |row| rows.keep(row))?;
            answer.rows = rows.finish()?;
        } else {
            let ran = self.write_by_key(&state, &planned, &key, &params)?;
            answer.changes = ran.outcome.changes;
            answer.last_insert_rowid = ran.outcome.last_insert_rowid;
            answer.rows = ran.rows;
        }
        let homes = Homes::new(self.purpose(Purpose::Find));
        let shard = self.shard_by_key(&state, &planned, &key, &params, &homes)?;
        let name = self.inner.places.name(Place::Shard(shard));
        answer.places.push(name.to_owned());
        Ok(answer)
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
        let _pass = self.enter();
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
        let _pass = self.enter();
        let _ = self.visit_by_key(&state, &planned, &key.into(), params.into(), |row| {
            rows.push(row.to_values());
            ControlFlow::<()>::Continue(())
        })?;
        Ok(rows)
    }
}
