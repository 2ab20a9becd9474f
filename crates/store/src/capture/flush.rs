//! From touched rows to their net changes.

use std::{ops::ControlFlow, sync::Arc};

use super::{
    Capture, KeyedRows, TableDef,
    arena::Arena,
    tap::{TouchedKey, TouchedRow, TouchedTable},
    too_large,
};
use crate::{
    CHANGES_BYTES_MAX, ChangedKey, Params, Result, Row, ValueRef,
    changes::{Encoder, Head},
    connection::Connection,
    writer::quote,
};

impl Capture {
    /// Writes the net changes of the touched rows, and forgets them. Rows of tables that exist no more
    /// went with them.
    pub(super) fn flush_rows(
        &mut self,
        connection: &Connection,
        encoder: &mut Encoder,
    ) -> Result<()> {
        let mut touched = self.tap().take();
        let mut tables = std::mem::take(&mut touched.tables);
        for mut table in tables.drain(..) {
            if self.tables.has(&table.name) && !table.refused {
                let def = match &table.def {
                    Some(def) => Arc::clone(def),
                    None => self.tables.def(connection, &table.name)?,
                };
                if touched.undone {
                    table.forget_announced();
                }
                write_table(connection, &def, &mut table, &mut touched.arena, encoder)?;
            }
            touched.recycle(table);
        }
        touched.tables = tables;
        self.tap().reuse(touched);
        self.checked = 0;
        Ok(())
    }

    /// Writes each row of a table as one that was inserted.
    pub(super) fn write_all_rows(
        &mut self,
        connection: &Connection,
        encoder: &mut Encoder,
        table: &str,
    ) -> Result<()> {
        let def = self.tables.def(connection, table)?;
        let mut head = Head::new(&def.name, &def.key, def.columns.len());
        let columns: Vec<_> = def.columns.iter().map(|column| quote(column)).collect();
        let rowid = def.rowid_name.unwrap_or("NULL");
        let sql = format!(
            "SELECT {rowid}, {} FROM main.{}",
            columns.join(", "),
            quote(&def.name)
        );
        let (_, flow) = connection.query(&sql, Params::NONE, |row| {
            encoder.insert(&mut head, row.get(0).as_i64(), row.iter().skip(1));
            match encoder.len() > CHANGES_BYTES_MAX {
                true => ControlFlow::Break(too_large()),
                false => ControlFlow::Continue(()),
            }
        })?;
        match flow {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }
}

fn write_table(
    connection: &Connection,
    def: &TableDef,
    table: &mut TouchedTable,
    arena: &mut Arena,
    encoder: &mut Encoder,
) -> Result<()> {
    let mut head = Head::new(&def.name, &def.key, def.columns.len());
    let mut rows = None;
    let mut next = 0;
    while let Some(touched) = table.rows.get(next) {
        if let Some(values) = &touched.new {
            let values = arena.written(values.clone());
            encoder.insert_written(&mut head, rowid_of(def, touched), values);
            check_size(encoder)?;
            next += 1;
            continue;
        }
        let run = run_length(&table.rows[next..]);
        if run >= RUN_MIN {
            let run = &table.rows[next..next + run];
            next += run.len();
            write_run(connection, def, &mut head, run, arena, encoder)?;
            continue;
        }
        next += 1;
        let rows = match &mut rows {
            Some(rows) => rows,
            None => rows.insert(KeyedRows::new(connection, def)?),
        };
        let found = match touched.key {
            TouchedKey::RowId(rowid) => {
                let key = std::iter::once(ValueRef::Integer(rowid));
                rows.find(key, |row| {
                    write_row(def, &mut head, touched, row, arena, encoder);
                    None
                })?
            }
            TouchedKey::Columns(start) => {
                let key = key_values(def, arena, start);
                rows.find(key, |row| {
                    let same = row.filter(|row| has_key(def, row, arena, start));
                    write_row(def, &mut head, touched, same, arena, encoder);
                    row.filter(|_| same.is_none()).map(Row::to_values)
                })?
            }
        };
        // The row that took the place of a key that is equal by collation was touched itself, unless
        // SQLite stored its key in another form than it announced.
        if let (Some(row), ChangedKey::Columns(columns)) = (found, &def.key) {
            let key: Vec<_> = columns.iter().map(|&column| row[column].as_ref()).collect();
            if let Some(key) = table.touch_also(&key, arena) {
                table.rows.push(TouchedRow::to_read(key, None));
            }
        }
        check_size(encoder)?;
    }
    Ok(())
}

fn check_size(encoder: &Encoder) -> Result<()> {
    match encoder.len() > CHANGES_BYTES_MAX {
        true => Err(too_large()),
        false => Ok(()),
    }
}

/// Returns the stored columns of a row as it was, whose values the hook gave.
fn announced<'a>(
    def: &'a TableDef,
    arena: &'a Arena,
    start: usize,
) -> impl Iterator<Item = ValueRef<'a>> + Clone {
    let columns = def.announced.iter();
    columns.map(move |column| match arena.get(start + column.position) {
        ValueRef::Integer(integer) if column.is_real => ValueRef::Real(integer as f64),
        value => value,
    })
}

/// Returns the rowid of a row whose key it is.
fn rowid_of(def: &TableDef, touched: &TouchedRow) -> Option<i64> {
    match (&def.key, touched.key) {
        (ChangedKey::RowId, TouchedKey::RowId(rowid)) => Some(rowid),
        (_, _) => None,
    }
}

/// How many rows have to follow one another to be read together.
const RUN_MIN: usize = 4;

/// How many are read together at most: what they take is looked at after that.
const RUN_MAX: usize = 64;

/// Returns how many of the first rows have rowids that follow one another.
fn run_length(rows: &[TouchedRow]) -> usize {
    let pairs = rows.iter().zip(rows.iter().skip(1)).take(RUN_MAX - 1);
    let follows = |(one, other): &(&TouchedRow, &TouchedRow)| match (one.key, other.key) {
        (TouchedKey::RowId(one), TouchedKey::RowId(next)) => {
            other.new.is_none() && one.checked_add(1) == Some(next)
        }
        (_, _) => false,
    };
    pairs.take_while(follows).count() + 1
}

/// Writes the net changes of rows whose rowids follow one another.
fn write_run(
    connection: &Connection,
    def: &TableDef,
    head: &mut Head<'_>,
    run: &[TouchedRow],
    arena: &Arena,
    encoder: &mut Encoder,
) -> Result<()> {
    let (Some(sql), Some(first), Some(last)) = (&def.range_sql, run.first(), run.last()) else {
        return Ok(());
    };
    let ends = [first.rowid(), last.rowid()].map(ValueRef::Integer);
    let mut left = run.iter().peekable();
    let (_, flow) = connection.query(sql, Params::from(&ends), |row| {
        let rowid = row.get(def.columns.len()).as_i64().unwrap_or(i64::MAX);
        while let Some(touched) = left.next_if(|touched| touched.rowid() < rowid) {
            write_row(def, head, touched, None, arena, encoder);
        }
        if let Some(touched) = left.next_if(|touched| touched.rowid() == rowid) {
            write_row(def, head, touched, Some(row), arena, encoder);
        }
        match encoder.len() > CHANGES_BYTES_MAX {
            true => ControlFlow::Break(too_large()),
            false => ControlFlow::Continue(()),
        }
    })?;
    if let ControlFlow::Break(error) = flow {
        return Err(error);
    }
    for touched in left {
        write_row(def, head, touched, None, arena, encoder);
    }
    Ok(())
}

/// Writes the difference between what a row was and what it is.
fn write_row(
    def: &TableDef,
    table: &mut Head<'_>,
    touched: &TouchedRow,
    row: Option<&Row<'_>>,
    arena: &Arena,
    encoder: &mut Encoder,
) {
    let rowid = rowid_of(def, touched);
    let old = |start: usize| announced(def, arena, start);
    let columns = def.columns.len();
    match (touched.old, row) {
        (None, Some(row)) => encoder.insert(table, rowid, row.iter().take(columns)),
        (Some(start), None) => encoder.delete(table, rowid, old(start)),
        (Some(start), Some(row)) => {
            encoder.update(table, rowid, old(start), row.iter().take(columns))
        }
        (None, None) => {}
    }
}

fn key_values<'a>(
    def: &TableDef,
    arena: &'a Arena,
    start: usize,
) -> impl Iterator<Item = ValueRef<'a>> + use<'a> {
    let width = match &def.key {
        ChangedKey::Columns(columns) => columns.len(),
        ChangedKey::RowId => 0,
    };
    (start..start + width).map(|place| arena.get(place))
}

/// Returns whether a row has exactly that key.
fn has_key(def: &TableDef, row: &Row<'_>, arena: &Arena, start: usize) -> bool {
    match &def.key {
        ChangedKey::Columns(columns) => columns
            .iter()
            .zip(key_values(def, arena, start))
            .all(|(&column, value)| row.get(column) == value),
        ChangedKey::RowId => true,
    }
}
