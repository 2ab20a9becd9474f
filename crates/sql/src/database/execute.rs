//! Running a statement, whatever it is.

use shardwright_store::{Params, Value};

use super::{
    ShardedDatabase, WriteMode,
    state::{PlannedStatement, State},
};
use crate::{
    answer::{Answer, Outcome, Tier},
    error::Error,
    plan::Plan,
};

impl ShardedDatabase {
    /// Runs one statement of any kind, wherever its rows are.
    ///
    /// # Errors
    /// What SQLite says of it, or why it is refused. A statement that fails has changed nothing, except where
    /// [`Error::PartialWrite`] says so.
    pub fn execute<'p>(&self, sql: &str, params: impl Into<Params<'p>>) -> Result<Answer, Error> {
        self.execute_with(sql, params, self.inner.shared.options.write_mode)
    }

    /// Runs one statement, and says what a write to several shards does.
    ///
    /// # Errors
    /// As [`ShardedDatabase::execute`].
    pub fn execute_with<'p>(
        &self,
        sql: &str,
        params: impl Into<Params<'p>>,
        mode: WriteMode,
    ) -> Result<Answer, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        let params = params.into();
        let pass = self.enter();
        let ran = self.run_planned(&state, &planned, &params, mode);
        drop(pass);
        match ran {
            Err(error) if error.is_schema_change() => {
                self.run_again(&state, sql, &params, mode, error)
            }
            ran => ran,
        }
    }

    /// Plans a statement again that was refused because the schema has changed, unless this handle has no newer one.
    #[cold]
    pub(super) fn run_again(
        &self,
        before: &State,
        sql: &str,
        params: &Params<'_>,
        mode: WriteMode,
        refusal: Error,
    ) -> Result<Answer, Error> {
        if self.inner.state.load().version == before.version {
            return Err(refusal);
        }
        self.execute_with(sql, *params, mode)
    }

    pub(super) fn run_planned(
        &self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
        mode: WriteMode,
    ) -> Result<Answer, Error> {
        match &planned.plan {
            Plan::Read(plan) | Plan::Explain(plan) => self.read(state, planned, plan, params),
            Plan::Insert(plan) => self.insert(state, planned, plan, params, mode),
            Plan::Change(plan) => self.change(state, planned, plan, params, mode),
            Plan::Ddl(statement) => self.define(statement, planned.statement.sql()),
            Plan::Shards(explained) => self.explain_shards(planned, explained, params),
            Plan::Pragma(statement) => self.pragma(state, statement, planned.statement.sql()),
            Plan::Transaction(_) => Err(Error::Unsupported {
                what: "BEGIN or COMMIT outside a session".to_owned(),
                hint: "run the statements of a transaction in one Session",
            }),
        }
    }

    /// Whether a statement changes nothing, whatever its values are.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn only_reads(&self, sql: &str) -> Result<bool, Error> {
        let planned = self.inner.state.load().plan(sql)?;
        Ok(matches!(
            planned.plan,
            Plan::Read(_) | Plan::Explain(_) | Plan::Shards(_)
        ))
    }
}

impl Answer {
    pub(super) fn of_changes(places: Vec<String>, tier: Tier, reason: impl Into<String>) -> Self {
        Self {
            columns: Vec::new(),
            rows: Vec::new(),
            changes: 0,
            last_insert_rowid: None,
            places,
            tier,
            reason: reason.into(),
        }
    }

    /// What a write did.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            changes: self.changes,
            last_insert_rowid: self.last_insert_rowid,
        }
    }

    /// The first value of the first row.
    #[must_use]
    pub fn first_value(&self) -> Option<&Value> {
        self.rows.first()?.first()
    }
}
