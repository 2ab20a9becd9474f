//! Rows copied out of SQLite, many at a time.

use crate::row::{Cell, Row};

/// Rows of a cursor in one reusable buffer.
///
/// The rows of a batch stay valid while the cursor is idle or gone, and a batch may move to another
/// thread. Filling it again reuses its memory.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    columns: usize,
    rows: usize,
    cells: Vec<Cell>,
    bytes: Vec<u8>,
}

impl Batch {
    /// An empty batch, which allocates nothing until it is filled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of rows.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns the row at `index`, counted from zero.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn row(&self, index: usize) -> Row<'_> {
        self.prefix(index, self.columns)
    }

    /// Returns the first values of the row at `index`, as many as `columns` says.
    ///
    /// # Panics
    ///
    /// If there is no such row, or it is not so wide.
    #[inline]
    #[must_use]
    pub fn prefix(&self, index: usize, columns: usize) -> Row<'_> {
        assert!(index < self.rows, "row {index} of a batch of {}", self.rows);
        let start = index * self.columns;
        Row::of_batch(
            &self.cells[start..start + self.columns][..columns],
            &self.bytes,
        )
    }

    /// Returns the rows in order.
    #[inline]
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.rows).map(|index| self.row(index))
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.rows = 0;
        self.cells.clear();
        self.bytes.clear();
    }

    /// Appends a row.
    ///
    /// # Panics
    ///
    /// If it has another number of columns than the rows before it.
    #[inline]
    pub fn push(&mut self, row: &Row<'_>) {
        if self.rows == 0 {
            self.columns = row.len();
        }
        assert_eq!(row.len(), self.columns, "rows of a batch are equally wide");
        for value in row.iter() {
            self.cells.push(Cell::store(value, &mut self.bytes));
        }
        self.rows += 1;
    }

    /// Returns how many bytes of text and blob the rows hold.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn rows_come_back_as_they_went_in() {
        let rows = [
            vec![Value::from(1), Value::from("one"), Value::Null],
            vec![Value::from(2.5), Value::from(""), Value::from(vec![0, 255])],
        ];
        let mut batch = Batch::new();
        for _ in 0..2 {
            batch.clear();
            for row in &rows {
                batch.push(&Row::of_values(row));
            }
            let read: Vec<_> = batch.rows().map(|row| row.to_values()).collect();
            assert_eq!(read, rows);
            assert_eq!(batch.prefix(1, 2).to_values(), rows[1][..2]);
        }
    }
}
