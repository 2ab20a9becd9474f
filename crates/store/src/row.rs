//! One row of a result.

use crate::value::{RawValue, Value, ValueRef};

/// One row of a result, valid until the next row is asked for.
///
/// A row that comes straight from SQLite, one of a [`Batch`](crate::Batch) and one over plain values
/// look alike, so code that consumes rows need not know where they came from.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a>(Source<'a>);

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Statement(&'a rusqlite::Row<'a>),
    Batch { cells: &'a [Cell], bytes: &'a [u8] },
    Values(&'a [Value]),
}

/// A value of a batch; texts and blobs are ranges of its arena.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text { start: usize, len: usize },
    Blob { start: usize, len: usize },
}

impl Cell {
    /// Stores a value; the bytes of a text or a blob go to the end of `bytes`.
    #[inline]
    pub(crate) fn store(value: ValueRef<'_>, bytes: &mut Vec<u8>) -> Self {
        let start = bytes.len();
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(integer) => Self::Integer(integer),
            ValueRef::Real(real) => Self::Real(real),
            ValueRef::Text(text) => {
                bytes.extend_from_slice(text);
                Self::Text {
                    start,
                    len: text.len(),
                }
            }
            ValueRef::Blob(blob) => {
                bytes.extend_from_slice(blob);
                Self::Blob {
                    start,
                    len: blob.len(),
                }
            }
        }
    }

    #[inline]
    pub(crate) fn value(self, bytes: &[u8]) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(integer) => ValueRef::Integer(integer),
            Self::Real(real) => ValueRef::Real(real),
            Self::Text { start, len } => ValueRef::Text(&bytes[start..start + len]),
            Self::Blob { start, len } => ValueRef::Blob(&bytes[start..start + len]),
        }
    }
}

impl<'a> Row<'a> {
    #[inline]
    pub(crate) fn of_statement(row: &'a rusqlite::Row<'a>) -> Self {
        Self(Source::Statement(row))
    }

    #[inline]
    pub(crate) fn of_batch(cells: &'a [Cell], bytes: &'a [u8]) -> Self {
        Self(Source::Batch { cells, bytes })
    }

    /// Makes a row of plain values.
    #[must_use]
    pub fn of_values(values: &'a [Value]) -> Self {
        Self(Source::Values(values))
    }

    /// Returns the number of columns.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Statement(row) => row.as_ref().column_count(),
            Source::Batch { cells, .. } => cells.len(),
            Source::Values(values) => values.len(),
        }
    }

    /// Returns whether there are no columns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value of the column at `index`, counted from zero.
    ///
    /// # Panics
    ///
    /// If there is no such column.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> ValueRef<'a> {
        match self.0 {
            Source::Statement(row) => RawValue::from(row.get_ref_unwrap(index)).0,
            Source::Batch { cells, bytes } => cells[index].value(bytes),
            Source::Values(values) => values[index].as_ref(),
        }
    }

    /// Returns the values from the first column to the last.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ValueRef<'a>> + Clone + use<'a> {
        let row = *self;
        (0..row.len()).map(move |index| row.get(index))
    }

    /// Copies the row.
    #[must_use]
    pub fn to_values(&self) -> Vec<Value> {
        self.iter().map(ValueRef::to_value).collect()
    }
}
