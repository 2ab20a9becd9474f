//! What a file holds, as operations look at it: sums of rows, sizes, and where its halves are.

use std::ops::ControlFlow;

use shardwright_elastic::Digest;
use shardwright_sql::Placement;
use shardwright_store::{Error as StoreError, META_TABLE, Snapshot, Table, ValueRef};
use shardwright_topology::{KeyRange, Position};

use crate::shard::split::NOTES;

/// Sums up what a target has, or is to have, that owns a range: its rows of divided tables, all rows of other tables, and the notes.
pub(super) fn digest(
    snapshot: &Snapshot,
    placement: &Placement,
    range: KeyRange,
) -> Result<Digest, StoreError> {
    let mut sum = Digest::default();
    let mut row_bytes = Vec::new();
    for table in snapshot.tables()? {
        // What the copies of a part have in common with the whole. Numbers that are given out may be higher.
        if table.name.starts_with("sqlite_") {
            continue;
        }
        let placed = placement.table(&table.name);
        let _all = snapshot.query(rows_of(&table).as_str(), (), |row| {
            let key = placed.map(|placed| row.get(placed.stored));
            let belongs = placed
                .zip(key)
                .is_none_or(|(placed, key)| range.contains(placed.position(key)));
            if belongs {
                row_bytes.clear();
                row.iter().for_each(|value| encode(value, &mut row_bytes));
                sum = sum.and(Digest::of(table.name.as_bytes(), &row_bytes));
            }
            ControlFlow::<()>::Continue(())
        })?;
    }
    let notes = format!("SELECT key, value FROM main.{META_TABLE} WHERE instr(key, '.') > 0");
    let _all = snapshot.query(notes.as_str(), (), |row| {
        if !row
            .get(0)
            .as_str()
            .is_some_and(|key| key.starts_with(NOTES))
        {
            row_bytes.clear();
            row.iter().for_each(|value| encode(value, &mut row_bytes));
            sum = sum.and(Digest::of(META_TABLE.as_bytes(), &row_bytes));
        }
        ControlFlow::<()>::Continue(())
    })?;
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
