//! The one writer of a shard file.

#[cfg(feature = "capture")]
mod apply;
mod batch;
#[cfg(feature = "capture")]
mod captured;
mod keyword;
mod member;
mod moving;
#[cfg(feature = "capture")]
mod position;
mod watch;

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    Description, Error, Holder, Interrupter, Outcome, Params, Result, Row, Sql, Value,
    commits::Commits, connection::Connection, describe, file::Shared, guard::Guard, identity,
};

#[cfg(feature = "capture")]
pub use self::captured::Captured;
use self::moving::Moving;
pub use self::{
    batch::{Decision, Executed, Fate},
    member::Member,
};

/// The right to write to a shard file, for one holder at a time in this process.
///
/// Outside a transaction each statement is one of its own. A writer that is dropped with an open
/// transaction rolls it back. Settings made with PRAGMA stay with the file's one writing connection:
/// the next holder finds them too.
#[derive(Debug)]
pub struct Writer {
    connection: Option<Box<WriterConnection>>,
    shared: Arc<Shared>,
}

impl Writer {
    pub(crate) fn take(shared: Arc<Shared>) -> Result<Self> {
        if !shared.writer.exists {
            return Err(Error::ReadOnly {
                path: Arc::clone(&shared.path),
            });
        }
        let connection = shared
            .writer
            .take(shared.config.busy_timeout)
            .ok_or_else(|| shared.busy(Holder::Writer))?;
        Ok(Self {
            connection: Some(connection),
            shared,
        })
    }

    /// Runs one statement to its end and drops the rows it gives.
    ///
    /// # Errors
    ///
    /// What SQLite reports. [`Error::TransactionEnded`] if the statement failed and took the open
    /// transaction with it.
    pub fn execute<'p>(
        &mut self,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
    ) -> Result<Outcome> {
        self.query(sql, params, |_| ControlFlow::<()>::Continue(()))
            .map(|(outcome, _)| outcome)
    }

    /// Runs one statement, and shows the rows that it gives to `visit` until that breaks. All its
    /// changes are made before the first row is shown.
    ///
    /// # Errors
    ///
    /// As [`Writer::execute`].
    pub fn query<'p, B>(
        &mut self,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Outcome, ControlFlow<B>)> {
        let sql = sql.into().as_str();
        Guard::check_text(sql)?;
        self.serve_clients()?;
        let open = self.in_transaction();
        let result = self.connection().query_again(sql, params.into(), visit);
        self.after_statement(open, result)
    }

    /// Runs one statement to its end and returns what `map` makes of the first row it gives.
    ///
    /// # Errors
    ///
    /// As [`Writer::execute`].
    pub fn query_row<'p, T>(
        &mut self,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
        mut map: impl FnMut(&Row<'_>) -> T,
    ) -> Result<Option<T>> {
        let (_, flow) = self.query(sql, params, |row| ControlFlow::Break(map(row)))?;
        Ok(flow.break_value())
    }

    /// Describes a statement without running it, with the schema as the open transaction made it.
    ///
    /// # Errors
    ///
    /// What SQLite reports about the statement.
    pub fn describe(&mut self, sql: &str) -> Result<Description> {
        describe::describe(self.connection(), sql)
    }

    /// Runs statements separated by semicolons. They take no parameters, and their rows are dropped.
    ///
    /// # Errors
    ///
    /// As [`Writer::execute`]. The statements before the failed one have taken effect, unless a
    /// transaction around them is rolled back.
    pub fn execute_script(&mut self, sql: &str) -> Result<()> {
        self.serve_clients()?;
        let open = self.in_transaction();
        let result = self.connection().run_script(sql);
        self.after_statement(open, result)
    }

    /// Begins a transaction and takes the write lock.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if another process has the lock, [`Error::Sql`] if a transaction is open.
    pub fn begin(&mut self) -> Result<()> {
        self.execute("BEGIN IMMEDIATE", ()).map(drop)
    }

    /// Commits the open transaction.
    ///
    /// # Errors
    ///
    /// What SQLite reports. After [`Error::Constraint`] (a deferred foreign key) and [`Error::Busy`] the
    /// transaction is still open; after anything else check [`Writer::in_transaction`].
    pub fn commit(&mut self) -> Result<()> {
        self.execute("COMMIT", ()).map(drop)
    }

    /// Undoes the open transaction. Without one it does nothing.
    ///
    /// # Errors
    ///
    /// What SQLite reports.
    pub fn rollback(&mut self) -> Result<()> {
        if self.in_transaction() {
            self.connection().execute("ROLLBACK", Params::NONE)?;
            #[cfg(feature = "capture")]
            self.end_undone_capture();
        }
        Ok(())
    }

    /// Opens a savepoint in the open transaction, or a transaction that ends with its release.
    ///
    /// # Errors
    ///
    /// What SQLite reports.
    pub fn savepoint(&mut self, name: &str) -> Result<()> {
        self.execute_script(&format!("SAVEPOINT {}", quote(name)))
    }

    /// Keeps what was done since the savepoint, and removes it.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] if there is no such savepoint.
    pub fn release(&mut self, name: &str) -> Result<()> {
        self.execute_script(&format!("RELEASE {}", quote(name)))
    }

    /// Undoes what was done since the savepoint, and keeps it.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] if there is no such savepoint.
    pub fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.execute_script(&format!("ROLLBACK TO {}", quote(name)))
    }

    /// Returns whether a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        !self.connection().raw().is_autocommit()
    }

    /// Writes one row of the file's `_meta` table. Keys with a dot in them are the caller's own; the
    /// others belong to the file format. Other copies of a shard do not get it: a note that they are to have is written
    /// by a statement of a batch.
    ///
    /// # Errors
    ///
    /// As [`Writer::execute`].
    pub fn set_meta(&mut self, key: &str, value: &Value) -> Result<()> {
        let open = self.in_transaction();
        let result = self
            .guard()
            .ours(|| identity::set_meta(self.connection(), key, value));
        self.after_statement(open, result)
    }

    /// Returns a handle that stops this writer's statements from any thread.
    #[must_use]
    pub fn interrupter(&mut self) -> Interrupter {
        let connection = self.connection_mut();
        connection
            .interrupter
            .get_or_insert_with(|| Interrupter::new(&connection.inner))
            .clone()
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self
            .connection
            .as_ref()
            .expect("a writer has its connection until it drops")
            .inner
    }

    fn guard(&self) -> &Guard {
        &self
            .connection
            .as_ref()
            .expect("a writer has its connection until it drops")
            .guard
    }

    /// Says whether the statements from now on are our own.
    #[cfg(feature = "capture")]
    fn guard_ours(&self, ours: bool) {
        self.guard().set_ours(ours);
    }

    /// Makes the connection one for clients' statements, if it applied changes before.
    #[cfg(not(feature = "capture"))]
    fn serve_clients(&mut self) -> Result<()> {
        Ok(())
    }

    fn connection_mut(&mut self) -> &mut WriterConnection {
        self.connection
            .as_mut()
            .expect("a writer has its connection until it drops")
    }

    /// Cleans up after a commit, and reports a transaction that ended by a failure.
    fn after_statement<T>(&mut self, was_open: bool, result: Result<T>) -> Result<T> {
        self.shared.commits.settle();
        if self.in_transaction() {
            #[cfg(feature = "capture")]
            if result.is_err() {
                self.note_undone();
            }
            return result;
        }
        #[cfg(feature = "capture")]
        self.end_capture();
        let commits = self.shared.commits.settled();
        if commits != self.connection_mut().seen_commits {
            self.connection_mut().seen_commits = commits;
            self.after_commit();
        }
        if !was_open {
            return result;
        }
        result.map_err(|error| Error::TransactionEnded {
            source: Box::new(error),
        })
    }

    pub(crate) fn release_idle_readers(&self) {
        self.shared.release_idle_readers();
    }

    /// Ends the idle readers' kept transactions, and moves a long write-ahead log into the file.
    fn after_commit(&mut self) {
        self.shared.release_idle_readers();
        let shared = Arc::clone(&self.shared);
        let connection = self.connection_mut();
        let pages = connection.wal_pages.load(Ordering::Relaxed);
        connection
            .moving
            .go_on(&connection.inner, &shared.config, pages);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            if let Some(interrupter) = connection.interrupter.take() {
                interrupter.disarm();
            }
            if !connection.inner.raw().is_autocommit() {
                // A rollback that fails has nothing left to undo.
                let _ended = connection.inner.execute("ROLLBACK", Params::NONE);
            }
            #[cfg(feature = "capture")]
            {
                connection.capture_wanted = false;
                if let Some(capture) = &mut connection.capture {
                    capture.end();
                }
            }
            self.shared.writer.put(connection);
        }
    }
}

/// The connection that writes. Fields drop in this order: the capture outlives the connection that
/// reports to it.
#[derive(Debug)]
pub(crate) struct WriterConnection {
    inner: Connection,
    guard: Arc<Guard>,
    #[cfg(feature = "capture")]
    capture: Option<crate::capture::Capture>,
    /// Whether the batch that runs is to be captured.
    #[cfg(feature = "capture")]
    capture_wanted: bool,
    /// Whether the connection is set up to apply changes, not to run clients' statements.
    #[cfg(feature = "capture")]
    applies: bool,
    /// Whether the file is known to be a copy, with tables of a layout that is known.
    #[cfg(feature = "capture")]
    is_copy: bool,
    /// In how many of the next captured batches each member has a savepoint.
    #[cfg(feature = "capture")]
    careful: u32,
    interrupter: Option<Interrupter>,
    /// The script that made its temporary tables and triggers.
    watched: Option<Arc<str>>,
    /// The commits after which readers were last told to let go.
    seen_commits: Option<u64>,
    /// The length of the write-ahead log after the last commit that wrote.
    wal_pages: Arc<AtomicU32>,
    /// How much of it is in the file.
    moving: Moving,
}

/// Where the writer waits for its next holder.
#[derive(Debug)]
pub(crate) struct WriterSlot {
    exists: bool,
    queue: Mutex<Queue>,
    returned: Condvar,
}

/// The writer while nobody holds it, and how many wait for it.
#[derive(Debug)]
struct Queue {
    idle: Option<Box<WriterConnection>>,
    waiting: usize,
}

impl WriterSlot {
    /// The slot of a file that is not open for writing.
    pub(crate) fn none() -> Self {
        Self {
            exists: false,
            queue: Mutex::new(Queue::new(None)),
            returned: Condvar::new(),
        }
    }

    /// Makes the slot of a file that is open for writing. `commits` then counts its commits.
    pub(crate) fn open(connection: Connection, commits: Arc<Commits>) -> Result<Self> {
        // SQLite opens a file that it may not write as if it had been asked to read it only.
        let read_only = connection
            .raw()
            .is_readonly("main")
            .map_err(|error| connection.error(error))?;
        if read_only
            || connection
                .query_pragma("PRAGMA journal_mode = WAL")?
                .as_str()
                != Some("wal")
        {
            return Err(Error::ReadOnly {
                path: Arc::clone(connection.path()),
            });
        }
        let wal_pages = Arc::new(AtomicU32::new(0));
        let hook = Arc::clone(&wal_pages);
        let announced = Arc::clone(&commits);
        let guard = Arc::new(Guard::default());
        let (commit_guard, statement_guard) = (Arc::clone(&guard), Arc::clone(&guard));
        // SQLite calls it when a commit is complete and its lock released. It replaces SQLite's own
        // checkpoint, which would run before the readers have let go of their kept transactions.
        let connection = connection.change(|raw| {
            raw.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
                hook.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
                commits.complete();
                Ok(())
            }))?;
            raw.commit_hook(Some(move || {
                announced.announce();
                commit_guard.has_late_change()
            }))?;
            raw.authorizer(Some(move |context: rusqlite::hooks::AuthContext<'_>| {
                statement_guard.authorize(&context)
            }))
        })?;
        Ok(Self {
            exists: true,
            queue: Mutex::new(Queue::new(Some(Box::new(WriterConnection {
                inner: connection,
                guard,
                #[cfg(feature = "capture")]
                capture: None,
                #[cfg(feature = "capture")]
                capture_wanted: false,
                #[cfg(feature = "capture")]
                applies: false,
                #[cfg(feature = "capture")]
                is_copy: false,
                #[cfg(feature = "capture")]
                careful: 0,
                interrupter: None,
                watched: None,
                seen_commits: Some(0),
                wal_pages,
                moving: Moving::default(),
            })))),
            returned: Condvar::new(),
        })
    }

    fn take(&self, limit: Duration) -> Option<Box<WriterConnection>> {
        let mut queue = self.lock();
        if let Some(connection) = queue.idle.take() {
            return Some(connection);
        }
        queue.waiting += 1;
        let (mut queue, _) = self
            .returned
            .wait_timeout_while(queue, limit, |queue| queue.idle.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        queue.waiting -= 1;
        queue.idle.take()
    }

    /// Wakes the next holder, if there is one: waking is a system call even where nobody waits.
    fn put(&self, connection: Box<WriterConnection>) {
        let mut queue = self.lock();
        queue.idle = Some(connection);
        let wanted = queue.waiting > 0;
        drop(queue);
        if wanted {
            self.returned.notify_one();
        }
    }

    /// Closes the writer, which moves the write-ahead log into the file and removes it.
    pub(crate) fn close(&self) -> Result<()> {
        let idle = self.lock().idle.take();
        match idle {
            Some(mut connection) => {
                connection.moving.end();
                connection.inner.close()
            }
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn new(idle: Option<Box<WriterConnection>>) -> Self {
        Self { idle, waiting: 0 }
    }
}

/// Quotes an identifier for use in SQL.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
