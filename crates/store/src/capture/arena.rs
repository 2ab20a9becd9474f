//! Values of rows, many in few buffers.

use std::{ffi::c_int, ops::Range};

use super::{hook::Touch, table::AnnouncedColumn};
use crate::{ValueRef, changes::put_value, row::Cell};

/// Values of many rows in few buffers.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    cells: Vec<Cell>,
    bytes: Vec<u8>,
    /// The stored columns of rows as they were inserted, as a change set has them.
    written: Vec<u8>,
}

impl Arena {
    /// Returns the value in a place.
    pub(crate) fn get(&self, place: usize) -> ValueRef<'_> {
        self.cells[place].value(&self.bytes)
    }

    /// Returns the values of a row as it was inserted.
    pub(crate) fn written(&self, values: Range<usize>) -> &[u8] {
        &self.written[values]
    }

    /// Writes the stored columns of a row that is about to be inserted; returns where, unless it has to be read later.
    #[inline]
    pub(super) fn write(
        &mut self,
        columns: &[AnnouncedColumn],
        touch: &Touch<'_>,
    ) -> Result<Option<Range<usize>>, c_int> {
        let start = self.written.len();
        for column in columns {
            let value = match column.is_rowid {
                true => ValueRef::Integer(touch.rowid_after),
                false => touch.after(column.position as c_int)?,
            };
            let value = match value {
                // A row copied from another table may lack the last columns, and has their defaults then; what is announced is NULL.
                ValueRef::Null if column.has_default => return Ok(None),
                ValueRef::Integer(integer) if column.is_real => ValueRef::Real(integer as f64),
                value => value,
            };
            put_value(&mut self.written, value);
        }
        Ok(Some(start..self.written.len()))
    }

    /// Copies columns of a row; returns where.
    pub(super) fn copy<'v>(
        &mut self,
        columns: impl Iterator<Item = c_int>,
        value: impl Fn(c_int) -> Result<ValueRef<'v>, c_int>,
    ) -> Result<usize, c_int> {
        let start = self.cells.len();
        for column in columns {
            self.push(value(column)?);
        }
        Ok(start)
    }

    /// Copies values; returns where.
    pub(super) fn keep(&mut self, values: &[ValueRef<'_>]) -> usize {
        let start = self.cells.len();
        for &value in values {
            self.push(value);
        }
        start
    }

    fn push(&mut self, value: ValueRef<'_>) {
        let cell = Cell::store(value, &mut self.bytes);
        self.cells.push(cell);
    }

    /// Returns about how much memory the values take.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.written.len() + self.cells.len() * size_of::<Cell>()
    }

    /// Forgets the values, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.cells.clear();
        self.bytes.clear();
        self.written.clear();
    }
}
