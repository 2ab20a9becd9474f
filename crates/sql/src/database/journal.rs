//! Operations on every place, as they are written down before the first of them commits.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use shardwright_store::Value;

use super::{announce::ended, records::new_identity, unique::Checks};
use crate::{
    error::Error,
    schema::StoredSchema,
    shards::{
        ANNOUNCED_KEY, BROADCAST_KEY, Call, Fault, FaultKind, Fragment, Place, PlaceTransaction,
        Places, Ran, StatementId, Watching,
    },
};

const ENTER: &str = "INSERT INTO main._meta(key, value) VALUES (?1, ?2)
    ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value < excluded.value RETURNING key";

/// With it, the announcement of the operation is over.
const ENTER_ANNOUNCED: &str = "INSERT INTO main._meta(key, value) VALUES (?1, ?2), (?3, ?4)
    ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value < excluded.value RETURNING key";

/// An operation on several places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Operation {
    /// Greater than those of all operations before.
    pub(super) number: u64,
    /// The number of its announcement; 0 if it has none.
    #[serde(default)]
    pub(super) announced: u64,
    /// Tells operations of different engines apart that would otherwise look alike.
    #[serde(default)]
    pub(super) author: String,
    /// The statement that it is, if it has a number: the places know it by that when it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) statement: Option<StatementId>,
    /// What runs on the shards, and on the catalog.
    pub(super) shards: Vec<Step>,
    pub(super) catalog: Vec<Step>,
    /// The schema afterwards, if it changes.
    pub(super) schema: Option<StoredSchema>,
}

/// A transaction in which an operation has run at one place, and what its statements did.
pub(super) type Begun = (Box<dyn PlaceTransaction>, Ran);

/// One statement of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Step {
    sql: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    params: Vec<StoredValue>,
    /// Whether it failed, and may have changed something before that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    failed: bool,
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
            failed: false,
        }
    }

    pub(super) fn bound(statement: &Fragment) -> Self {
        let params = statement.params.iter().map(StoredValue::of).collect();
        Self {
            sql: statement.sql.to_string(),
            params,
            failed: false,
        }
    }

    /// The same, as one that has failed.
    pub(super) fn or_fail(self) -> Self {
        Self {
            failed: true,
            ..self
        }
    }

    /// Runs it as it ran before, failure included.
    pub(super) fn run_again(&self, transaction: &mut dyn PlaceTransaction) -> Result<(), Error> {
        match self.run(transaction) {
            Err(Error::Sql { .. } | Error::Constraint { .. }) if self.failed => Ok(()),
            ran => ran.map(drop),
        }
    }

    pub(super) fn run(&self, transaction: &mut dyn PlaceTransaction) -> Result<Ran, Error> {
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
            announced: 0,
            author: new_identity(),
            statement: None,
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

    /// Begins a transaction on one place and runs its steps there, for the first time. `None` if the place has had an
    /// operation of this number, or a later one.
    pub(super) fn begin(
        &self,
        places: &dyn Places,
        place: Place,
        checks: &Checks,
    ) -> Result<Option<Begun>, Error> {
        let watching = self.watching(checks, place);
        let transaction = match self.statement {
            None => places.begin(place, watching)?,
            Some(statement) => places.begin_as(statement, place, watching)?,
        };
        if transaction.is_remembered() {
            let message = "the client gave this number to another statement before";
            return Err(Fault::new(FaultKind::Other, message).at(places.name(place)));
        }
        self.run(transaction, place, checks)
    }

    /// As [`Operation::begin`], at a place that may have had the operation: only the operation's number tells whether
    /// it has, whatever is known there of the statement. Its rows were checked before.
    fn begin_again(&self, places: &dyn Places, place: Place) -> Result<Option<Begun>, Error> {
        let checks = Checks::default();
        let watching = self.watching(&checks, place);
        if let Some(statement) = self.statement {
            match places.begin_as(statement, place, watching) {
                // That says how far the place was.
                Ok(mut known) if known.is_remembered() => known.commit()?,
                Err(Error::Place { fault, .. }) if fault.kind == FaultKind::Forgotten => {}
                begun => return self.run(begun?, place, &checks),
            }
        }
        self.run(places.begin(place, watching)?, place, &checks)
    }

    fn watching<'c>(&self, checks: &'c Checks, place: Place) -> Watching<'c> {
        match &self.schema {
            // A trigger that names what changes would be in the way.
            Some(_) => Watching::Nothing,
            None => checks.watching(place),
        }
    }

    /// Runs the steps for a place in a transaction there.
    fn run(
        &self,
        mut transaction: Box<dyn PlaceTransaction>,
        place: Place,
        checks: &Checks,
    ) -> Result<Option<Begun>, Error> {
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
        let steps = self.steps(place).iter();
        let ran = steps
            .map(|step| step.run(&mut *transaction))
            .collect::<Result<_, _>>()?;
        if count(&mut *transaction)? > before {
            return Err(Error::Constraint {
                message: "FOREIGN KEY constraint failed".to_owned(),
            });
        }
        Ok(Some((transaction, Ran::all(ran))))
    }

    /// Notes the number at a place, and returns whether it is later than the one there.
    fn enter(&self, transaction: &mut dyn PlaceTransaction) -> Result<bool, Error> {
        let number = i64::try_from(self.number).unwrap_or(i64::MAX);
        let key = Value::from(BROADCAST_KEY);
        let mut entry = vec![key.clone(), Value::Integer(number)];
        let enter = if self.announced > 0 {
            let over = ended(self.announced);
            entry.extend([Value::from(ANNOUNCED_KEY), Value::Integer(over)]);
            ENTER_ANNOUNCED
        } else {
            ENTER
        };
        let entered = transaction.aside(Call::new(enter, &entry))?;
        Ok(entered.rows.iter().any(|row| row.contains(&key)))
    }

    /// Brings an operation that is written down to every place that does not have it.
    pub(super) fn recover(&self, places: &dyn Places) -> Result<(), Error> {
        for place in places.all() {
            if let Some((mut transaction, _)) = self.begin_again(places, place)? {
                transaction.commit()?;
            }
        }
        Ok(())
    }
}
