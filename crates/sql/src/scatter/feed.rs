//! One of the sources that are merged, at its next row.

use shardwright_store::{Batch, Row};

use crate::{error::Error, meter::Meter, shards::RowSource};

#[derive(Debug)]
pub(super) struct Feed {
    source: Box<dyn RowSource>,
    batch: Batch,
    at: usize,
}

impl Feed {
    pub(super) fn new(source: Box<dyn RowSource>) -> Self {
        Self {
            source,
            batch: Batch::new(),
            at: 0,
        }
    }

    /// Goes to the first row. Returns whether there is one.
    pub(super) fn begin(&mut self, meter: &Meter) -> Result<bool, Error> {
        self.at = 0;
        let more = self.source.next_batch(&mut self.batch)?;
        meter.count(&self.batch)?;
        Ok(more)
    }

    /// Goes to the next row. Returns whether there is one.
    pub(super) fn advance(&mut self, meter: &Meter) -> Result<bool, Error> {
        self.at += 1;
        if self.at < self.batch.len() {
            return Ok(true);
        }
        self.begin(meter)
    }

    /// The row, with the columns that only serve to merge.
    pub(super) fn row(&self) -> Row<'_> {
        self.batch.row(self.at)
    }

    /// The row without its last `hidden` columns.
    pub(super) fn shown(&self, hidden: usize) -> Row<'_> {
        let columns = self.row().len();
        self.batch.prefix(self.at, columns.saturating_sub(hidden))
    }
}
