//! Operations on every place, as they are written down before the first of them commits.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use shardwright_store::Value;

use super::{records::new_identity, unique::Checks};
use crate::{
    error::Error,
    schema::StoredSchema,
    shards::{BROADCAST_KEY, Call, Fragment, Place, PlaceTransaction, Places, Ran, Watching},
};

const ENTER: &str = "INSERT INTO main._meta(key, value) VALUES (?1, ?2)
    ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value < excluded.value";

/// An operation on several places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Operation {
    /// Greater than those of all operations before.
    pub(super) number: u64,
    /// Tells operations of different engines apart that would otherwise look alike.
    #[serde(default)]
    pub(super) author: String,
    /// What runs on the shards, and on the catalog.
    pub(super) shards: Vec<Step>,
    pub(super) catalog: Vec<Step>,
    /// The schema afterwards, if it changes.
    pub(super) schema: Option<StoredSchema>,
}

/// A transaction in which an operation has run at one place, and what its last statement did.
pub(super) type Begun = (Box<dyn PlaceTransaction>, Ran);

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

    pub(super) fn bound(statement: &Fragment) -> Self {
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
    /// An operation without a number.
    pub(super) fn new(shards: Vec<Step>, catalog: Vec<Step>, schema: Option<StoredSchema>) -> Self {
        Self {
            number: 0,
            author: new_identity(),
            shards,
            catalog,
            schema,
        }
    }

    pub(super) fn steps(&self, place: Place) -> &[Step] {
        match place {
            Place::Shard(_) => &self.shards,
            Place::Catalog => &self.catalog,
        }
    }

    /// Begins a transaction on one place and runs its steps there. `None` if the place has had an operation of this
    /// number, or a later one.
    pub(super) fn begin(
        &self,
        places: &dyn Places,
        place: Place,
        checks: &Checks,
    ) -> Result<Option<Begun>, Error> {
        let watching = match &self.schema {
            // A trigger that names what changes would be in the way.
            Some(_) => Watching::Nothing,
            None => checks.watching(place),
        };
        let mut transaction = places.begin(place, watching)?;
        if !self.enter(&mut *transaction)? {
            return Ok(None);
        }
        // Those of a changed schema are checked by the statements themselves.
        let deferred = checks.deferred();
        let count = |transaction: &mut dyn PlaceTransaction| match self.schema {
            Some(_) => Ok(0),
            None => deferred.violations(place, transaction),
        };
        let before = count(&mut *transaction)?;
        let mut ran = Ran::default();
        for step in self.steps(place) {
            ran = step.run(&mut *transaction)?;
        }
        if count(&mut *transaction)? > before {
            return Err(Error::Constraint {
                message: "FOREIGN KEY constraint failed".to_owned(),
            });
        }
        Ok(Some((transaction, ran)))
    }

    /// Notes the number at a place, and returns whether it is later than the one there.
    fn enter(&self, transaction: &mut dyn PlaceTransaction) -> Result<bool, Error> {
        let number = i64::try_from(self.number).unwrap_or(i64::MAX);
        let entry = [Value::from(BROADCAST_KEY), Value::Integer(number)];
        let entered = transaction.execute(Call::new(ENTER, &entry))?;
        Ok(entered.outcome.changes > 0)
    }

    /// Brings an operation that is written down to every place that does not have it. Its rows were checked before.
    pub(super) fn recover(&self, places: &dyn Places) -> Result<(), Error> {
        for place in places.all() {
            if let Some((mut transaction, _)) = self.begin(places, place, &Checks::default())? {
                transaction.commit()?;
            }
        }
        Ok(())
    }
}
