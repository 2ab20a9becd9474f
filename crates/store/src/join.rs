//! The rows of two files as one file of its own, as a shard does that several others become.
//!
//! It is written next to the file that it follows, as a [part](crate::Part) is: through the write-ahead log of a file in use everything would be
//! written twice, and synced at once in the end, which holds up every other sync on the disk.

use std::{ops::ControlFlow, path::Path};

use crate::{
    Error, Params, Result, Snapshot, Value, ValueRef,
    aside::{self, remove, sync},
    capture::{TableDef, Tables},
    connection::Connection,
    dedup,
    flush::while_written,
    identity,
    writer::quote,
};

/// How far apart the rowids are of the rows that are here and of those that come: more than either file gets while both are still written to.
const APART: i64 = 1 << 32;

/// Raises the numbers of notes that are higher in the other file.
const NOTES: &str = "UPDATE main._meta SET value = other.value FROM other._meta AS other
     WHERE other.key = _meta.key AND instr(other.key, '.') > 0
     AND typeof(other.value) = 'integer' AND typeof(_meta.value) = 'integer' AND other.value > _meta.value";

/// Makes one outcome of two.
pub type Both = dyn Fn(&[u8], &[u8]) -> Vec<u8> + Sync;

/// What is taken in of another file.
pub struct Join<'a> {
    /// The tables whose rows come. Of other tables both files have the same rows.
    pub tables: &'a [String],
    /// What the key of the note begins with that says of a table by how much the rowids of its rows are raised, if no column shows them.
    pub shifts: &'a str,
    /// Makes one outcome of those that both files remember of a request.
    pub both: &'a Both,
}

impl std::fmt::Debug for Join<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join")
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Writes what this snapshot shows into a new file, and rows and outcomes of another file, which is at `from`. Equal files become equal files.
    /// It is no file in use yet: [`ShardFile::install_at`](crate::ShardFile::install_at) makes it one, at a position of its own.
    ///
    /// Rows that no column tells apart get higher rowids, by as much as a note says. Of notes that are numbers in both files, the higher one stays.
    /// Constraints are not looked at but those that an index keeps.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::copy_to`], [`Error::Constraint`](crate::Error::Constraint) if a row is in both files, and what SQLite reports of the other
    /// file. No file remains then.
    pub fn joined_to(&self, path: &Path, from: &Path, what: &Join<'_>) -> Result<()> {
        let joined = while_written(path, || {
            self.copy_aside(path, |_, _| ControlFlow::Continue(()))?;
            join(path, from, what)
        });
        let joined = joined.and_then(|()| sync(path));
        joined.inspect_err(|error| {
            // Whatever else is there was there before.
            if !matches!(
                error,
                Error::Io {
                    action: "create",
                    ..
                }
            ) {
                remove(path);
            }
        })
    }
}

fn join(path: &Path, from: &Path, what: &Join<'_>) -> Result<()> {
    let connection = aside::open(path)?;
    let from = [Value::from(from.to_string_lossy().into_owned())];
    connection.execute("ATTACH DATABASE ?1 AS other", Params::from(&from))?;
    connection.run_script("BEGIN")?;
    let mut tables = Tables::default();
    tables.refresh(&connection)?;
    for table in what.tables {
        let def = tables.def(&connection, table)?;
        join_rows(&connection, &def, what.shifts)?;
    }
    join_sequences(&connection, &tables, what.tables)?;
    connection.execute(NOTES, Params::NONE)?;
    dedup::join(&connection, what.both)?;
    connection.run_script("COMMIT; DETACH DATABASE other")?;
    connection.close()
}

fn join_rows(connection: &Connection, def: &TableDef, shifts: &str) -> Result<()> {
    let columns: Vec<_> = def.columns.iter().map(|column| quote(column)).collect();
    let (table, columns) = (quote(&def.name), columns.join(", "));
    let Some(rowid) = def.rowid_name else {
        let sql =
            format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM other.{table}");
        return connection.execute(&sql, Params::NONE).map(drop);
    };
    let highest = connection.query_row(
        &format!("SELECT max({rowid}) FROM main.{table}"),
        Params::NONE,
        |row| row.get(0).as_i64(),
    )?;
    let shift = highest.flatten().unwrap_or(0).max(0).saturating_add(APART);
    let sql = format!(
        "INSERT INTO main.{table} ({rowid}, {columns}) SELECT {rowid} + ?1, {columns} FROM other.{table}"
    );
    connection.execute(&sql, Params::from(&[ValueRef::Integer(shift)]))?;
    let note = format!("{shifts}{}", def.name);
    identity::set_meta(connection, &note, &Value::Integer(shift))
}

/// Raises what AUTOINCREMENT has given out.
fn join_sequences(connection: &Connection, tables: &Tables, names: &[String]) -> Result<()> {
    if !tables.has_sequences() {
        return Ok(());
    }
    for name in names {
        let name = [Value::from(name.as_str())];
        connection.execute(
            "UPDATE main.sqlite_sequence SET seq = max(seq, (SELECT seq FROM other.sqlite_sequence WHERE name = ?1))
             WHERE name = ?1 AND EXISTS (SELECT 1 FROM other.sqlite_sequence WHERE name = ?1)",
            Params::from(&name),
        )?;
        connection.execute(
            "INSERT INTO main.sqlite_sequence (name, seq) SELECT name, seq FROM other.sqlite_sequence
             WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM main.sqlite_sequence WHERE name = ?1)",
            Params::from(&name),
        )?;
    }
    Ok(())
}
