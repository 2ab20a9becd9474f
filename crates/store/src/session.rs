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

/// The compiled statements of a connection. The number of a statement decides its set, and within a
/// set the newest takes the place of the oldest, so a few dozen statements in use never get in each
/// other's way.
struct Compiled<'c> {
    sets: Vec<Set<'c>>,
}

/// How many statements a set holds.
const WAYS: usize = 8;

/// The number of no statement.
const VACANT: u64 = u64::MAX;

struct Set<'c> {
    numbers: [u64; WAYS],
    statements: [Option<rusqlite::Statement<'c>>; WAYS],
    oldest: usize,
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
    /// Keeps up to `capacity` numbered statements, rounded up to whole sets.
    pub(crate) fn new(connection: Connection, capacity: usize) -> Self {
        Self(Cell::new(connection, |_| Compiled {
            sets: std::iter::repeat_with(Set::new)
                .take(capacity.div_ceil(WAYS).max(1))
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
        let sets = self.sets.len() as u64;
        let set = &mut self.sets[(statement.number() % sets) as usize];
        let way = match set.find(statement.number()) {
            Some(way) => way,
            None => set.replace_oldest(statement.number(), compile(connection, statement)?),
        };
        Ok(set.statements[way]
            .as_mut()
            .expect("a number stands beside its statement"))
    }
}

impl<'c> Set<'c> {
    fn new() -> Self {
        Self {
            numbers: [VACANT; WAYS],
            statements: [const { None }; WAYS],
            oldest: 0,
        }
    }

    #[inline]
    fn find(&self, number: u64) -> Option<usize> {
        self.numbers.iter().position(|&other| other == number)
    }

    #[cold]
    fn replace_oldest(&mut self, number: u64, statement: rusqlite::Statement<'c>) -> usize {
        let way = self.oldest;
        self.statements[way] = Some(statement);
        self.numbers[way] = number;
        self.oldest = (way + 1) % WAYS;
        way
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
