//! Writes to every place: changes of the schema and of reference tables.
//!
//! The statements run in an open transaction on each place first, so that whatever one of them refuses is refused on
//! all. Then the operation is written to the registry, and the transactions commit one after the other, each with the
//! operation's number in the file. A crash in between is mended when the database is next opened for writing: places
//! without the number run the statements again, as they did once already.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use shardwright_store::{Value, Writer};

use super::{
    ShardedDatabase,
    files::Files,
    state::{PlannedStatement, State},
    unique::Prober,
    write::{BoundStatement, Ran, run_statement},
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    schema::{StoredSchema, Table},
    shards::Place,
};

/// The key under which a file keeps the number of the last operation that it has.
const APPLIED: &str = "sql.broadcast";

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

    fn bound(statement: &BoundStatement) -> Self {
        let params = statement.params.iter().map(StoredValue::of).collect();
        Self {
            sql: statement.sql.clone(),
            params,
        }
    }

    fn run(&self, writer: &mut Writer) -> shardwright_store::Result<Ran> {
        let params: Vec<Value> = self.params.iter().map(StoredValue::value).collect();
        run_statement(writer, self.sql.as_str().into(), (&params).into())
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

    /// Runs the steps of one place in an open transaction.
    pub(super) fn begin(&self, files: &Files, place: Place) -> Result<(Writer, Ran), Error> {
        let at = || Error::at(files.name(place));
        let mut writer = files.file(place).writer().map_err(at())?;
        writer.begin().map_err(at())?;
        if self.schema.is_some() {
            Prober::remove(&mut writer).map_err(at())?;
        }
        let mut ran = Ran::default();
        for step in self.steps(place) {
            ran = step.run(&mut writer).map_err(at())?;
        }
        let number = i64::try_from(self.number).unwrap_or(i64::MAX);
        writer
            .set_meta(APPLIED, &Value::Integer(number))
            .map_err(at())?;
        Ok((writer, ran))
    }

    /// Finishes an operation that was written to the registry before a crash.
    pub(super) fn recover(&self, files: &Files) -> Result<(), Error> {
        for place in files.places() {
            let applied = files
                .file(place)
                .meta(APPLIED)
                .map_err(Error::at(files.name(place)))?;
            let applied = applied.and_then(|value| value.as_i64()).unwrap_or(0);
            if u64::try_from(applied).unwrap_or(0) < self.number {
                let (mut writer, _) = self.begin(files, place)?;
                writer.commit().map_err(Error::at(files.name(place)))?;
            }
        }
        Ok(())
    }
}

impl ShardedDatabase {
    /// Runs an operation on every place, or on none.
    pub(super) fn broadcast(&self, mut operation: Operation) -> Result<Ran, Error> {
        self.check_writable()?;
        let files = &self.inner.files;
        operation.number = self.inner.records.next_operation()?;
        let mut begun = Vec::new();
        let mut first = None;
        for place in files.places() {
            let (writer, ran) = operation.begin(files, place)?;
            if !operation.steps(place).is_empty() {
                first.get_or_insert(ran);
            }
            begun.push((place, writer));
        }
        self.inner.records.begin(&operation)?;
        for (place, mut writer) in begun {
            writer.commit().map_err(Error::at(files.name(place)))?;
        }
        self.inner.records.finish(&operation)?;
        Ok(first.unwrap_or_default())
    }

    pub(super) fn broadcast_write(
        &self,
        state: &State,
        table: &Table,
        planned: &PlannedStatement,
        statement: &BoundStatement,
    ) -> Result<Answer, Error> {
        self.broadcast_writes(state, table, planned, std::slice::from_ref(statement))
    }

    /// Writes to a reference table, whose copies are everywhere.
    pub(super) fn broadcast_writes(
        &self,
        _state: &State,
        table: &Table,
        planned: &PlannedStatement,
        statements: &[BoundStatement],
    ) -> Result<Answer, Error> {
        let _one = self.broadcast_guard();
        let steps: Vec<Step> = statements.iter().map(Step::bound).collect();
        let operation = Operation {
            number: 0,
            shards: steps.clone(),
            catalog: steps,
            schema: None,
        };
        let ran = self.broadcast(operation)?;
        let places = self
            .inner
            .files
            .places()
            .map(|place| self.inner.files.name(place).to_owned())
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
