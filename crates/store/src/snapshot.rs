//! A read transaction that is held open.

use std::{
    cell::OnceCell,
    ops::ControlFlow,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    Cursor, Description, Params, Result, Row, Sql, connection::Connection, describe, file::Shared,
    pool::Loan, reader::Pooled,
};

/// Reads a little of a file.
pub(crate) const FIRST_READ: &str = "SELECT rootpage FROM sqlite_schema LIMIT 1";

/// The state of a shard file at one moment, for as long as the snapshot lives.
///
/// It may move to another thread, but its cursors may not: put it into an [`Rc`] on the thread that
/// reads, and open any number of [`Cursor`]s there. While it lives, the write-ahead log cannot be
/// reset, so it should not live for long under a load of writes.
#[derive(Debug)]
pub struct Snapshot {
    loan: Option<Loan<Pooled>>,
    shared: Arc<Shared>,
    interrupter: OnceCell<Interrupter>,
}

impl Snapshot {
    pub(crate) fn begin(shared: Arc<Shared>) -> Result<Self> {
        let loan = shared.lend()?;
        Self::of(loan, shared)
    }

    pub(crate) fn of(mut loan: Loan<Pooled>, shared: Arc<Shared>) -> Result<Self> {
        loan.item.release();
        let snapshot = Self {
            loan: Some(loan),
            shared,
            interrupter: OnceCell::new(),
        };
        snapshot.pooled().begin()?;
        // The first read is what fixes the state.
        let connection = snapshot.connection();
        connection.query_row(FIRST_READ, Params::NONE, |_| ())?;
        Ok(snapshot)
    }

    /// Runs a query and shows each row to `visit` until that breaks.
    ///
    /// # Errors
    ///
    /// As [`Reader::query`](crate::Reader::query).
    pub fn query<'p, B>(
        &self,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>> {
        self.connection()
            .read(sql.into().as_str(), params.into(), visit)
    }

    /// Runs a query and returns what `map` makes of its first row, or `None` if it has no rows.
    ///
    /// # Errors
    ///
    /// As [`Reader::query`](crate::Reader::query).
    pub fn query_row<'p, T>(
        &self,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
        map: impl FnMut(&Row<'_>) -> T,
    ) -> Result<Option<T>> {
        self.connection()
            .query_row(sql.into().as_str(), params.into(), map)
    }

    /// Describes a statement without running it. It may be one that writes.
    ///
    /// # Errors
    ///
    /// What SQLite reports about the statement.
    pub fn describe(&self, sql: &str) -> Result<Description> {
        describe::describe(self.connection(), sql)
    }

    /// Opens a cursor on this snapshot, and keeps the snapshot alive as long as the cursor.
    ///
    /// # Errors
    ///
    /// As [`Reader::query`](crate::Reader::query), except that rows are not computed yet.
    pub fn cursor<'p>(
        self: &Rc<Self>,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
    ) -> Result<Cursor> {
        Cursor::open(Rc::clone(self), sql.into().as_str(), params.into())
    }

    /// Returns a handle that stops this snapshot's queries from any thread.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        self.interrupter
            .get_or_init(|| Interrupter::new(self.connection()))
            .clone()
    }

    pub(crate) fn connection(&self) -> &Connection {
        self.pooled().connection()
    }

    #[cfg(feature = "capture")]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    #[cfg(feature = "capture")]
    pub(crate) fn busy(&self) -> crate::Error {
        self.shared.busy(crate::Holder::Lock)
    }

    fn pooled(&self) -> &Pooled {
        &self
            .loan
            .as_ref()
            .expect("a snapshot has its loan until it drops")
            .item
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let Some(interrupter) = self.interrupter.take() {
            interrupter.disarm();
        }
        if let Some(mut loan) = self.loan.take() {
            loan.item.release();
            self.shared.readers.put(loan);
        }
    }
}

/// Stops the running queries of one snapshot or writer.
///
/// They fail with [`Error::Interrupted`](crate::Error::Interrupted). Without a running query, or
/// after its snapshot is gone, it does nothing.
#[derive(Clone)]
pub struct Interrupter {
    handle: Arc<Mutex<Option<rusqlite::InterruptHandle>>>,
}

impl Interrupter {
    pub(crate) fn new(connection: &Connection) -> Self {
        Self {
            handle: Arc::new(Mutex::new(Some(connection.raw().get_interrupt_handle()))),
        }
    }

    /// Stops what runs now.
    pub fn interrupt(&self) {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &*handle {
            handle.interrupt();
        }
    }

    /// Makes the handle harmless before the connection serves somebody else.
    pub(crate) fn disarm(&self) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl std::fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}
