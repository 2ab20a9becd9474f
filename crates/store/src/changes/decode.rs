//! From bytes to changes.

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    CHANGES_VERSION, Change, ChangedKey, ChangedTable, RowChange, SUM_BYTES, Setting, encode::Wire,
    tag,
};
use crate::{ReplicaError, ValueRef};

type Result<T> = std::result::Result<T, ReplicaError>;

/// Checks all of a change set and returns its tables.
pub(super) fn check(bytes: &[u8]) -> Result<Vec<ChangedTable>> {
    let (&version, _) = bytes.split_first().ok_or(damaged("it is empty"))?;
    if version != CHANGES_VERSION {
        return Err(ReplicaError::UnknownVersion {
            found: version,
            supported: CHANGES_VERSION,
        });
    }
    let Some((content, sum)) = bytes.split_last_chunk::<SUM_BYTES>() else {
        return Err(damaged("it is cut short"));
    };
    if xxh3_64(content) != u64::from_le_bytes(*sum) {
        return Err(damaged("its check sum does not match"));
    }
    let mut rest = content.get(1..).ok_or(damaged("it is cut short"))?;
    let mut tables = Vec::new();
    while !rest.is_empty() {
        let found = match item(&mut rest, &tables)? {
            Item::Table(table) => Some(table),
            Item::Change(_) => None,
        };
        tables.extend(found);
    }
    Ok(tables)
}

/// The changes of a change set, one by one.
#[derive(Clone, Debug)]
pub struct Changes<'a> {
    rest: &'a [u8],
    tables: &'a [ChangedTable],
}

impl<'a> Changes<'a> {
    pub(super) fn new(items: &'a [u8], tables: &'a [ChangedTable]) -> Self {
        Self {
            rest: items,
            tables,
        }
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        while !self.rest.is_empty() {
            let item = item(&mut self.rest, self.tables).expect("a change set was checked");
            if let Item::Change(change) = item {
                return Some(change);
            }
        }
        None
    }
}

/// The values of the stored columns of a row, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    left: usize,
    column: usize,
    bytes: &'a [u8],
    mask: &'a [u8],
    /// The values of the columns in the mask, which take the place of those in `bytes`.
    changed: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<ValueRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        let value = value(&mut self.bytes).expect("a change set was checked");
        let column = self.column;
        self.column += 1;
        let changed = self
            .mask
            .get(column / 8)
            .is_some_and(|bits| bits & 1 << (column % 8) != 0);
        Some(if changed {
            self::value(&mut self.changed).expect("a change set was checked")
        } else {
            value
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Values<'_> {}

enum Item<'a> {
    Table(ChangedTable),
    Change(Change<'a>),
}

/// Takes the next item.
fn item<'t, 'b: 't>(rest: &mut &'b [u8], tables: &'t [ChangedTable]) -> Result<Item<'t>> {
    Ok(Item::Change(match take::<u8>(rest)? {
        tag::TABLE => return table(rest).map(Item::Table),
        tag::INSERT => {
            let (table, rowid) = row_head(rest, tables)?;
            let new = values(rest, table.columns)?;
            row(table, rowid, None, Some(new), &[])
        }
        tag::DELETE => {
            let (table, rowid) = row_head(rest, tables)?;
            let old = values(rest, table.columns)?;
            row(table, rowid, Some(old), None, &[])
        }
        tag::UPDATE => {
            let (table, rowid) = row_head(rest, tables)?;
            let old = values(rest, table.columns)?;
            let (mask, changed) = rest
                .split_at_checked(table.columns.div_ceil(8))
                .ok_or(damaged("it ends within a row"))?;
            *rest = changed;
            let count = mask.iter().map(|bits| bits.count_ones() as usize).sum();
            values(rest, count)?;
            let new = Values {
                mask,
                changed,
                ..old
            };
            row(table, rowid, Some(old), Some(new), mask)
        }
        tag::BORDER => Change::Border,
        tag::SCHEMA => Change::Schema {
            sql: take(rest)?,
            digest: digest(rest)?,
        },
        tag::SEQUENCES => {
            let rows: usize = take(rest)?;
            let count = rows.checked_mul(3).ok_or(damaged("it is too long"))?;
            Change::Sequences(values(rest, count)?)
        }
        tag::SETTING => Change::Setting {
            setting: match take(rest)? {
                false => Setting::UserVersion,
                true => Setting::ApplicationId,
            },
            old: take(rest)?,
            new: take(rest)?,
        },
        _ => return Err(damaged("it has an unknown item")),
    }))
}

fn row<'a>(
    table: &'a ChangedTable,
    rowid: Option<i64>,
    old: Option<Values<'a>>,
    new: Option<Values<'a>>,
    mask: &'a [u8],
) -> Change<'a> {
    Change::Row(RowChange {
        table,
        rowid,
        old,
        new,
        mask,
    })
}

fn table(rest: &mut &[u8]) -> Result<ChangedTable> {
    let name = take::<&str>(rest)?.to_owned();
    let width = take::<usize>(rest)?;
    let mut columns = Vec::new();
    for _ in 0..width {
        columns.push(take(rest)?);
    }
    let table = ChangedTable {
        name,
        key: match columns.is_empty() {
            true => ChangedKey::RowId,
            false => ChangedKey::Columns(columns),
        },
        columns: take(rest)?,
    };
    match &table.key {
        ChangedKey::Columns(columns) if columns.iter().any(|&at| at >= table.columns) => {
            Err(damaged("a key has a column that its table lacks"))
        }
        ChangedKey::Columns(_) | ChangedKey::RowId => Ok(table),
    }
}

fn row_head<'a>(
    rest: &mut &[u8],
    tables: &'a [ChangedTable],
) -> Result<(&'a ChangedTable, Option<i64>)> {
    let number: usize = take(rest)?;
    let table = tables
        .get(number)
        .ok_or(damaged("a row is of no table of it"))?;
    let rowid = match table.key {
        ChangedKey::RowId => Some(take(rest)?),
        ChangedKey::Columns(_) => None,
    };
    Ok((table, rowid))
}

/// Takes so many values and checks each.
fn values<'a>(rest: &mut &'a [u8], count: usize) -> Result<Values<'a>> {
    let bytes = *rest;
    for _ in 0..count {
        value(rest)?;
    }
    Ok(Values {
        left: count,
        column: 0,
        bytes,
        mask: &[],
        changed: &[],
    })
}

fn value<'a>(rest: &mut &'a [u8]) -> Result<ValueRef<'a>> {
    take::<Wire<'a>>(rest).map(ValueRef::from)
}

fn digest<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8; 32]>> {
    if !take::<bool>(rest)? {
        return Ok(None);
    }
    let (digest, after) = rest
        .split_first_chunk()
        .ok_or(damaged("it ends within a digest"))?;
    *rest = after;
    Ok(Some(digest))
}

fn take<'a, T: Deserialize<'a>>(rest: &mut &'a [u8]) -> Result<T> {
    let (value, after) =
        postcard::take_from_bytes(rest).map_err(|_| damaged("it ends within an item"))?;
    *rest = after;
    Ok(value)
}

const fn damaged(reason: &'static str) -> ReplicaError {
    ReplicaError::Damaged { reason }
}
