//! What a file holds, as operations look at it: sums of rows, sizes, and where its halves are.

use std::ops::ControlFlow;

use shardwright_elastic::Digest;
use shardwright_sql::Placement;
use shardwright_store::{Error as StoreError, META_TABLE, Row, Snapshot, Table, ValueRef};
use shardwright_topology::{KeyRange, Position};

use crate::shard::split::is_own_note;

/// Which rows are summed up.
#[derive(Debug, Clone, Copy)]
pub(super) enum SumOf {
    /// All, of a target with one source.
    All,
    /// What a target with one source is to have: the rows of divided tables in its range, and all others.
    Part(KeyRange),
    /// The rows of divided tables in a range.
    Divided(KeyRange),
}

impl SumOf {
    /// Whether it counts what every shard has whole.
    fn has_whole(self) -> bool {
        !matches!(self, Self::Divided(_))
    }

    fn has(self, position: Position) -> bool {
        match self {
            Self::All => true,
            Self::Part(range) | Self::Divided(range) => range.contains(position),
        }
    }
}

/// Sums rows up.
pub(super) fn digest(
    snapshot: &Snapshot,
    placement: &Placement,
    sum_of: SumOf,
) -> Result<Digest, StoreError> {
    let mut sum = Digest::default();
    let mut row_bytes = Vec::new();
    let mut add = |table: &str, row: &Row<'_>| {
        row_bytes.clear();
        row.iter().for_each(|value| encode(value, &mut row_bytes));
        sum = sum.and(Digest::of(table.as_bytes(), &row_bytes));
    };
    for table in snapshot.tables()? {
        let placed = placement.table(&table.name);
        // What is SQLite's own the copies of a part have in common with the whole. Numbers that are given out may be higher.
        let is_skipped = placed.is_none() && !sum_of.has_whole();
        if table.name.starts_with("sqlite_") || is_skipped {
            continue;
        }
        let _all = snapshot.query(rows_of(&table).as_str(), (), |row| {
            if placed.is_none_or(|placed| sum_of.has(placed.position(row.get(placed.stored)))) {
                add(&table.name, row);
            }
            ControlFlow::<()>::Continue(())
        })?;
    }
    if sum_of.has_whole() {
        let notes = format!("SELECT key, value FROM main.{META_TABLE} WHERE instr(key, '.') > 0");
        let _all = snapshot.query(notes.as_str(), (), |row| {
            let key = row.get(0);
            if !key.as_str().is_some_and(is_own_note) {
                add(META_TABLE, row);
            }
            ControlFlow::<()>::Continue(())
        })?;
    }
    Ok(sum)
}

/// Returns how many rows of divided tables there are.
pub(super) fn count(snapshot: &Snapshot, placement: &Placement) -> Result<u64, StoreError> {
    let counts = placement
        .tables()
        .map(|table| match snapshot.row_count(&table.name) {
            Err(StoreError::NoTable { .. }) => Ok(0),
            counted => counted,
        });
    counts.sum()
}

/// Returns the position that divides the rows of a range in halves; `None` if they all have the same.
pub(super) fn median(
    snapshot: &Snapshot,
    placement: &Placement,
    range: KeyRange,
) -> Result<Option<Position>, StoreError> {
    let mut positions = Vec::new();
    for placed in placement.tables() {
        let (table, column) = (quote(&placed.name), quote(&placed.column));
        let sql = format!("SELECT {column} FROM main.{table}");
        let _all = snapshot.query(sql.as_str(), (), |row| {
            positions.push(placed.position(row.get(0)));
            ControlFlow::<()>::Continue(())
        })?;
    }
    if positions.is_empty() {
        return Ok(None);
    }
    let half = positions.len() / 2;
    let (_, middle, _) = positions.select_nth_unstable(half);
    let middle = *middle;
    if range.split_at(middle).is_some() && positions.iter().any(|at| *at < middle) {
        return Ok(Some(middle));
    }
    let after = positions.iter().filter(|at| **at > middle).min();
    Ok(after.copied().filter(|at| range.split_at(*at).is_some()))
}

/// Rowids that no column shows do not count: they are others after a merge.
fn rows_of(table: &Table) -> String {
    let columns: Vec<_> = table.columns.iter().map(|column| quote(column)).collect();
    format!(
        "SELECT {} FROM main.{}",
        columns.join(", "),
        quote(&table.name)
    )
}

fn quote(name: &str) -> String {
    shardwright_sql::schema::quote_identifier(name)
}

/// Appends a value so that no two lists of values read the same.
fn encode(value: ValueRef<'_>, out: &mut Vec<u8>) {
    let mut put = |kind, bytes: &[u8]| {
        out.push(kind);
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    match value {
        ValueRef::Null => out.push(0),
        ValueRef::Integer(integer) => put(1, &integer.to_le_bytes()),
        ValueRef::Real(real) => put(2, &real.to_bits().to_le_bytes()),
        ValueRef::Text(text) => put(3, text),
        ValueRef::Blob(blob) => put(4, blob),
    }
}
