//! Reading from a pooled connection.

use std::{ops::ControlFlow, time::Instant};

use crate::{
    Description, Params, Result, Row, Sql, clock, connection::Connection, describe, file::Shared,
    pool::Loan, session::Session,
};

/// A reader of a shard file, on loan from its pool.
///
/// Each read sees all commits of this process that returned before the read began. Several reads in
/// a row may see different states; take a [`Snapshot`](crate::Snapshot) where that matters. Return a
/// reader (drop it) when it is not needed for a while: under
/// [`snapshot_reads`](crate::Config::snapshot_reads) it may keep old pages alive.
#[derive(Debug)]
pub struct Reader<'f> {
    shared: &'f Shared,
    loan: Option<Loan<Pooled>>,
}

impl<'f> Reader<'f> {
    #[inline]
    pub(crate) fn new(shared: &'f Shared, loan: Loan<Pooled>) -> Self {
        Self {
            shared,
            loan: Some(loan),
        }
    }

    /// Runs a query and shows each row to `visit` until that breaks.
    ///
    /// # Errors
    ///
    /// [`Error::NotAQuery`](crate::Error::NotAQuery) if the statement writes or gives no columns,
    /// [`Error::Parameters`](crate::Error::Parameters) if the values do not fit it, and what SQLite
    /// reports. Rows may have been visited before an error.
    #[inline]
    pub fn query<'p, B>(
        &mut self,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>> {
        self.current()?.query(sql.into(), params.into(), visit)
    }

    /// Runs a query and returns what `map` makes of its first row, or `None` if it has no rows.
    ///
    /// # Errors
    ///
    /// As [`Reader::query`].
    #[inline]
    pub fn query_row<'p, T>(
        &mut self,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
        mut map: impl FnMut(&Row<'_>) -> T,
    ) -> Result<Option<T>> {
        let flow = self.query(sql, params, |row| ControlFlow::Break(map(row)))?;
        Ok(flow.break_value())
    }

    /// Describes a statement without running it. It may be one that writes.
    ///
    /// # Errors
    ///
    /// What SQLite reports about the statement.
    pub fn describe(&mut self, sql: &str) -> Result<Description> {
        describe::describe(self.current()?.connection(), sql)
    }

    /// Returns the connection, at a state that is recent enough to read.
    #[inline]
    fn current(&mut self) -> Result<&mut Session> {
        let shared = self.shared;
        let pooled = &mut *self
            .loan
            .as_mut()
            .expect("a reader has its loan until it drops")
            .item;
        if shared.config.snapshot_reads {
            pooled.refresh(shared)?;
        }
        Ok(&mut pooled.session)
    }
}

impl Drop for Reader<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(mut loan) = self.loan.take() {
            if let Hold::Kept { commits, .. } = loan.item.hold
                && Some(commits) != self.shared.commits.settled()
            {
                loan.item.release();
            }
            self.shared.readers.put(loan);
        }
    }
}

/// A connection of the pool, and the read transaction that it may keep open.
#[derive(Debug)]
pub(crate) struct Pooled {
    session: Session,
    hold: Hold,
}

#[derive(Clone, Copy, Debug)]
enum Hold {
    /// No transaction is open. The last read began when there were so many commits.
    Free { commits: Option<u64> },
    /// A transaction is open that sees at least so many commits.
    Kept { commits: u64, since: Instant },
}

impl Pooled {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            hold: Hold::Free { commits: None },
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        self.session.connection()
    }

    /// Ends the kept transaction if it is out of date, and keeps one if nothing was committed since
    /// the last read. So a load of alternating reads and commits pays for no transaction.
    fn refresh(&mut self, shared: &Shared) -> Result<()> {
        // Loaded before the transaction begins, so that the transaction sees at least these.
        let current = shared.commits.settled();
        match (self.hold, current) {
            (Hold::Kept { commits, since }, Some(current)) if commits == current => {
                let now = clock::now();
                if now.duration_since(since) < shared.config.snapshot_age_max {
                    return Ok(());
                }
                self.release();
                self.keep(current, now)
            }
            (Hold::Free { commits }, Some(current)) if commits == Some(current) => {
                self.keep(current, clock::now())
            }
            (Hold::Kept { .. } | Hold::Free { .. }, current) => {
                self.release();
                self.hold = Hold::Free { commits: current };
                Ok(())
            }
        }
    }

    fn keep(&mut self, commits: u64, since: Instant) -> Result<()> {
        self.begin()?;
        self.hold = Hold::Kept { commits, since };
        Ok(())
    }

    /// Opens a read transaction. It takes its snapshot with the first read.
    pub(crate) fn begin(&self) -> Result<()> {
        self.connection().execute("BEGIN", Params::NONE).map(drop)
    }

    /// Ends the transaction that is open, if one is.
    pub(crate) fn release(&mut self) {
        if !self.connection().raw().is_autocommit() {
            // Ending a read transaction can only fail if it has ended already.
            let _ended = self.connection().execute("ROLLBACK", Params::NONE);
        }
        self.hold = Hold::Free { commits: None };
    }
}
