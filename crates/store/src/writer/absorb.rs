//! Taking in the rows of another file, as a shard does that several others become.

use std::path::Path;

use super::{Writer, quote};
use crate::{
    Applied, Error, Params, Result, Value, ValueRef,
    capture::{TableDef, Tables},
    connection::Connection,
    create::beside,
    dedup,
    flush::while_written,
    identity,
};

/// How far apart the rowids are of the rows that are here and of those that come: more than either file gets while both are still written to.
const APART: i64 = 1 << 32;

/// Raises the numbers of notes that are higher in the other file.
const NOTES: &str = "UPDATE main._meta SET value = other.value FROM absorbed._meta AS other
     WHERE other.key = _meta.key AND instr(other.key, '.') > 0
     AND typeof(other.value) = 'integer' AND typeof(_meta.value) = 'integer' AND other.value > _meta.value";

/// Makes one outcome of two.
pub type Both = dyn Fn(&[u8], &[u8]) -> Vec<u8>;

/// What is taken in of another file.
pub struct Absorb<'a> {
    /// The tables whose rows come. Of other tables both files have the same rows.
    pub tables: &'a [String],
    /// What the key of the note begins with that says of a table by how much the rowids of its rows are raised, if no column shows them.
    pub shifts: &'a str,
    /// Makes one outcome of those that both files remember of a request.
    pub both: &'a Both,
}

impl std::fmt::Debug for Absorb<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Absorb")
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Takes in rows and outcomes of another file, which is at `from`, at a position of its own, in one transaction. Equal files become equal
    /// files.
    ///
    /// Rows that no column tells apart get higher rowids, by as much as a note says. Of notes that are numbers in both files, the higher one stays. Constraints are not looked at but those that an index keeps.
    ///
    /// # Errors
    ///
    /// As [`Writer::apply`], [`Error::Constraint`] if a row is in both files, and what SQLite reports of the other file. Nothing is taken in then.
    pub fn absorb(&mut self, applied: Applied, from: &Path, what: &Absorb<'_>) -> Result<()> {
        if self.in_transaction() {
            return Err(Error::TransactionStatement);
        }
        self.install_capture();
        self.serve_changes()?;
        self.guard_ours(true);
        let path = [Value::from(from.to_string_lossy().into_owned())];
        let attached = self
            .connection()
            .execute("ATTACH DATABASE ?1 AS absorbed", Params::from(&path));
        let result = attached.and_then(|_| {
            let log = beside(&self.shared.path, "-wal");
            let absorbed = while_written(&log, || self.absorb_attached(applied, what));
            if absorbed.is_err() && self.in_transaction() {
                // What failed is what the caller has to know.
                let _undone = self.connection().execute("ROLLBACK", Params::NONE);
            }
            let detached = self
                .connection()
                .execute("DETACH DATABASE absorbed", Params::NONE);
            absorbed.and(detached.map(drop))
        });
        self.guard_ours(false);
        self.shared.commits.settle();
        result
    }

    fn absorb_attached(&mut self, applied: Applied, what: &Absorb<'_>) -> Result<()> {
        self.connection().execute("BEGIN IMMEDIATE", Params::NONE)?;
        self.move_to(&applied, &[])?;
        self.guard_ours(true);
        let (capture, connection) = self.capture_parts();
        let tables = &mut capture.tables;
        tables.refresh(connection)?;
        for table in what.tables {
            let def = tables.def(connection, table)?;
            absorb_rows(connection, &def, what.shifts)?;
        }
        absorb_sequences(connection, tables, what.tables)?;
        connection.execute(NOTES, Params::NONE)?;
        dedup::absorb(connection, what.both)?;
        connection.execute("COMMIT", Params::NONE).map(drop)
    }
}

fn absorb_rows(connection: &Connection, def: &TableDef, shifts: &str) -> Result<()> {
    let columns: Vec<_> = def.columns.iter().map(|column| quote(column)).collect();
    let (table, columns) = (quote(&def.name), columns.join(", "));
    let Some(rowid) = def.rowid_name else {
        let sql =
            format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM absorbed.{table}");
        return connection.execute(&sql, Params::NONE).map(drop);
    };
    let highest = connection.query_row(
        &format!("SELECT max({rowid}) FROM main.{table}"),
        Params::NONE,
        |row| row.get(0).as_i64(),
    )?;
    let shift = highest.flatten().unwrap_or(0).max(0).saturating_add(APART);
    let sql = format!(
        "INSERT INTO main.{table} ({rowid}, {columns}) SELECT {rowid} + ?1, {columns} FROM absorbed.{table}"
    );
    connection.execute(&sql, Params::from(&[ValueRef::Integer(shift)]))?;
    let note = format!("{shifts}{}", def.name);
    identity::set_meta(connection, &note, &Value::Integer(shift))
}

/// Raises what AUTOINCREMENT has given out.
fn absorb_sequences(connection: &Connection, tables: &Tables, names: &[String]) -> Result<()> {
    if !tables.has_sequences() {
        return Ok(());
    }
    for name in names {
        let name = [Value::from(name.as_str())];
        connection.execute(
            "UPDATE main.sqlite_sequence SET seq = max(seq, (SELECT seq FROM absorbed.sqlite_sequence WHERE name = ?1))
             WHERE name = ?1 AND EXISTS (SELECT 1 FROM absorbed.sqlite_sequence WHERE name = ?1)",
            Params::from(&name),
        )?;
        connection.execute(
            "INSERT INTO main.sqlite_sequence (name, seq) SELECT name, seq FROM absorbed.sqlite_sequence
             WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM main.sqlite_sequence WHERE name = ?1)",
            Params::from(&name),
        )?;
    }
    Ok(())
}
