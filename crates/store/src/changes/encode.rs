//! From changes to bytes.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{CHANGES_VERSION, ChangeSet, ChangedKey, ChangedTable, Setting, tag};
use crate::ValueRef;

/// A value as it is written.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Wire<'a> {
    Null,
    Integer(i64),
    Real(f64),
    #[serde(with = "serde_bytes", borrow)]
    Text(&'a [u8]),
    #[serde(with = "serde_bytes", borrow)]
    Blob(&'a [u8]),
}

impl<'a> From<ValueRef<'a>> for Wire<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(integer) => Self::Integer(integer),
            ValueRef::Real(real) => Self::Real(real),
            ValueRef::Text(text) => Self::Text(text),
            ValueRef::Blob(blob) => Self::Blob(blob),
        }
    }
}

impl<'a> From<Wire<'a>> for ValueRef<'a> {
    fn from(value: Wire<'a>) -> Self {
        match value {
            Wire::Null => Self::Null,
            Wire::Integer(integer) => Self::Integer(integer),
            Wire::Real(real) => Self::Real(real),
            Wire::Text(text) => Self::Text(text),
            Wire::Blob(blob) => Self::Blob(blob),
        }
    }
}

/// A table whose rows are written, if any are.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    name: &'a str,
    key: &'a ChangedKey,
    columns: usize,
    /// Its number in the change set, once it has one.
    number: Option<usize>,
}

impl<'a> Head<'a> {
    pub(crate) fn new(name: &'a str, key: &'a ChangedKey, columns: usize) -> Self {
        Self {
            name,
            key,
            columns,
            number: None,
        }
    }
}

/// Makes a [`ChangeSet`], change by change.
#[derive(Debug)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    tables: Vec<ChangedTable>,
    /// Whether rows were written since the last border.
    rows: bool,
    mask: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self::with_room(0)
    }

    /// Returns an encoder that takes about so many bytes before it needs more memory.
    pub(crate) fn with_room(bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(bytes + 1);
        bytes.push(CHANGES_VERSION);
        Self {
            bytes,
            tables: Vec::new(),
            rows: false,
            mask: Vec::new(),
        }
    }

    /// Returns how many bytes there are so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the number of a table, which is written before its first row.
    #[inline]
    fn table(&mut self, head: &mut Head<'_>) -> usize {
        match head.number {
            Some(number) => number,
            None => self.number_table(head),
        }
    }

    fn number_table(&mut self, head: &mut Head<'_>) -> usize {
        let known = self.tables.iter().position(|table| {
            table.name == head.name && table.columns == head.columns && table.key == *head.key
        });
        let number = known.unwrap_or_else(|| self.write_table(head));
        head.number = Some(number);
        number
    }

    fn write_table(&mut self, head: &Head<'_>) -> usize {
        self.put(&tag::TABLE);
        self.put(&head.name);
        match head.key {
            ChangedKey::RowId => self.put(&0_usize),
            ChangedKey::Columns(columns) => {
                self.put(&columns.len());
                for column in columns {
                    self.put(column);
                }
            }
        }
        self.put(&head.columns);
        self.tables.push(ChangedTable {
            name: head.name.to_owned(),
            key: head.key.clone(),
            columns: head.columns,
        });
        self.tables.len() - 1
    }

    pub(crate) fn insert<'v>(
        &mut self,
        table: &mut Head<'_>,
        rowid: Option<i64>,
        new: impl Iterator<Item = ValueRef<'v>>,
    ) {
        self.row(tag::INSERT, table, rowid, new);
    }

    /// Writes an insert whose values [`put_value`] has written already, each stored column once.
    pub(crate) fn insert_written(
        &mut self,
        table: &mut Head<'_>,
        rowid: Option<i64>,
        values: &[u8],
    ) {
        self.row_head(tag::INSERT, table, rowid);
        self.bytes.extend_from_slice(values);
    }

    pub(crate) fn delete<'v>(
        &mut self,
        table: &mut Head<'_>,
        rowid: Option<i64>,
        old: impl Iterator<Item = ValueRef<'v>>,
    ) {
        self.row(tag::DELETE, table, rowid, old);
    }

    /// Writes an update, unless nothing differs.
    pub(crate) fn update<'o, 'n>(
        &mut self,
        table: &mut Head<'_>,
        rowid: Option<i64>,
        old: impl Iterator<Item = ValueRef<'o>> + Clone,
        new: impl Iterator<Item = ValueRef<'n>> + Clone,
    ) {
        let mut mask = std::mem::take(&mut self.mask);
        mask.clear();
        mask.resize(table.columns.div_ceil(8), 0);
        let mut differs = false;
        for (column, (old, new)) in old.clone().zip(new.clone()).enumerate() {
            if old != new {
                mask[column / 8] |= 1 << (column % 8);
                differs = true;
            }
        }
        if differs {
            self.row(tag::UPDATE, table, rowid, old.clone());
            self.bytes.extend_from_slice(&mask);
            for (old, new) in old.zip(new) {
                if old != new {
                    put_value(&mut self.bytes, new);
                }
            }
        }
        self.mask = mask;
    }

    /// Separates the rows before from what comes after.
    pub(crate) fn border(&mut self) {
        if self.rows {
            self.put(&tag::BORDER);
            self.rows = false;
        }
    }

    pub(crate) fn schema(&mut self, sql: &str, digest: Option<&[u8; 32]>) {
        self.border();
        self.put(&tag::SCHEMA);
        self.put(&sql);
        self.put(&digest);
    }

    /// Writes all rows of `sqlite_sequence`, three values each.
    pub(crate) fn sequences<'v>(
        &mut self,
        rows: usize,
        values: impl Iterator<Item = ValueRef<'v>>,
    ) {
        self.put(&tag::SEQUENCES);
        self.put(&rows);
        for value in values {
            put_value(&mut self.bytes, value);
        }
    }

    pub(crate) fn setting(&mut self, setting: Setting, old: i32, new: i32) {
        self.put(&tag::SETTING);
        self.put(&(setting == Setting::ApplicationId));
        self.put(&old);
        self.put(&new);
    }

    pub(crate) fn finish(mut self) -> ChangeSet {
        let sum = xxh3_64(&self.bytes);
        self.bytes.extend_from_slice(&sum.to_le_bytes());
        ChangeSet {
            bytes: self.bytes,
            tables: self.tables,
        }
    }

    fn row<'v>(
        &mut self,
        kind: u8,
        table: &mut Head<'_>,
        rowid: Option<i64>,
        values: impl Iterator<Item = ValueRef<'v>>,
    ) {
        self.row_head(kind, table, rowid);
        for value in values {
            put_value(&mut self.bytes, value);
        }
    }

    /// Writes what stands before the values of a row.
    #[inline]
    fn row_head(&mut self, kind: u8, table: &mut Head<'_>, rowid: Option<i64>) {
        let table = self.table(table);
        self.rows = true;
        self.bytes.push(kind);
        put_varint(&mut self.bytes, table as u64);
        if let Some(rowid) = rowid {
            put_varint(&mut self.bytes, zigzag(rowid));
        }
    }

    fn put(&mut self, value: &impl Serialize) {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes =
            postcard::to_extend(value, bytes).expect("writing plain values to memory cannot fail");
    }
}

/// Writes a value as [`Wire`] is written. Most of a change set is values, and this takes a third of the time.
#[inline]
pub(crate) fn put_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    let mut put_bytes = |kind, bytes: &[u8]| {
        out.push(kind);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    };
    match value {
        ValueRef::Text(text) => put_bytes(3, text),
        ValueRef::Blob(blob) => put_bytes(4, blob),
        ValueRef::Null => out.push(0),
        ValueRef::Integer(integer) => {
            out.push(1);
            put_varint(out, zigzag(integer));
        }
        ValueRef::Real(real) => {
            out.push(2);
            out.extend_from_slice(&real.to_le_bytes());
        }
    }
}

/// Writes seven bits at a time, the lowest ones first.
#[inline]
fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Moves the sign to the lowest bit, so that small numbers below zero are short too.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_postcard_writes_them() {
        let long = [7; 300];
        let longer = [7; 0x4000];
        let integers = [0, 1, -1, 63, 64, -65, 0x1fff, 0x2000, i64::MAX, i64::MIN];
        let integers = integers.map(ValueRef::Integer);
        let others = [
            ValueRef::Null,
            ValueRef::Real(-0.5),
            ValueRef::Text(b"a"),
            ValueRef::Text(&long),
            ValueRef::Blob(b""),
            ValueRef::Blob(&long),
            ValueRef::Blob(&longer[1..]),
            ValueRef::Blob(&longer),
        ];
        for value in integers.into_iter().chain(others) {
            let mut written = Vec::new();
            put_value(&mut written, value);
            let expected = postcard::to_stdvec(&Wire::from(value)).unwrap();
            assert_eq!(written, expected, "{value:?}");
        }
    }
}
