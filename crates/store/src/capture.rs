//! Change capture: what a transaction changed in the rows of a file, exactly.
//!
//! # Rows
//!
//! SQLite's preupdate hook says which row a statement is about to touch, and how it looks before. The
//! first touch of a row in a transaction records that; nothing else is recorded. At the end of the
//! transaction each touched row is read once more, and the difference is its net change. So triggers,
//! cascades, REPLACE, rows of a failed statement that SQLite kept (`OR FAIL`) or undid, members that
//! were undone and blobs written piece by piece need no rules of their own: the file is right.
//!
//! Most rows that are written are new, and to read them takes as long as to write them. So the hook records with
//! which values a row is inserted, and these count if it was not touched again and every statement of the
//! transaction succeeded.
//!
//! A row is known by its rowid, its `INTEGER PRIMARY KEY`, or the primary key of a table WITHOUT ROWID,
//! so tables without a key and NULL keys are no special case. With the hook in place SQLite deletes row
//! by row where it would otherwise cut a table off; statements that were compiled before are dropped.
//!
//! # The schema
//!
//! A statement on the schema is carried as its text, between the rows before it and the rows after it,
//! with a digest of the schema that a copy must arrive at. The text and not a difference between two
//! schemas, because renames, added and dropped columns have effects on stored rows that no difference
//! shows, and SQLite repeats them exactly. Where it could not, we split: CREATE TABLE AS SELECT becomes
//! the table as the schema spells it and its rows; rows that DROP TABLE deletes elsewhere by cascade are
//! rows of their own. CREATE VIRTUAL TABLE makes and fills its shadow tables again; later changes of
//! shadow tables are carried as rows, so an index for full text is the same on each copy, byte by byte.
//! Such a statement needs a batch of its own.
//!
//! # The rest
//!
//! Notes in `_meta`, rows whose keys have a dot, are rows like any others. A member that touches another row of `_meta` fails.
//!
//! The hook does not see `sqlite_sequence`, so it is compared before and after. So are `user_version`
//! and `application_id` once a member uses either PRAGMA. SQLite's statistics (`sqlite_stat1`) belong to
//! each copy: ANALYZE is carried as a statement, and changes made to them by hand are not. VACUUM, ATTACH
//! and settings of the connection are refused.

mod arena;
mod flush;
mod hook;
mod row;
mod sequence;
pub(crate) mod setting;
mod table;
mod tap;

use std::{cell::RefMut, sync::Arc};

use self::{hook::TapOf, setting::Settings, tap::Tap};
pub(crate) use self::{
    row::{KeyedRows, bind},
    sequence::Sequences,
    table::{TableDef, Tables},
};
use crate::{
    CHANGES_BYTES_MAX, ChangeSet, Digest, Error, Params, ReplicaError, Result, changes::Encoder,
    connection::Connection, guard::Guard,
};

/// The capture of one connection.
#[derive(Debug)]
pub(crate) struct Capture {
    tap: TapOf,
    pub(crate) tables: Tables,
    batch: Option<Batch>,
    /// How many touched tables are known to have keys.
    checked: usize,
    /// How many bytes the last changes took: those of the next are likely to be about as many.
    last_bytes: usize,
    /// Whether something could not be captured, so that nothing of the transaction may be used.
    broken: bool,
}

/// How much memory is taken for changes before there are any.
const ROOM_MAX: usize = 1 << 16;

/// What is known of the open transaction.
#[derive(Debug)]
struct Batch {
    encoder: Encoder,
    sequences: Sequences,
    settings: Option<Settings>,
}

impl Capture {
    /// Sets the hook on a connection. The connection must be closed before this value is dropped.
    pub(crate) fn install(connection: &Connection, guard: &Arc<Guard>) -> Self {
        let tap = TapOf::install(connection, Tap::new(Arc::clone(guard)));
        // Compiled without the hook, DELETE without WHERE would not show its rows.
        connection.forget_statements();
        Self {
            tap,
            tables: Tables::default(),
            batch: None,
            checked: 0,
            last_bytes: 0,
            broken: false,
        }
    }

    /// Begins to capture the transaction that has just been opened.
    pub(crate) fn begin(&mut self, connection: &Connection) -> Result<()> {
        self.broken = true;
        self.tables.refresh(connection)?;
        let sequences = Sequences::read(connection, &self.tables)?;
        self.broken = false;
        self.batch = Some(Batch {
            encoder: Encoder::with_room(self.last_bytes.min(ROOM_MAX)),
            sequences,
            settings: None,
        });
        self.checked = 0;
        self.tap().start(self.tables.names());
        Ok(())
    }

    /// Stops capturing, and forgets what was captured.
    pub(crate) fn end(&mut self) {
        self.batch = None;
        self.tap().stop();
    }

    /// Notes that a statement or a member may have been undone, of which the hook says nothing.
    pub(crate) fn note_undone(&self) {
        self.tap().note_undone();
    }

    /// Returns whether a transaction is being captured.
    pub(crate) fn is_on(&self) -> bool {
        self.batch.is_some()
    }

    /// Returns whether something could not be captured, so that each member from now on fails.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Checks that what was touched so far can be captured. `has_news`: as the guard says.
    pub(crate) fn check(&mut self, connection: &Connection, has_news: bool) -> Result<()> {
        if self.broken {
            return Err(refused("what the member did"));
        }
        if !has_news {
            return Ok(());
        }
        let mut tap = self.tap();
        if let Some(failure) = tap.take_failure() {
            return Err(failure);
        }
        let names = tap.tables_from(self.checked);
        drop(tap);
        for name in names {
            self.checked += 1;
            match self.tables.def(connection, &name) {
                Ok(def) => self.tap().learn(&name, &def),
                Err(error) => {
                    self.tap().refuse_table(&name);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Notes the settings before the first PRAGMA that may change them.
    pub(crate) fn note_settings(&mut self, connection: &Connection) -> Result<()> {
        if let Some(batch) = &mut self.batch
            && batch.settings.is_none()
        {
            batch.settings = Some(Settings::read(connection)?);
        }
        Ok(())
    }

    /// Ends the capture of the open transaction and returns its changes. Rows that are touched from now
    /// on make its COMMIT fail.
    pub(crate) fn finish(&mut self, connection: &Connection) -> Result<ChangeSet> {
        if self.broken {
            return Err(refused("what the batch did"));
        }
        if self.tables.version() != table::schema_version(connection)? {
            return Err(refused("a change of the schema by a virtual table"));
        }
        self.flush(connection)?;
        let mut batch = self.batch.take().ok_or(Error::NoTransaction)?;
        if let Some(settings) = &batch.settings {
            settings.write_changes(connection, &mut batch.encoder)?;
        }
        self.tap().seal();
        let changes = batch.encoder.finish();
        self.last_bytes = changes.as_bytes().len();
        Ok(changes)
    }

    /// Makes ready for a statement on the schema, and returns the digest of the schema before it.
    pub(crate) fn before_schema_statement(&mut self, connection: &Connection) -> Result<Digest> {
        self.flush(connection)?;
        if let Some(batch) = &mut self.batch {
            batch.encoder.border();
        }
        self.tap().expect_unknown_tables(true);
        schema_digest(connection)
    }

    /// Ends the time in which tables may be filled that are not known yet.
    pub(crate) fn after_schema_statement(&mut self) {
        self.tap().expect_unknown_tables(false);
    }

    /// Records what a statement on the schema did.
    pub(crate) fn record(
        &mut self,
        connection: &Connection,
        sql: &str,
        statement: SchemaStatement,
        before: Digest,
    ) -> Result<()> {
        self.with_batch(|capture, batch| {
            capture.record_in(connection, batch, sql, statement, before)
        })
    }

    fn record_in(
        &mut self,
        connection: &Connection,
        batch: &mut Batch,
        sql: &str,
        statement: SchemaStatement,
        before: Digest,
    ) -> Result<()> {
        let known = self.tables.names();
        self.tables.refresh(connection)?;
        self.tap().rename(self.tables.names());
        let after = schema_digest(connection)?;
        match statement {
            SchemaStatement::Analyze => batch.encoder.schema(sql.trim(), None),
            SchemaStatement::CreateTable | SchemaStatement::Other if after == before => {}
            SchemaStatement::CreateTable => {
                for name in self.tables.added_since(&known) {
                    let sql = table::stored_sql(connection, &name)?;
                    batch.encoder.schema(&sql, Some(after.as_bytes()));
                    self.write_all_rows(connection, &mut batch.encoder, &name)?;
                }
            }
            SchemaStatement::Other => {
                self.flush_rows(connection, &mut batch.encoder)?;
                batch.encoder.schema(sql.trim(), Some(after.as_bytes()));
            }
        }
        self.checked = 0;
        batch.sequences = Sequences::read(connection, &self.tables)?;
        if after != before && self.tables.has_sequences() {
            batch.sequences.write_all(&mut batch.encoder);
        }
        Ok(())
    }

    /// Writes what changed since the last time.
    fn flush(&mut self, connection: &Connection) -> Result<()> {
        if self.tables.has_virtual() {
            // Indexes for full text keep changes in memory until a savepoint or the COMMIT.
            connection.run_script("SAVEPOINT capture; RELEASE capture")?;
        }
        self.with_batch(|capture, batch| {
            capture.flush_rows(connection, &mut batch.encoder)?;
            batch
                .sequences
                .write_changes(connection, &capture.tables, &mut batch.encoder)
        })
    }

    /// Works on the open batch. After a failure nothing of it may be used.
    fn with_batch(&mut self, run: impl FnOnce(&mut Self, &mut Batch) -> Result<()>) -> Result<()> {
        let mut batch = self.batch.take().ok_or(Error::NoTransaction)?;
        let result = run(self, &mut batch);
        self.batch = Some(batch);
        self.broken |= result.is_err();
        result
    }

    fn tap(&self) -> RefMut<'_, Tap> {
        self.tap.get()
    }
}

/// What a statement on the schema is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaStatement {
    /// CREATE TABLE, perhaps AS SELECT.
    CreateTable,
    /// ANALYZE.
    Analyze,
    /// Any other.
    Other,
}

/// Digests the schema, without our own tables and SQLite's statistics.
pub(crate) fn schema_digest(connection: &Connection) -> Result<Digest> {
    let mut digest = crate::RowDigest::new();
    let _all = connection.query(
        "SELECT type, name, tbl_name, sql FROM main.sqlite_schema
         WHERE tbl_name NOT LIKE 'sqlite^_stat%' ESCAPE '^'
         AND tbl_name NOT IN ('_meta', '_repl', '_dedup')",
        Params::NONE,
        |row| {
            digest.add(row);
            std::ops::ControlFlow::<()>::Continue(())
        },
    )?;
    Ok(digest.finish())
}

/// Says that the changes of one transaction take too much memory.
fn too_large() -> Error {
    ReplicaError::TooLarge {
        bytes_max: CHANGES_BYTES_MAX,
    }
    .into()
}

/// Says that copies could not repeat what a statement does.
pub(crate) fn refused(what: impl Into<String>) -> Error {
    ReplicaError::Refused { what: what.into() }.into()
}
