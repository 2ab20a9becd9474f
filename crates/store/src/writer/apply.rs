//! Applying the changes of another copy.

use super::Writer;
use crate::{
    Applied, Change, ChangeSet, ChangedKey, ConstraintKind, Difference, Entry, Error, Params,
    ReplicaError, Result, RowChange, Setting, ValueRef,
    capture::{Capture, KeyedRows, Sequences, TableDef, Tables, bind, schema_digest, setting},
    connection::Connection,
    writer::quote,
};
use rusqlite::config::DbConfig;

impl Writer {
    /// Applies the changes of a batch that was executed elsewhere, with its position and the outcomes of
    /// its members, in one transaction.
    ///
    /// Triggers, cascades and constraints did their work where the batch was executed, so they are off
    /// here. Each change is checked against what the file holds.
    ///
    /// # Errors
    ///
    /// [`ReplicaError::NotReplicated`], [`ReplicaError::NotNext`], [`ReplicaError::Diverged`] if the
    /// file is not in the state that the changes were made in, and what SQLite reports. Nothing is
    /// applied then.
    pub fn apply(
        &mut self,
        applied: Applied,
        changes: &ChangeSet,
        entries: &[Entry<'_>],
    ) -> Result<()> {
        if self.in_transaction() {
            return Err(Error::TransactionStatement);
        }
        self.install_capture();
        self.serve_changes()?;
        self.run_ours("BEGIN IMMEDIATE")?;
        self.guard_ours(true);
        let result = self
            .move_to(&applied, entries)
            .and_then(|()| self.apply_changes(changes));
        self.guard_ours(false);
        let result = result.and_then(|()| self.run_ours("COMMIT"));
        if result.is_err() && self.in_transaction() {
            // What failed is what the caller has to know; dropping the writer tries again.
            let _undone = self.run_ours("ROLLBACK");
        }
        result
    }

    fn apply_changes(&mut self, changes: &ChangeSet) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let (capture, connection) = self.capture_parts();
        let tables = &mut capture.tables;
        tables.refresh(connection)?;
        let mut segment = Segment::default();
        for change in changes.changes() {
            match change {
                Change::Row(row) => segment.rows.push(row),
                Change::Border => segment.apply(connection, tables)?,
                Change::Schema { sql, digest } => {
                    segment.apply(connection, tables)?;
                    apply_schema(connection, sql, digest)?;
                    tables.refresh(connection)?;
                }
                Change::Sequences(values) => {
                    segment.apply(connection, tables)?;
                    Sequences::of_values(values).write(connection, tables)?;
                }
                Change::Setting { setting, old, new } => {
                    apply_setting(connection, setting, old, new)?;
                }
            }
        }
        segment.apply(connection, tables)
    }

    /// Runs a transaction statement without making the connection one for clients.
    fn run_ours(&mut self, sql: &str) -> Result<()> {
        let open = self.in_transaction();
        let result = self.connection().execute(sql, Params::NONE).map(drop);
        self.after_statement(open, result)
    }

    pub(super) fn capture_parts(&mut self) -> (&mut Capture, &Connection) {
        let connection = self.connection_mut();
        let capture = connection
            .capture
            .as_mut()
            .expect("capture is installed before changes are applied");
        (capture, &connection.inner)
    }

    /// Sets the connection up to apply changes: without triggers, foreign keys and CHECK, and with
    /// write access to shadow tables.
    pub(super) fn serve_changes(&mut self) -> Result<()> {
        if !self.connection_mut().applies {
            // SQLite would drop them together with a table, unnoticed.
            self.watch(None)?;
            self.connection_mut().applies = true;
            let connection = self.connection();
            connection.run_script("PRAGMA ignore_check_constraints = ON")?;
            configure(connection, [false, false, false])?;
        }
        Ok(())
    }

    /// Makes the connection one for clients' statements, if it applied changes before.
    pub(super) fn serve_clients(&mut self) -> Result<()> {
        if self.connection_mut().applies && !self.in_transaction() {
            let foreign_keys = self.shared.config.foreign_keys;
            let connection = self.connection();
            connection.run_script("PRAGMA ignore_check_constraints = OFF")?;
            // Virtual tables have not seen what was done to their shadow tables: they are opened anew.
            connection.run_script("PRAGMA writable_schema = RESET")?;
            configure(connection, [true, foreign_keys, true])?;
            self.connection_mut().applies = false;
        }
        Ok(())
    }
}

/// Sets triggers, foreign keys and the defence of shadow tables.
fn configure(connection: &Connection, on: [bool; 3]) -> Result<()> {
    let settings = [
        DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER,
        DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY,
        DbConfig::SQLITE_DBCONFIG_DEFENSIVE,
    ];
    for (setting, on) in settings.into_iter().zip(on) {
        connection
            .raw()
            .set_db_config(setting, on)
            .map_err(|error| connection.error(error))?;
    }
    Ok(())
}

fn apply_setting(connection: &Connection, which: Setting, old: i32, new: i32) -> Result<()> {
    if setting::read(connection, which)? != old {
        return Err(diverged(which.name(), Difference::Values));
    }
    setting::write(connection, which, new)
}

/// Repeats a statement on the schema, and checks that the schema is then what it should be.
fn apply_schema(connection: &Connection, sql: &str, digest: Option<&[u8; 32]>) -> Result<()> {
    connection.run_script(sql).map_err(|error| match error {
        Error::Sql { message, .. } | Error::Constraint { message, .. } => {
            diverged("sqlite_schema", Difference::Schema(message))
        }
        other => other,
    })?;
    match digest {
        Some(digest) if schema_digest(connection)?.as_bytes() != digest => Err(diverged(
            "sqlite_schema",
            Difference::Schema(format!("the schema is another one after {sql}")),
        )),
        Some(_) | None => Ok(()),
    }
}

fn diverged(table: &str, difference: Difference) -> Error {
    ReplicaError::Diverged {
        table: table.to_owned(),
        key: Vec::new(),
        difference,
    }
    .into()
}

/// Changes of rows that belong together.
#[derive(Default)]
struct Segment<'a> {
    rows: Vec<RowChange<'a>>,
    /// Rows whose update a unique constraint refused: they are deleted, and inserted at the end.
    moved: Vec<RowChange<'a>>,
    sequences: Vec<RowChange<'a>>,
}

impl<'a> Segment<'a> {
    /// Makes the changes and forgets them. Deletions come first and insertions last, so that no row is
    /// in the way of another.
    fn apply(&mut self, connection: &Connection, tables: &mut Tables) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut sequences = Sequences::read(connection, tables)?;
        self.sequences = self
            .rows
            .extract_if(.., |row| row.table().name == Sequences::TABLE)
            .collect();
        for change in &self.sequences {
            if !sequences.change(change) {
                return Err(change.diverged(Difference::Values));
            }
        }
        let has = |row: &RowChange<'_>| (row.before().is_some(), row.after().is_some());
        for step in [(true, false), (true, true), (false, true)] {
            let rows: Vec<_> = self
                .rows
                .iter()
                .filter(|row| has(row) == step)
                .copied()
                .collect();
            for group in rows.chunk_by(|left, right| left.table() == right.table()) {
                self.apply_group(connection, tables, group, step)?;
            }
        }
        let moved = std::mem::take(&mut self.moved);
        for group in moved.chunk_by(|left, right| left.table() == right.table()) {
            let def = def_of(connection, tables, &group[0])?;
            insert(connection, &def, group)?;
        }
        self.rows.clear();
        sequences.write(connection, tables)
    }

    fn apply_group(
        &mut self,
        connection: &Connection,
        tables: &mut Tables,
        rows: &[RowChange<'a>],
        step: (bool, bool),
    ) -> Result<()> {
        let def = def_of(connection, tables, &rows[0])?;
        match step {
            (true, false) => delete(connection, &def, rows),
            (false, _) => insert(connection, &def, rows),
            (true, true) => {
                let same_columns =
                    |left: &RowChange<'_>, right: &RowChange<'_>| left.mask() == right.mask();
                for rows in rows.chunk_by(same_columns) {
                    self.update(connection, &def, rows)?;
                }
                Ok(())
            }
        }
    }

    /// Updates rows in which the same columns changed.
    fn update(
        &mut self,
        connection: &Connection,
        def: &TableDef,
        rows: &[RowChange<'a>],
    ) -> Result<()> {
        let key_len = key_len(def);
        let columns = || (0..def.columns.len()).filter(|&column| rows[0].changes_column(column));
        let assignments: Vec<_> = (key_len + 1..)
            .zip(columns())
            .map(|(number, column)| format!("{} = ?{number}", quote(&def.columns[column])))
            .collect();
        let mut statement = connection.prepare(&format!(
            "UPDATE OR ABORT main.{} SET {} {}",
            quote(&def.name),
            assignments.join(", "),
            def.where_sql
        ))?;
        for row in rows {
            check_old(connection, def, row)?;
            bind(&mut statement, 1, row.key().into_iter())?;
            let new = row.after().into_iter().flatten().enumerate();
            let changed = new.filter(|(column, _)| row.changes_column(*column));
            bind(&mut statement, key_len + 1, changed.map(|(_, value)| value))?;
            match statement
                .raw_execute()
                .map_err(|error| connection.error(error))
            {
                Ok(_) => {}
                Err(Error::Constraint {
                    kind: ConstraintKind::Unique | ConstraintKind::PrimaryKey,
                    ..
                }) => {
                    delete(connection, def, std::slice::from_ref(row))?;
                    self.moved.push(*row);
                }
                Err(error) => return Err(refused(row, error)),
            }
        }
        Ok(())
    }
}

/// Finds the table of a change, which must have the same shape here.
fn def_of(
    connection: &Connection,
    tables: &mut Tables,
    change: &RowChange<'_>,
) -> Result<std::sync::Arc<TableDef>> {
    let table = change.table();
    match tables.def(connection, &table.name) {
        Ok(def) if def.key == table.key && def.columns.len() == table.columns => Ok(def),
        Ok(_) | Err(Error::NoTable { .. }) => Err(diverged(&table.name, Difference::Table)),
        Err(error) => Err(error),
    }
}

fn key_len(def: &TableDef) -> usize {
    match &def.key {
        ChangedKey::RowId => 1,
        ChangedKey::Columns(columns) => columns.len(),
    }
}

/// Checks that the row is there as it was before the change.
fn check_old(connection: &Connection, def: &TableDef, change: &RowChange<'_>) -> Result<()> {
    let old = change.before().into_iter().flatten();
    let same = KeyedRows::new(connection, def)?.find(change.key().into_iter(), |row| {
        row.map(|row| row.iter().zip(old).all(|(found, old)| found == old))
    })?;
    match same {
        Some(true) => Ok(()),
        Some(false) => Err(change.diverged(Difference::Values)),
        None => Err(change.diverged(Difference::Missing)),
    }
}

fn delete(connection: &Connection, def: &TableDef, rows: &[RowChange<'_>]) -> Result<()> {
    let mut statement = connection.prepare(&format!(
        "DELETE FROM main.{} {}",
        quote(&def.name),
        def.where_sql
    ))?;
    for row in rows {
        check_old(connection, def, row)?;
        bind(&mut statement, 1, row.key().into_iter())?;
        statement
            .raw_execute()
            .map_err(|error| refused(row, connection.error(error)))?;
    }
    Ok(())
}

fn insert(connection: &Connection, def: &TableDef, rows: &[RowChange<'_>]) -> Result<()> {
    let rowid_name = def.rowid_name.map(str::to_owned);
    let names: Vec<_> = rowid_name
        .into_iter()
        .chain(def.columns.iter().map(|column| quote(column)))
        .collect();
    let parameters = vec!["?"; names.len()].join(", ");
    let mut statement = connection.prepare(&format!(
        "INSERT OR ABORT INTO main.{} ({}) VALUES ({parameters})",
        quote(&def.name),
        names.join(", ")
    ))?;
    for row in rows {
        let rowid = row.rowid().map(ValueRef::Integer);
        let values = rowid.into_iter().chain(row.after().into_iter().flatten());
        bind(&mut statement, 1, values)?;
        statement
            .raw_execute()
            .map_err(|error| refused(row, connection.error(error)))?;
    }
    Ok(())
}

/// Says that a constraint refused a row that no constraint refused elsewhere.
fn refused(change: &RowChange<'_>, error: Error) -> Error {
    match error {
        Error::Constraint {
            kind: ConstraintKind::PrimaryKey | ConstraintKind::RowId,
            ..
        } => change.diverged(Difference::Present),
        Error::Constraint { message, .. } => change.diverged(Difference::Constraint(message)),
        other => other,
    }
}
