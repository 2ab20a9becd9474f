//! Answering reads.

use std::{fmt, ops::ControlFlow, sync::Arc};

use shardwright_store::{Params, Row, Value};

use super::{
    ShardedDatabase,
    state::{PlannedStatement, State},
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    gather::GatherRequest,
    plan::{GatherReason, ReadPlan, ReadTarget},
    shards::{Call, Place},
};

impl ShardedDatabase {
    pub(super) fn read(
        &self,
        state: &State,
        planned: &PlannedStatement,
        plan: &ReadPlan,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        let mut rows = Vec::new();
        let mut keep = |row: &Row<'_>| {
            rows.push(row.to_values());
            ControlFlow::<()>::Continue(())
        };
        let (places, tier, reason) = match plan.target(params, state.routing())? {
            ReadTarget::One(place) => {
                let places = &self.inner.places;
                places.read(place, Call::new(&planned.statement, *params), &mut keep)?;
                (
                    vec![places.name(place).to_owned()],
                    Tier::Single,
                    self.why_single(plan, place).to_owned(),
                )
            }
            ReadTarget::SchemaCopy => {
                rows = self.read_schema(state, planned, params)?;
                (
                    Vec::new(),
                    Tier::Schema,
                    "it reads the schema alone".to_owned(),
                )
            }
            ReadTarget::Gather { reason } => {
                let gathered = state.gather.query(
                    &plan.gather_sql,
                    params,
                    GatherRequest {
                        shards: Arc::clone(&self.inner.places).snapshots(),
                        routing: state.owned_routing(),
                        pins: plan.pins(params)?,
                        limits: self.inner.shared.options.limits,
                    },
                    &mut keep,
                )?;
                let names = gathered
                    .places
                    .iter()
                    .map(|place| self.inner.places.name(*place).to_owned());
                (names.collect(), Tier::Gather, reason.to_string())
            }
        };
        Ok(Answer {
            columns: planned.columns.clone(),
            rows,
            changes: 0,
            last_insert_rowid: None,
            places,
            tier,
            reason,
        })
    }

    pub(super) fn why_single(&self, plan: &ReadPlan, place: Place) -> &'static str {
        match place {
            Place::Shard(_) if self.shard_count() == 1 => "there is only one shard",
            Place::Shard(_) => "the statement names the shard key",
            Place::Catalog if plan.refs().is_empty() => "it reads no table",
            Place::Catalog => "all its tables are on the catalog shard",
        }
    }

    fn read_schema(
        &self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
    ) -> Result<Vec<Vec<Value>>, Error> {
        state.on_copy(|copy| {
            let mut statement = copy.prepare_cached(planned.statement.sql())?;
            for number in 1..=statement.parameter_count() {
                let name = statement.parameter_name(number).map(str::to_owned);
                if let Some(value) = params.value_of(number, name.as_deref()) {
                    statement.raw_bind_parameter(number, sqlite_value(&value.to_value()))?;
                }
            }
            let columns = statement.column_count();
            let mut rows = statement.raw_query();
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|column| row.get_ref(column).map(own_value));
                found.push(values.collect::<rusqlite::Result<Vec<_>>>()?);
            }
            Ok(found)
        })
    }
}

/// A value in SQLite's own terms.
pub(crate) fn sqlite_value(value: &Value) -> rusqlite::types::ToSqlOutput<'_> {
    use rusqlite::types::{ToSqlOutput, ValueRef};
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Integer(value) => ValueRef::Integer(*value),
        Value::Real(value) => ValueRef::Real(*value),
        Value::Text(bytes) => ValueRef::Text(bytes),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
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
            Self::NotUnderstood => {
                write!(f, "the statement has a form that the planner does not know")
            }
        }
    }
}
