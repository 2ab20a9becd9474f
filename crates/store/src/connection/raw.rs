//! SQLite's connection, and the statements that ran on it last.

use std::{
    cell::{self, RefCell, RefMut},
    fmt,
};

use rusqlite::CachedStatement;
use self_cell::self_cell;

self_cell!(
    struct Cell {
        owner: rusqlite::Connection,
        #[not_covariant]
        dependent: AtHand,
    }
);

/// How many statements are at hand: those that begin and end a batch, and a few of clients. To look through more takes longer than to
/// look one up.
const AT_HAND: usize = 8;

/// The statements that ran last. The place of one that runs is borrowed.
struct AtHand<'c> {
    places: [RefCell<Option<Compiled<'c>>>; AT_HAND],
    /// The place of the one that ran last.
    last: cell::Cell<usize>,
    /// The place that the next one takes.
    next: cell::Cell<usize>,
}

/// A compiled statement and its text.
struct Compiled<'c> {
    text: Box<str>,
    statement: CachedStatement<'c>,
}

/// A connection that has the statements at hand that ran last: most batches write the same few again and again, and to find one among the
/// compiled ones takes as long as a small statement.
pub(super) struct Raw(Cell);

// SAFETY: the cell is the only owner of the connection and of the statements compiled on it, and moving it moves them together. The
// binding makes the connection `Send`, with a cache of such statements in it; a statement is not, because alone it would leave its
// connection behind.
#[expect(
    unsafe_code,
    reason = "a connection and its own statements may move between threads together"
)]
unsafe impl Send for Raw {}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Raw").field(self.get()).finish()
    }
}

impl Raw {
    pub(super) fn new(raw: rusqlite::Connection) -> Self {
        Self(Cell::new(raw, |_| AtHand::none()))
    }

    #[inline]
    pub(super) fn get(&self) -> &rusqlite::Connection {
        self.0.borrow_owner()
    }

    pub(super) fn into_inner(self) -> rusqlite::Connection {
        self.0.into_owner()
    }

    /// Runs a statement, which need not be looked up if it is one of the last, and keeps it at hand if it succeeds. `run` gets the error if
    /// it cannot be compiled.
    #[inline]
    pub(super) fn run<T, E>(
        &self,
        sql: &str,
        run: impl FnOnce(rusqlite::Result<&mut CachedStatement<'_>>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.0
            .with_dependent(|raw, at_hand| match at_hand.find(sql) {
                Some(mut place) => run_at(&mut place, run),
                None => at_hand.compile_and_run(raw, sql, run),
            })
    }

    /// Forgets all compiled statements.
    #[cfg(feature = "capture")]
    pub(super) fn forget_statements(&self) {
        self.0.with_dependent(|raw, at_hand| {
            for place in &at_hand.places {
                // One that runs was not forgotten by SQLite either.
                if let Ok(mut place) = place.try_borrow_mut() {
                    *place = None;
                }
            }
            raw.flush_prepared_statement_cache();
        });
    }
}

impl<'c> AtHand<'c> {
    fn none() -> Self {
        Self {
            places: [const { RefCell::new(None) }; AT_HAND],
            last: cell::Cell::new(0),
            next: cell::Cell::new(0),
        }
    }

    /// Returns the place of a statement, unless that runs.
    #[inline]
    fn find(&self, sql: &str) -> Option<RefMut<'_, Option<Compiled<'c>>>> {
        // Nearly always it is the one that ran last.
        let last = self.at(self.last.get(), sql);
        last.or_else(|| self.find_other(sql))
    }

    fn find_other(&self, sql: &str) -> Option<RefMut<'_, Option<Compiled<'c>>>> {
        let found = (0..AT_HAND).find_map(|place| Some((place, self.at(place, sql)?)));
        found.map(|(place, statement)| {
            self.last.set(place);
            statement
        })
    }

    /// Returns a place, if the statement is there and does not run.
    #[inline]
    fn at(&self, place: usize, sql: &str) -> Option<RefMut<'_, Option<Compiled<'c>>>> {
        let place = self.places[place].try_borrow_mut().ok()?;
        let is_it = |compiled: &Compiled<'_>| *compiled.text == *sql;
        place.as_ref().is_some_and(is_it).then_some(place)
    }

    /// Runs a statement that is not at hand, in the place of the one that came first.
    #[cold]
    fn compile_and_run<T, E>(
        &self,
        raw: &'c rusqlite::Connection,
        sql: &str,
        run: impl FnOnce(rusqlite::Result<&mut CachedStatement<'_>>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut statement = match raw.prepare_cached(sql) {
            Ok(statement) => statement,
            Err(error) => return run(Err(error)),
        };
        let place = self.next.get();
        self.next.set((place + 1) % AT_HAND);
        let Ok(mut compiled) = self.places[place].try_borrow_mut() else {
            // The one there runs.
            return run(Ok(&mut statement));
        };
        self.last.set(place);
        let text = sql.into();
        *compiled = Some(Compiled { text, statement });
        run_at(&mut compiled, run)
    }
}

/// Runs the statement in a place, and leaves it there if it succeeds.
#[inline]
fn run_at<T, E>(
    place: &mut Option<Compiled<'_>>,
    run: impl FnOnce(rusqlite::Result<&mut CachedStatement<'_>>) -> Result<T, E>,
) -> Result<T, E> {
    let compiled = place.as_mut().expect("a statement is in its place");
    let result = run(Ok(&mut compiled.statement));
    if result.is_err() {
        *place = None;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "SELECT 1";

    fn raw() -> Raw {
        Raw::new(rusqlite::Connection::open_in_memory().unwrap())
    }

    /// Runs a query, and something else while it runs; returns its value.
    fn read(raw: &Raw, sql: &str, meanwhile: impl FnOnce()) -> rusqlite::Result<i64> {
        raw.run(sql, |statement| {
            let mut rows = statement?.raw_query();
            let value = rows.next()?.expect("it gives a row").get(0)?;
            meanwhile();
            Ok(value)
        })
    }

    #[test]
    fn a_statement_may_run_while_it_runs() {
        fn nest(raw: &Raw, depth: usize) {
            if depth > 0 {
                assert_eq!(read(raw, ONE, || nest(raw, depth - 1)), Ok(1));
            }
        }
        let raw = raw();
        nest(&raw, 2 * AT_HAND + 1);
        assert_eq!(read(&raw, ONE, || ()), Ok(1));
    }

    #[test]
    fn a_statement_that_takes_a_place_is_the_one_that_runs() {
        let raw = raw();
        for number in (0..3 * AT_HAND as i64).chain(0..3) {
            let sql = format!("SELECT {number}");
            for _ in 0..2 {
                assert_eq!(read(&raw, &sql, || ()), Ok(number));
                assert_eq!(read(&raw, ONE, || ()), Ok(1));
            }
            assert!(read(&raw, "SELECT nothing", || ()).is_err());
        }
    }

    #[test]
    fn only_what_succeeds_stays_at_hand() {
        let raw = raw();
        let at_hand = |sql| {
            raw.0
                .with_dependent(|_, at_hand| at_hand.find(sql).is_some())
        };
        read(&raw, ONE, || ()).unwrap();
        assert!(at_hand(ONE));
        let failed = raw.run(ONE, |_| Err::<(), _>(()));
        assert_eq!((failed, at_hand(ONE)), (Err(()), false));
        read(&raw, ONE, || ()).unwrap();
        #[cfg(feature = "capture")]
        {
            raw.forget_statements();
            assert!(!at_hand(ONE));
        }
    }
}
