//! Bringing the rows of one table together.

use rusqlite::{
    Connection, Rows, Statement, fallible_streaming_iterator::FallibleStreamingIterator,
};

use super::unfinished::Unfinished;
use crate::{
    adopt::{
        columns::{Columns, copy},
        source::Source,
    },
    error::Error,
    schema::Table,
};

/// How often progress is reported.
const ROWS_PER_REPORT: u64 = 4096;

/// A failure of SQLite, and on which side.
#[derive(Debug)]
pub(super) enum Failure {
    Reading {
        place: usize,
        error: rusqlite::Error,
    },
    Writing(rusqlite::Error),
}

impl Failure {
    pub(super) fn into_error(self, sources: &[&Source], target: &Unfinished) -> Error {
        match self {
            Self::Reading { place, error } => sources[place].error(error),
            Self::Writing(error) => target.error(error),
        }
    }
}

/// Copies the rows of a table from all its places and returns how many they were.
pub(super) fn copy_all(
    sources: &[&Source],
    target: &Connection,
    table: &Table,
    report: &mut dyn FnMut(u64),
) -> Result<u64, Failure> {
    let columns = Columns::of(table);
    let mut insert = target
        .prepare(&columns.insert(table))
        .map_err(Failure::Writing)?;
    let select = columns.select(table);
    let mut selects = prepare(sources, &select)?;
    let Some(rowid) = columns.rowid() else {
        return copy_in_turn(&mut selects, &mut insert, report);
    };
    let mut copied = 0;
    let mut repeated = false;
    merge(&mut selects, rowid, |row, repeats| {
        repeated |= repeats;
        if repeats && table.rowid_alias.is_none() {
            return Ok(());
        }
        copied += 1;
        if copied % ROWS_PER_REPORT == 0 {
            report(copied);
        }
        copy(row, &mut insert)
    })?;
    // Two shards may give the same rowid to rows whose key is another. In one file they need different ones.
    if repeated && table.rowid_alias.is_none() {
        merge(&mut selects, rowid, |row, repeats| {
            if !repeats {
                return Ok(());
            }
            copied += 1;
            for column in 0..insert.parameter_count() {
                if column == rowid {
                    insert.raw_bind_parameter(column + 1, rusqlite::types::Null)?;
                } else {
                    let value = rusqlite::types::ToSqlOutput::Borrowed(row.get_ref(column)?);
                    insert.raw_bind_parameter(column + 1, value)?;
                }
            }
            insert.raw_execute().map(drop)
        })?;
    }
    Ok(copied)
}

fn prepare<'s>(sources: &[&'s Source], select: &str) -> Result<Vec<Statement<'s>>, Failure> {
    let prepare = |(place, source): (usize, &&'s Source)| {
        let statement = source.connection().prepare(select);
        statement.map_err(|error| Failure::Reading { place, error })
    };
    sources.iter().enumerate().map(prepare).collect()
}

fn copy_in_turn(
    selects: &mut [Statement<'_>],
    insert: &mut Statement<'_>,
    report: &mut dyn FnMut(u64),
) -> Result<u64, Failure> {
    let mut copied = 0;
    for (place, select) in selects.iter_mut().enumerate() {
        let failed = |error| Failure::Reading { place, error };
        let mut rows = select.query(()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            copy(row, insert).map_err(Failure::Writing)?;
            copied += 1;
            if copied % ROWS_PER_REPORT == 0 {
                report(copied);
            }
        }
    }
    Ok(copied)
}

/// Shows the rows of all places in the order of their rowids, and whether a row repeats the rowid before it.
fn merge(
    selects: &mut [Statement<'_>],
    rowid: usize,
    mut visit: impl FnMut(&rusqlite::Row<'_>, bool) -> rusqlite::Result<()>,
) -> Result<(), Failure> {
    let mut heads: Vec<(Rows<'_>, Option<i64>)> = Vec::with_capacity(selects.len());
    for (place, select) in selects.iter_mut().enumerate() {
        let failed = |error| Failure::Reading { place, error };
        let mut rows = select.query(()).map_err(failed)?;
        let first = advance(&mut rows, rowid).map_err(failed)?;
        heads.push((rows, first));
    }
    let mut last = None;
    loop {
        let least = heads
            .iter()
            .enumerate()
            .filter_map(|(place, (_, rowid))| rowid.map(|rowid| (rowid, place)))
            .min();
        let Some((current, place)) = least else {
            return Ok(());
        };
        let (rows, head) = &mut heads[place];
        if let Some(row) = rows.get() {
            visit(row, last == Some(current)).map_err(Failure::Writing)?;
        }
        last = Some(current);
        *head = advance(rows, rowid).map_err(|error| Failure::Reading { place, error })?;
    }
}

fn advance(rows: &mut Rows<'_>, rowid: usize) -> rusqlite::Result<Option<i64>> {
    rows.next()?.map(|row| row.get(rowid)).transpose()
}
