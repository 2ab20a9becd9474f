//! SQL functions written in Rust.

use std::{fmt, sync::Arc};

use rusqlite::functions::{Context, FunctionFlags};

use crate::{Result, Value, ValueRef, connection::Connection, value::RawValue};

type Body = dyn Fn(&[ValueRef<'_>]) -> std::result::Result<Value, String> + Send + Sync;

/// A scalar SQL function written in Rust.
///
/// It may stand wherever a built-in function may, also in defaults, triggers and views, so it must
/// not have side effects that a schema from elsewhere could abuse.
///
/// ```
/// use shardwright_store::{Determinism, Function, Value};
///
/// let double = Function::new("double", 1, Determinism::Deterministic, |arguments| {
///     let integer = arguments[0].as_i64().ok_or("double takes an integer")?;
///     Ok(Value::from(integer * 2))
/// });
/// # let _ = double;
/// ```
#[derive(Clone)]
pub struct Function {
    name: String,
    arity: Option<u8>,
    determinism: Determinism,
    body: Arc<Body>,
}

/// Whether a function gives the same result for the same arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Determinism {
    /// Always the same, so that SQLite may call it once, and allows it in indexes.
    Deterministic,
    /// Perhaps another one each time, as a clock or a counter gives.
    Volatile,
}

impl Function {
    /// A function of exactly `arity` arguments. An `Err` becomes the statement's error.
    pub fn new(
        name: impl Into<String>,
        arity: u8,
        determinism: Determinism,
        body: impl Fn(&[ValueRef<'_>]) -> std::result::Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            arity: Some(arity),
            determinism,
            body: Arc::new(body),
        }
    }

    /// Lets the function take any number of arguments.
    #[must_use]
    pub fn variadic(self) -> Self {
        Self {
            arity: None,
            ..self
        }
    }

    /// Returns the name under which SQL calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn register(&self, connection: &Connection) -> Result<()> {
        let mut flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        if self.determinism == Determinism::Deterministic {
            flags |= FunctionFlags::SQLITE_DETERMINISTIC;
        }
        let body = Arc::clone(&self.body);
        connection
            .raw()
            .create_scalar_function(
                self.name.as_str(),
                self.arity.map_or(-1, i32::from),
                flags,
                move |context| call(&*body, context),
            )
            .map_err(|error| connection.error(error))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .field("arity", &self.arity)
            .field("determinism", &self.determinism)
            .finish_non_exhaustive()
    }
}

fn call(body: &Body, context: &Context<'_>) -> rusqlite::Result<rusqlite::types::Value> {
    let arguments: Vec<_> = (0..context.len())
        .map(|index| RawValue::from(context.get_raw(index)).0)
        .collect();
    let result =
        body(&arguments).map_err(|message| rusqlite::Error::UserFunctionError(message.into()))?;
    Ok(match result {
        Value::Null => rusqlite::types::Value::Null,
        Value::Integer(integer) => rusqlite::types::Value::Integer(integer),
        Value::Real(real) => rusqlite::types::Value::Real(real),
        Value::Text(text) => String::from_utf8(text)
            .map(rusqlite::types::Value::Text)
            .map_err(|error| rusqlite::Error::UserFunctionError(error.into()))?,
        Value::Blob(blob) => rusqlite::types::Value::Blob(blob),
    })
}
