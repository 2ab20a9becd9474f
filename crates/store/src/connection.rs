//! One SQLite connection, set up the way every connection to a shard file is.

mod deferred;
mod raw;

use std::{fmt::Write, ops::ControlFlow, path::Path, sync::Arc};

use rusqlite::{CachedStatement, OpenFlags, PrepFlags, config::DbConfig};

use crate::{Access, Config, Error, Params, Result, Row, Value};

pub(crate) use self::deferred::deferred_violations;
use self::raw::Raw;

/// What a statement did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The rows that it inserted, updated or deleted itself; not those of triggers and foreign keys.
    pub changes: u64,
    /// The rowid of the last row that this connection inserted into a rowid table; 0 if none.
    pub last_insert_rowid: i64,
}

/// A connection to the file at `path`.
#[derive(Debug)]
pub(crate) struct Connection {
    raw: Raw,
    path: Arc<Path>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Write,
    Read,
}

impl Connection {
    pub(crate) fn open(path: &Arc<Path>, config: &Config, purpose: Purpose) -> Result<Self> {
        let raw = match (config.access, purpose) {
            (Access::Immutable, _) => rusqlite::Connection::open_with_flags(
                immutable_uri(path)?,
                flags(purpose) | OpenFlags::SQLITE_OPEN_URI,
            ),
            (Access::ReadWrite | Access::ReadOnly, _) => {
                rusqlite::Connection::open_with_flags(&**path, flags(purpose))
            }
        }
        .map_err(|error| Error::from_sqlite(error, path))?;
        let connection = Self::of(raw, Arc::clone(path));
        connection.set_up(config, purpose)?;
        Ok(connection)
    }

    fn set_up(&self, config: &Config, purpose: Purpose) -> Result<()> {
        let raw = self.raw();
        raw.set_prepared_statement_cache_capacity(config.statement_cache);
        raw.busy_timeout(config.busy_timeout)
            .and_then(|()| raw.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true))
            .and_then(|_| raw.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false))
            .map_err(|error| self.error(error))?;
        let foreign_keys = if config.foreign_keys { "ON" } else { "OFF" };
        self.run_script(&format!("PRAGMA foreign_keys = {foreign_keys}"))?;
        if purpose != Purpose::Read {
            let keyword = config.synchronous.keyword();
            self.run_script(&format!("PRAGMA synchronous = {keyword}"))?;
        }
        for function in &config.functions {
            function.register(self)?;
        }
        if !config.setup_sql.is_empty() {
            self.run_script(&config.setup_sql)?;
        }
        Ok(())
    }

    pub(crate) fn raw(&self) -> &rusqlite::Connection {
        self.raw.get()
    }

    fn of(raw: rusqlite::Connection, path: Arc<Path>) -> Self {
        Self {
            raw: Raw::new(raw),
            path,
        }
    }

    /// Changes what the binding lets nobody change who shares the connection.
    pub(crate) fn change(
        self,
        change: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<()>,
    ) -> Result<Self> {
        let Self { raw, path } = self;
        let mut raw = raw.into_inner();
        match change(&mut raw) {
            Ok(()) => Ok(Self::of(raw, path)),
            Err(error) => Err(Error::from_sqlite(error, &path)),
        }
    }

    /// Forgets all compiled statements.
    #[cfg(feature = "capture")]
    pub(crate) fn forget_statements(&self) {
        self.raw.forget_statements();
    }

    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    #[cold]
    pub(crate) fn error(&self, error: rusqlite::Error) -> Error {
        Error::from_sqlite(error, &self.path)
    }

    pub(crate) fn corrupt(&self, message: &str) -> Error {
        Error::Corrupt {
            path: Arc::clone(&self.path),
            message: message.to_owned(),
        }
    }

    #[inline]
    pub(crate) fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>> {
        self.raw()
            .prepare_cached(sql)
            .map_err(|error| self.error(error))
    }

    /// Compiles a statement that will be run many times.
    pub(crate) fn prepare_to_keep(&self, sql: &str) -> Result<rusqlite::Statement<'_>> {
        self.raw()
            .prepare_with_flags(sql, PrepFlags::SQLITE_PREPARE_PERSISTENT)
            .map_err(|error| self.error(error))
    }

    /// Runs a statement of our own or of a setup script, in which several may stand.
    pub(crate) fn run_script(&self, sql: &str) -> Result<()> {
        self.raw()
            .execute_batch(sql)
            .map_err(|error| self.error(error))
    }

    /// Runs a statement to its end and drops its rows.
    pub(crate) fn execute(&self, sql: &str, params: Params<'_>) -> Result<Outcome> {
        self.query(sql, params, |_| ControlFlow::<()>::Continue(()))
            .map(|(outcome, _)| outcome)
    }

    /// As [`Connection::execute`], faster for the few statements that were run like this last.
    #[cfg(feature = "capture")]
    pub(crate) fn execute_again(&self, sql: &str, params: Params<'_>) -> Result<Outcome> {
        self.query_again(sql, params, |_| ControlFlow::<()>::Continue(()))
            .map(|(outcome, _)| outcome)
    }

    /// Runs a statement and shows each row to `visit`.
    pub(crate) fn query<B>(
        &self,
        sql: &str,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Outcome, ControlFlow<B>)> {
        let before = self.raw().total_changes();
        let flow = {
            let mut statement = self.prepare(sql)?;
            params.bind(&mut statement)?;
            self.visit(&mut statement, visit)?
        };
        Ok((self.outcome_since(before), flow))
    }

    /// As [`Connection::query`], faster for the few statements that were run like this last.
    pub(crate) fn query_again<B>(
        &self,
        sql: &str,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Outcome, ControlFlow<B>)> {
        let before = self.raw().total_changes();
        let flow = self.visit_again(sql, params, visit)?;
        Ok((self.outcome_since(before), flow))
    }

    /// As [`Connection::query_again`], faster for a statement that is known to be INSERT, UPDATE or DELETE.
    #[inline]
    pub(crate) fn change_again<B>(
        &self,
        sql: &str,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Outcome, ControlFlow<B>)> {
        let flow = self.visit_again(sql, params, visit)?;
        let raw = self.raw();
        // SQLite counts anew in each such statement, and keeps the count of the last one beyond all others.
        let outcome = Outcome {
            changes: raw.changes(),
            last_insert_rowid: raw.last_insert_rowid(),
        };
        Ok((outcome, flow))
    }

    #[inline]
    fn visit_again<B>(
        &self,
        sql: &str,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>> {
        self.raw.run(sql, |statement| match statement {
            Ok(statement) => {
                params.bind(statement)?;
                self.visit(statement, visit)
            }
            Err(error) => Err(self.error(error)),
        })
    }

    /// Returns what a statement did, before which so many rows had changed.
    fn outcome_since(&self, before: u64) -> Outcome {
        let raw = self.raw();
        let changed = raw.total_changes() != before;
        Outcome {
            changes: if changed { raw.changes() } else { 0 },
            last_insert_rowid: raw.last_insert_rowid(),
        }
    }

    /// Runs a statement that must be a query, and shows each row to `visit`.
    #[inline]
    pub(crate) fn read<B>(
        &self,
        sql: &str,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>> {
        let mut statement = self.prepare(sql)?;
        if !is_query(&statement) {
            return Err(Error::NotAQuery);
        }
        params.bind(&mut statement)?;
        self.visit(&mut statement, visit)
    }

    /// Returns what `map` makes of the first row, or `None` without rows.
    pub(crate) fn query_row<T>(
        &self,
        sql: &str,
        params: Params<'_>,
        mut map: impl FnMut(&Row<'_>) -> T,
    ) -> Result<Option<T>> {
        let flow = self.read(sql, params, |row| ControlFlow::Break(map(row)))?;
        Ok(flow.break_value())
    }

    /// Returns the one value that a pragma of ours gives.
    pub(crate) fn query_pragma(&self, sql: &str) -> Result<Value> {
        let (_, flow) = self.query(sql, Params::NONE, |row| {
            ControlFlow::Break(row.get(0).to_value())
        })?;
        Ok(flow.break_value().unwrap_or(Value::Null))
    }

    /// Closes the connection and reports what SQLite says about it.
    pub(crate) fn close(self) -> Result<()> {
        let path = self.path;
        self.raw
            .into_inner()
            .close()
            .map_err(|(_, error)| Error::from_sqlite(error, &path))
    }

    #[inline]
    pub(crate) fn visit<B>(
        &self,
        statement: &mut rusqlite::Statement<'_>,
        mut visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>> {
        let mut rows = statement.raw_query();
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    if let ControlFlow::Break(value) = visit(&Row::of_statement(row)) {
                        return Ok(ControlFlow::Break(value));
                    }
                }
                Ok(None) => return Ok(ControlFlow::Continue(())),
                Err(error) => return Err(self.error(error)),
            }
        }
    }
}

/// Returns whether a statement reads and gives rows; BEGIN, ATTACH and the like give none.
#[inline]
pub(crate) fn is_query(statement: &rusqlite::Statement<'_>) -> bool {
    statement.column_count() > 0 && statement.readonly()
}

fn flags(purpose: Purpose) -> OpenFlags {
    let access = match purpose {
        Purpose::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Purpose::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    // A connection is used by one thread at a time, so it needs no mutex of its own.
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE
}

/// Returns the URI that makes SQLite take the file as unchangeable.
fn immutable_uri(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path).map_err(|source| Error::Io {
        action: "resolve",
        path: path.to_path_buf(),
        source,
    })?;
    let mut uri = String::from("file:");
    for byte in absolute.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            write!(uri, "%{byte:02x}").expect("writing to a string cannot fail");
        }
    }
    uri.push_str("?immutable=1");
    Ok(uri)
}
