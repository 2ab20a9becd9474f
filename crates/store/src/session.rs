//! A connection together with the statements that it keeps compiled.

use std::{fmt, ops::ControlFlow};

use self_cell::self_cell;

use crate::{
    Params, Result, Row, Sql, Statement,
    connection::{Connection, is_query},
    error::Error,
};

self_cell!(
    struct Cell {
        owner: Connection,
        #[covariant]
        dependent: Compiled,
    }
);

/// The compiled statements of a connection, each at the place that its number gives it.
struct Compiled<'c> {
    places: Vec<Option<Place<'c>>>,
}

struct Place<'c> {
    number: u64,
    statement: rusqlite::Statement<'c>,
}

/// A connection that reads, with the statements that it keeps compiled.
pub(crate) struct Session(Cell);

// SAFETY: the cell is the only owner of the connection and of every statement compiled on it, and
// moving it moves them together. SQLite permits a connection and its statements to be used by
// different threads one after the other in all threading modes but single-thread, in which the
// binding refuses to open a connection. The binding itself makes the connection `Send`, with a cache
// of such statements in it; `Statement` is not, because alone it would leave its connection behind.
#[expect(
    unsafe_code,
    reason = "a connection and its own statements may move between threads together"
)]
unsafe impl Send for Session {}

impl Session {
    /// Keeps up to `capacity` numbered statements.
    pub(crate) fn new(connection: Connection, capacity: usize) -> Self {
        Self(Cell::new(connection, |_| Compiled {
            places: std::iter::repeat_with(|| None)
                .take(capacity.max(1))
                .collect(),
        }))
    }

    #[inline]
    pub(crate) fn connection(&self) -> &Connection {
        self.0.borrow_owner()
    }

    /// Runs a query and shows each row to `visit` until that breaks.
    #[inline]
    pub(crate) fn query<B>(
        &mut self,
        sql: Sql<'_>,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>> {
        match sql {
            Sql::Text(text) => self.connection().read(text, params, visit),
            Sql::Statement(statement) => self.0.with_dependent_mut(|connection, compiled| {
                let statement = compiled.get(connection, statement)?;
                params.bind(statement)?;
                connection.visit(statement, visit)
            }),
        }
    }
}

impl<'c> Compiled<'c> {
    #[inline]
    fn get(
        &mut self,
        connection: &'c Connection,
        statement: &Statement,
    ) -> Result<&mut rusqlite::Statement<'c>> {
        let number = statement.number();
        let places = self.places.len() as u64;
        let place = &mut self.places[(number % places) as usize];
        if !matches!(place, Some(place) if place.number == number) {
            *place = Some(Place {
                number,
                statement: compile(connection, statement)?,
            });
        }
        Ok(&mut place.as_mut().expect("the place was just filled").statement)
    }
}

#[cold]
fn compile<'c>(
    connection: &'c Connection,
    statement: &Statement,
) -> Result<rusqlite::Statement<'c>> {
    let compiled = connection.prepare_to_keep(statement.sql())?;
    if is_query(&compiled) {
        Ok(compiled)
    } else {
        Err(Error::NotAQuery)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(self.connection()).finish()
    }
}
