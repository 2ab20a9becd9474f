//! A file of the database that is being filled.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, config::DbConfig};
use shardwright_store::Error as StoreError;

use crate::error::Error;

/// The file of one place, set up to take rows as they are: no triggers fire, no foreign key or CHECK is asked, and
/// the tables behind virtual tables may be written.
#[derive(Debug)]
pub(super) struct Target {
    name: String,
    path: PathBuf,
    connection: Connection,
}

impl Target {
    pub(super) fn open(name: &str, path: PathBuf) -> Result<Self, Error> {
        let connection = Connection::open(&path).map_err(|error| failed(error, name, &path))?;
        let target = Self {
            name: name.to_owned(),
            path,
            connection,
        };
        target.set_up().map_err(|error| target.error(error))?;
        Ok(target)
    }

    /// A checkpoint syncs the file, so that what the journal says after it is true after a power failure too.
    fn set_up(&self) -> rusqlite::Result<()> {
        let sqlite = &self.connection;
        for setting in [
            DbConfig::SQLITE_DBCONFIG_DEFENSIVE,
            DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER,
        ] {
            sqlite.set_db_config(setting, false)?;
        }
        sqlite.execute_batch(
            "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; PRAGMA synchronous = NORMAL;
             PRAGMA wal_autocheckpoint = 16384; PRAGMA cache_size = -16384",
        )
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn run(&self, sql: &str) -> Result<(), Error> {
        self.connection
            .execute_batch(sql)
            .map_err(|error| self.error(error))
    }

    pub(super) fn begin(&self) -> Result<(), Error> {
        self.run("BEGIN IMMEDIATE")
    }

    pub(super) fn commit(&self) -> Result<(), Error> {
        self.run("COMMIT")
    }

    /// Runs `work` in one transaction.
    pub(super) fn transaction(
        &self,
        work: impl FnOnce(&Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.begin()?;
        work(self).and_then(|()| self.commit()).inspect_err(|_| {
            // The failure itself may have ended the transaction.
            let _ended = self.run("ROLLBACK");
        })
    }

    pub(super) fn count(&self, table: &str) -> Result<u64, Error> {
        let sql = format!(
            "SELECT count(*) FROM main.{}",
            crate::schema::quote_identifier(table)
        );
        self.connection
            .query_row(&sql, (), |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
            .map_err(|error| self.error(error))
    }

    /// Whether the file has an object of that kind and name.
    pub(super) fn has(&self, kind: &str, name: &str) -> Result<bool, Error> {
        self.connection
            .query_row(
                "SELECT count(*) FROM main.sqlite_schema WHERE type = ?1 AND name = ?2",
                (kind, name),
                |row| row.get(0),
            )
            .map_err(|error| self.error(error))
    }

    /// Moves everything into the file itself, and waits until it is on disk.
    pub(super) fn checkpoint(&self) -> Result<(), Error> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
            .map_err(|error| self.error(error))
    }

    pub(super) fn close(self) -> Result<(), Error> {
        let Self {
            name,
            path,
            connection,
        } = self;
        connection
            .close()
            .map_err(|(_, error)| failed(error, &name, &path))
    }

    pub(super) fn error(&self, error: rusqlite::Error) -> Error {
        failed(error, &self.name, &self.path)
    }
}

fn failed(error: rusqlite::Error, place: &str, path: &Path) -> Error {
    let path = || path.into();
    let source = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { path: path() },
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { path: path() },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt {
            path: path(),
            message: error.to_string(),
        },
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => StoreError::CannotOpen {
            path: path(),
            message: error.to_string(),
        },
        _ => return Error::from_sqlite(error),
    };
    Error::Store {
        place: place.to_owned(),
        source,
    }
}
