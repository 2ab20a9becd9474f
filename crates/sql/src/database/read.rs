//! Answering reads.

use std::fmt;

use shardwright_store::{Params, Row, Value, ValueRef};

use super::{
    ReadLevel, ShardedDatabase,
    collect::Collected,
    state::{PlannedStatement, State},
    write::bound,
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    plan::{GatherReason, Plan, ReadPlan, ReadTarget, Routing},
    shards::{Call, FaultKind, Place},
};

impl ShardedDatabase {
    pub(super) fn read(
        &self,
        state: &State,
        planned: &PlannedStatement,
        plan: &ReadPlan,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        let level = self.inner.shared.options.read_level;
        self.read_at(state, planned, plan, params, level)
    }

    /// Runs a statement that reads, and sees each commit over several shards in all of them or in none, whatever
    /// [`Options::read_level`](super::Options::read_level) says.
    ///
    /// # Errors
    /// As [`ShardedDatabase::execute`], and [`Error::Unsupported`] for a statement that does not read.
    pub fn read_consistent<'p>(
        &self,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Answer, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        match &planned.plan {
            Plan::Read(plan) | Plan::Explain(plan) => {
                let _pass = self.enter();
                let params = params.into();
                self.read_at(&state, &planned, plan, &params, ReadLevel::Consistent)
            }
            _ => Err(Error::Unsupported {
                what: "a consistent read of a statement that writes".to_owned(),
                hint: "run the statement with `execute`",
            }),
        }
    }

    pub(super) fn read_at(
        &self,
        state: &State,
        planned: &PlannedStatement,
        plan: &ReadPlan,
        params: &Params<'_>,
        level: ReadLevel,
    ) -> Result<Answer, Error> {
        let limits = self.limits();
        let mut collected = Collected::within(limits);
        let mut keep = |row: &Row<'_>| collected.keep(row);
        let target = |routing: Routing<'_>| plan.target(params, routing);
        let (places, tier, reason) = match self.find_route(state, target)? {
            ReadTarget::One(Place::Shard(_)) if self.keys_may_move() => {
                let one = |routing: Routing<'_>| match target(routing)? {
                    ReadTarget::One(place) => Ok(place),
                    _ => Err(self.fault(FaultKind::Busy, "keys were moved meanwhile")),
                };
                let statement = bound(planned, params)?;
                let (place, _) = self.visit_in_snapshots(state, &statement, one, keep)?;
                (
                    vec![self.inner.places.name(place).to_owned()],
                    Tier::Single,
                    self.why_single(plan, place).to_owned(),
                )
            }
            ReadTarget::One(place) => {
                let places = &self.inner.places;
                let place = self.place_of_copies(plan, place);
                places.read(place, Call::new(&planned.statement, *params), &mut keep)?;
                (
                    vec![places.name(place).to_owned()],
                    Tier::Single,
                    self.why_single(plan, place).to_owned(),
                )
            }
            ReadTarget::SchemaCopy => {
                let sql = planned.statement.sql();
                for row in state.read_schema(sql, params, limits)? {
                    let _ = collected.push(row);
                }
                (
                    Vec::new(),
                    Tier::Schema,
                    "it reads the schema alone".to_owned(),
                )
            }
            target @ (ReadTarget::Scatter { .. } | ReadTarget::Gather { .. }) => {
                let level = self.level_of_rows(level);
                self.read_several(state, plan, params, target, level, &mut collected)?
            }
        };
        Ok(Answer {
            columns: planned.columns.clone(),
            rows: collected.finish()?,
            changes: 0,
            last_insert_rowid: None,
            places,
            tier,
            reason,
        })
    }

    /// Where a statement of a transaction reads that any place could answer: where it has begun already, if it has.
    fn place_of_copies(&self, plan: &ReadPlan, place: Place) -> Place {
        let begun = match self.within() {
            Some(transaction) if plan.is_answered_anywhere() => transaction.lock().places(),
            Some(_) | None => Vec::new(),
        };
        begun.last().copied().unwrap_or(place)
    }

    pub(super) fn why_single(&self, plan: &ReadPlan, place: Place) -> &'static str {
        match place {
            Place::Shard(_) if self.shard_count() == 1 => "there is only one shard",
            Place::Shard(_) => "the statement names the shard key",
            Place::Catalog if plan.refs().is_empty() => "it reads no table",
            Place::Catalog => "all its tables are on the catalog shard",
        }
    }
}

/// A value in SQLite's own terms.
pub(crate) fn sqlite_value(value: &Value) -> rusqlite::types::ToSqlOutput<'_> {
    sqlite_ref(value.as_ref())
}

/// The same, of a value that is borrowed.
pub(crate) fn sqlite_ref(value: ValueRef<'_>) -> rusqlite::types::ToSqlOutput<'_> {
    use rusqlite::types::{ToSqlOutput, ValueRef as SqliteRef};
    ToSqlOutput::Borrowed(match value {
        ValueRef::Null => SqliteRef::Null,
        ValueRef::Integer(value) => SqliteRef::Integer(value),
        ValueRef::Real(value) => SqliteRef::Real(value),
        ValueRef::Text(bytes) => SqliteRef::Text(bytes),
        ValueRef::Blob(bytes) => SqliteRef::Blob(bytes),
    })
}

/// A value of SQLite's in our terms.
pub(crate) fn own_value(value: rusqlite::types::ValueRef<'_>) -> Value {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(bytes) => Value::Text(bytes.to_vec()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

impl fmt::Display for GatherReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey { table, column } => {
                write!(f, "{table} is read without its shard key {column}")
            }
            Self::SeveralShards => write!(f, "the keys are on several shards"),
            Self::GlobalAndSharded => {
                write!(f, "a global table and a sharded one are read together")
            }
            Self::TemporaryView => write!(f, "no place knows a temporary view"),
            Self::NotUnderstood => {
                write!(f, "the statement has a form that the planner does not know")
            }
        }
    }
}
