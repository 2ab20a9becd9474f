//! SQLite's connection, and the statement that ran on it last.

use std::{cell::RefCell, fmt};

use rusqlite::CachedStatement;
use self_cell::self_cell;

self_cell!(
    struct Cell {
        owner: rusqlite::Connection,
        #[not_covariant]
        dependent: Last,
    }
);

/// The statement that ran last and its text, unless it runs.
struct Last<'c>(RefCell<Option<(Box<str>, CachedStatement<'c>)>>);

/// A connection that has the statement at hand that clients ran last: many write the same one after another, and to find it among the
/// compiled ones takes as long as a small statement.
pub(super) struct Raw(Cell);

// SAFETY: the cell is the only owner of the connection and of the statement compiled on it, and moving it moves them together. The
// binding makes the connection `Send`, with a cache of such statements in it; a statement is not, because alone it would leave its
// connection behind.
#[expect(
    unsafe_code,
    reason = "a connection and its own statement may move between threads together"
)]
unsafe impl Send for Raw {}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Raw").field(self.get()).finish()
    }
}

impl Raw {
    pub(super) fn new(raw: rusqlite::Connection) -> Self {
        Self(Cell::new(raw, |_| Last(RefCell::new(None))))
    }

    #[inline]
    pub(super) fn get(&self) -> &rusqlite::Connection {
        self.0.borrow_owner()
    }

    pub(super) fn into_inner(self) -> rusqlite::Connection {
        self.0.into_owner()
    }

    /// Runs a statement, which is compiled already if it ran last, and keeps it at hand if it succeeds. `run` gets the error if it cannot
    /// be compiled.
    #[inline]
    pub(super) fn run<T, E>(
        &self,
        sql: &str,
        run: impl FnOnce(rusqlite::Result<&mut CachedStatement<'_>>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.0.with_dependent(|raw, last| {
            // It is taken out, so that what runs meanwhile on this connection finds none.
            let known = last.0.take().filter(|(text, _)| **text == *sql);
            let known = match known {
                Some(known) => Ok(known),
                None => raw
                    .prepare_cached(sql)
                    .map(|statement| (sql.into(), statement)),
            };
            let (text, mut statement) = match known {
                Ok(known) => known,
                Err(error) => return run(Err(error)),
            };
            let value = run(Ok(&mut statement))?;
            last.0.replace(Some((text, statement)));
            Ok(value)
        })
    }

    /// Forgets all compiled statements.
    #[cfg(feature = "capture")]
    pub(super) fn forget_statements(&self) {
        self.0.with_dependent(|raw, last| {
            drop(last.0.take());
            raw.flush_prepared_statement_cache();
        });
    }
}
