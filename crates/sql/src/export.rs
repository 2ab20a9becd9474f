//! Export: a sharded database becomes one SQLite file again, with the schema and the rows of the file that it may
//! have been adopted from.

mod rows;
mod unfinished;

use std::path::Path;

use rusqlite::{Connection, config::DbConfig};

use self::unfinished::Unfinished;
use crate::{
    adopt::{ANALYZED, shadow, source::Source},
    database::{CATALOG, Layout, ShardedDatabase},
    error::Error,
    schema::{Schema, TableKind, fold},
};

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The table that is being copied; `None` while the file is checked at the end.
    pub table: Option<&'a str>,
    /// The rows copied so far, of all tables.
    pub rows: u64,
}

/// What an export wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportReport {
    /// The tables.
    pub tables: usize,
    /// Their rows.
    pub rows: u64,
}

impl ShardedDatabase {
    /// Writes all tables into a new SQLite file, which appears under its name when it is complete and checked. Of
    /// each shard it holds the state that the shard is in when the export begins.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is such a file, [`Error::Locked`] if another process is writing it, [`Error::Store`]
    /// and [`Error::Io`] if it cannot be written. Nothing is left behind then.
    pub fn export(
        &self,
        file: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<ExportReport, Error> {
        let schema = self.schema();
        let places = Places::open(self)?;
        let unfinished = Unfinished::create(file.as_ref())?;
        let mut export = Export {
            schema: &schema,
            places: &places,
            unfinished: &unfinished,
            progress,
            rows: 0,
        };
        let analyzed = export.fill()?;
        export.check(analyzed)?;
        let report = ExportReport {
            tables: schema.tables().count(),
            rows: export.rows,
        };
        unfinished.publish()?;
        Ok(report)
    }
}

/// The places of a database, each in one read transaction.
struct Places {
    shards: Vec<Source>,
    catalog: Source,
}

impl Places {
    fn open(database: &ShardedDatabase) -> Result<Self, Error> {
        let directory = database.directory().ok_or(Error::Unsupported {
            what: "an export of a database that is not in a directory".to_owned(),
            hint: "export where the files are",
        })?;
        let layout = Layout::of(directory);
        let open = |name: &str| Source::open(&layout.shard(name));
        let names = database.shard_names();
        Ok(Self {
            shards: names
                .iter()
                .map(|name| open(name))
                .collect::<Result<_, _>>()?,
            catalog: open(CATALOG)?,
        })
    }

    /// The places that together have each row of a table once.
    fn of(&self, kind: &TableKind) -> Vec<&Source> {
        match kind {
            TableKind::Sharded(_) => self.shards.iter().collect(),
            TableKind::Reference | TableKind::Global => vec![&self.catalog],
        }
    }
}

struct Export<'a> {
    schema: &'a Schema,
    places: &'a Places,
    unfinished: &'a Unfinished,
    progress: &'a mut dyn FnMut(Progress<'_>),
    rows: u64,
}

impl Export<'_> {
    fn failed(&self) -> impl Fn(rusqlite::Error) -> Error + Copy + use<'_> {
        |error| self.unfinished.error(error)
    }

    /// Writes everything in one transaction, and returns whether the file is to have statistics.
    fn fill(&mut self) -> Result<bool, Error> {
        let target = self.open().map_err(self.failed())?;
        target.execute_batch("BEGIN").map_err(self.failed())?;
        for object in &self.schema.stored().objects {
            target.execute_batch(&object.sql).map_err(self.failed())?;
        }
        for table in self.schema.tables().filter(|table| table.module.is_none()) {
            let before = self.rows;
            let progress = &mut *self.progress;
            let mut report = |copied| {
                progress(Progress {
                    table: Some(&table.name),
                    rows: before + copied,
                });
            };
            report(0);
            let sources = self.places.of(&table.kind);
            self.rows += rows::copy_all(&sources, &target, table, &mut report)
                .map_err(|failure| failure.into_error(&sources, self.unfinished))?;
        }
        let catalog = self.places.catalog.connection();
        shadow::copy(catalog, &target).map_err(self.failed())?;
        self.restore_sequences(catalog, &target)
            .map_err(self.failed())?;
        let analyzed = catalog
            .query_row(
                "SELECT coalesce((SELECT value FROM main._meta WHERE key = ?1), 0) <> 0",
                [ANALYZED],
                |row| row.get(0),
            )
            .map_err(|error| self.places.catalog.error(error))?;
        let stored = self.schema.stored();
        target
            .execute_batch(&format!(
                "PRAGMA user_version = {}; PRAGMA application_id = {}; COMMIT",
                stored.user_version, stored.application_id
            ))
            .map_err(self.failed())?;
        target.close().map_err(|(_, error)| self.failed()(error))?;
        Ok(analyzed)
    }

    /// Opens the new file to take rows as they are. It needs no journal: until it is complete it has no name.
    fn open(&self) -> rusqlite::Result<Connection> {
        let target = Connection::open(self.unfinished.path())?;
        let catalog = self.places.catalog.connection();
        let page_size: u32 = catalog.pragma_query_value(None, "page_size", |row| row.get(0))?;
        for setting in [
            DbConfig::SQLITE_DBCONFIG_DEFENSIVE,
            DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER,
        ] {
            target.set_db_config(setting, false)?;
        }
        let stored = self.schema.stored();
        let encoding = if stored.encoding.is_empty() {
            "UTF-8"
        } else {
            &stored.encoding
        };
        target.pragma_update(None, "encoding", encoding)?;
        target.execute_batch(&format!(
            "PRAGMA page_size = {page_size}; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
             PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; PRAGMA cache_size = -65536"
        ))?;
        Ok(target)
    }

    /// Lets AUTOINCREMENT go on where the shards are.
    fn restore_sequences(&self, catalog: &Connection, target: &Connection) -> rusqlite::Result<()> {
        let mut last = catalog.prepare("SELECT last FROM main._sequence WHERE name = ?1")?;
        for table in self.schema.tables().filter(|table| table.autoincrement) {
            let kept: Vec<i64> = last
                .query_map([fold(&table.name)], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for last in kept {
                let changed = target.execute(
                    "UPDATE main.sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1",
                    (&table.name, last),
                )?;
                if changed == 0 {
                    target.execute(
                        "INSERT INTO main.sqlite_sequence(name, seq) VALUES (?1, ?2)",
                        (&table.name, last),
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Checks the whole file, by a connection that knows nothing but it.
    fn check(&mut self, analyzed: bool) -> Result<(), Error> {
        (self.progress)(Progress {
            table: None,
            rows: self.rows,
        });
        let target = Connection::open(self.unfinished.path()).map_err(self.failed())?;
        if analyzed {
            target
                .execute_batch("PRAGMA journal_mode = OFF; ANALYZE")
                .map_err(self.failed())?;
        }
        let problems = target
            .prepare("PRAGMA integrity_check")
            .and_then(|mut statement| {
                statement
                    .query_map((), |row| row.get::<_, String>(0))?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(self.failed())?;
        // A row that a CHECK would refuse today came from the file that was adopted.
        match problems
            .into_iter()
            .find(|problem| problem != "ok" && !problem.starts_with("CHECK constraint failed"))
        {
            Some(message) => Err(Error::Damaged {
                path: self.unfinished.path().display().to_string(),
                message,
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
