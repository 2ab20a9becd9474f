//! Writes to every place: changes of the schema and of reference tables.
//!
//! The statements run in an open transaction on each place first, so that whatever one of them refuses is refused on
//! all. Then the operation is written to the registry, and the transactions commit one after the other, each with the
//! operation's number in the file. A crash in between is mended when the database is next opened for writing: places
//! without the number run the statements again, as they did once already.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use shardwright_store::Value;

use super::{
    ShardedDatabase,
    state::{PlannedStatement, State},
    unique::Checks,
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    schema::{StoredSchema, Table},
    shards::{Call, Fragment, Place, PlaceTransaction, Places, Ran, Watching},
};

/// The key under which a file keeps the number of the last operation that it has.
const APPLIED: &str = "sql.broadcast";
const GET_APPLIED: &str = "SELECT value FROM main._meta WHERE key = ?1";
const SET_APPLIED: &str = "INSERT INTO main._meta(key, value) VALUES (?1, ?2)
    ON CONFLICT(key) DO UPDATE SET value = excluded.value";

/// An operation on several places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Operation {
    /// Greater than those of all operations before.
    pub(super) number: u64,
    /// What runs on the shards, and on the catalog.
    pub(super) shards: Vec<Step>,
    pub(super) catalog: Vec<Step>,
    /// The schema afterwards, if it changes.
    pub(super) schema: Option<StoredSchema>,
}

/// One statement of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Step {
    sql: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    params: Vec<StoredValue>,
}

/// A value in JSON, bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredValue {
    Null,
    Integer(i64),
    Real(u64),
    Text(String),
    Blob(String),
}

impl Step {
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            params: Vec::new(),
        }
    }

    fn bound(statement: &Fragment) -> Self {
        let params = statement.params.iter().map(StoredValue::of).collect();
        Self {
            sql: statement.sql.to_string(),
            params,
        }
    }

    fn run(&self, transaction: &mut dyn PlaceTransaction) -> Result<Ran, Error> {
        let params: Vec<Value> = self.params.iter().map(StoredValue::value).collect();
        transaction.execute(Call::new(&self.sql, &params))
    }
}

impl StoredValue {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer(*value),
            Value::Real(value) => Self::Real(value.to_bits()),
            Value::Text(bytes) => Self::Text(BASE64_STANDARD.encode(bytes)),
            Value::Blob(bytes) => Self::Blob(BASE64_STANDARD.encode(bytes)),
        }
    }

    fn value(&self) -> Value {
        let bytes = |text: &str| BASE64_STANDARD.decode(text).unwrap_or_default();
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(*value),
            Self::Real(bits) => Value::Real(f64::from_bits(*bits)),
            Self::Text(text) => Value::Text(bytes(text)),
            Self::Blob(text) => Value::Blob(bytes(text)),
        }
    }
}

impl Operation {
    fn steps(&self, place: Place) -> &[Step] {
        match place {
            Place::Shard(_) => &self.shards,
            Place::Catalog => &self.catalog,
        }
    }

    /// Begins a transaction on one place and runs its steps there.
    pub(super) fn begin(
        &self,
        places: &dyn Places,
        place: Place,
        checks: &Checks,
    ) -> Result<(Box<dyn PlaceTransaction>, Ran), Error> {
        let mut transaction = self.open(places, place, checks)?;
        let ran = self.run(place, &mut *transaction)?;
        Ok((transaction, ran))
    }

    fn open(
        &self,
        places: &dyn Places,
        place: Place,
        checks: &Checks,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        let watching = match &self.schema {
            // A trigger that names what changes would be in the way.
            Some(_) => Watching::Nothing,
            None => checks.watching(place),
        };
        places.begin(place, watching)
    }

    fn run(&self, place: Place, transaction: &mut dyn PlaceTransaction) -> Result<Ran, Error> {
        let mut ran = Ran::default();
        for step in self.steps(place) {
            ran = step.run(transaction)?;
        }
        let number = i64::try_from(self.number).unwrap_or(i64::MAX);
        let applied = [Value::from(APPLIED), Value::Integer(number)];
        transaction.execute(Call::new(SET_APPLIED, &applied))?;
        Ok(ran)
    }

    /// Whether a place has the operation already.
    fn is_applied(&self, transaction: &mut dyn PlaceTransaction) -> Result<bool, Error> {
        let key = [Value::from(APPLIED)];
        let found = transaction.execute(Call::new(GET_APPLIED, &key))?;
        let applied = found
            .rows
            .first()
            .and_then(|row| row.first()?.as_i64())
            .unwrap_or(0);
        Ok(u64::try_from(applied).unwrap_or(0) >= self.number)
    }

    /// Finishes an operation that was written to the registry before a crash. Its rows were checked then.
    pub(super) fn recover(&self, places: &dyn Places) -> Result<(), Error> {
        for place in places.all() {
            let mut transaction = self.open(places, place, &Checks::default())?;
            if !self.is_applied(&mut *transaction)? {
                self.run(place, &mut *transaction)?;
                transaction.commit()?;
            }
        }
        Ok(())
    }
}

impl ShardedDatabase {
    /// Runs an operation on every place, or on none. What other shards may forbid is asked by `checks`.
    pub(super) fn broadcast(
        &self,
        mut operation: Operation,
        checks: &Checks,
    ) -> Result<Ran, Error> {
        self.check_writable()?;
        let places = &*self.inner.places;
        operation.number = self.inner.records.next_operation()?;
        let mut begun = Vec::new();
        let mut first = None;
        for place in places.all() {
            let (mut transaction, ran) = operation.begin(places, place, checks)?;
            if operation.schema.is_none() {
                self.check_notes(checks, place, &mut *transaction, None)?;
            }
            if !operation.steps(place).is_empty() {
                first.get_or_insert(ran);
            }
            begun.push(transaction);
        }
        self.inner.records.begin(&operation)?;
        for mut transaction in begun {
            transaction.commit()?;
        }
        self.inner.records.finish(&operation)?;
        Ok(first.unwrap_or_default())
    }

    pub(super) fn broadcast_write(
        &self,
        state: &State,
        table: &Table,
        planned: &PlannedStatement,
        statement: &Fragment,
    ) -> Result<Answer, Error> {
        self.broadcast_writes(state, table, planned, std::slice::from_ref(statement))
    }

    /// Writes to a reference table, whose copies are everywhere.
    pub(super) fn broadcast_writes(
        &self,
        state: &State,
        table: &Table,
        planned: &PlannedStatement,
        statements: &[Fragment],
    ) -> Result<Answer, Error> {
        let _one = self.broadcast_guard();
        let steps: Vec<Step> = statements.iter().map(Step::bound).collect();
        let operation = Operation {
            number: 0,
            shards: steps.clone(),
            catalog: steps,
            schema: None,
        };
        let _guard = self.guard(state, table);
        // A foreign key may carry the change to rows that other shards have a say in.
        let none = Checks::default();
        let checks = if state.needs_guard(table) {
            &state.checks
        } else {
            &none
        };
        let ran = self.broadcast(operation, checks)?;
        let places = self
            .inner
            .places
            .all()
            .map(|place| self.inner.places.name(place).to_owned())
            .collect();
        let reason = format!(
            "{} is a reference table, with a copy everywhere",
            table.name
        );
        let mut answer = Answer::of_changes(places, Tier::Broadcast, reason);
        answer.columns.clone_from(&planned.columns);
        answer.changes = ran.outcome.changes;
        answer.last_insert_rowid = ran.outcome.last_insert_rowid;
        answer.rows = ran.rows;
        Ok(answer)
    }
}
