//! The gathering tier: the statement runs, as it is, in a private in-memory SQLite whose tables are virtual tables over
//! the shards.
//!
//! SQLite decides how to join, sort and aggregate, and it checks every condition itself. What it tells a virtual table
//! about the rows it needs is passed on to the shards, so that they send little; passing on too little costs time,
//! passing on too much would lose rows, and [`pushdown`] says what is safe.

mod connection;
mod copy;
mod cursor;
mod execution;
mod homes;
mod pushdown;
mod table;

use std::{
    collections::HashMap,
    ops::ControlFlow,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use shardwright_store::{Params, Row, Value};

use self::{connection::GatherConnection, execution::Execution};
use crate::{
    database::Limits,
    error::Error,
    plan::OwnedRouting,
    schema::Schema,
    shards::{Place, Shards},
};

/// Connections to run gathering statements on, for one schema version.
#[derive(Debug)]
pub(crate) struct GatherPool {
    schema: Arc<Schema>,
    idle: Mutex<Vec<GatherConnection>>,
}

/// What a gathering statement has to work with.
#[derive(Debug)]
pub(crate) struct GatherRequest {
    pub(crate) shards: Rc<dyn Shards>,
    pub(crate) routing: OwnedRouting,
    /// The keys that matter, by folded table name, as far as the planner knows them.
    pub(crate) pins: HashMap<String, Vec<Value>>,
    pub(crate) limits: Limits,
}

/// What a gathering statement touched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Gathered {
    pub(crate) places: Vec<Place>,
}

impl GatherPool {
    pub(crate) fn new(schema: Arc<Schema>) -> Self {
        Self {
            schema,
            idle: Mutex::default(),
        }
    }

    /// Runs a SELECT and shows its rows to `visit` until that breaks.
    pub(crate) fn query(
        &self,
        sql: &str,
        params: &Params<'_>,
        request: GatherRequest,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> Result<Gathered, Error> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => GatherConnection::open(&self.schema)?,
        };
        let execution = Rc::new(Execution::new(request));
        let result = connection.query(sql, params, &execution, visit);
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        let failure = execution.take_failure();
        match (failure, result) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Ok(Gathered {
                places: execution.touched(),
            }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
