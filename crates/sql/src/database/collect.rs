//! Rows that a statement is answered with, as many as may be in memory.

use std::ops::ControlFlow;

use shardwright_store::{Row, Value};

use super::{Limits, ShardedDatabase};
use crate::error::Error;

/// Rows, within limits.
pub(super) struct Collected {
    limits: Limits,
    rows: Vec<Vec<Value>>,
    bytes: u64,
    reached: Option<String>,
}

impl Collected {
    pub(super) fn within(limits: Limits) -> Self {
        Self {
            limits,
            rows: Vec::new(),
            bytes: 0,
            reached: None,
        }
    }

    /// Takes a row, and breaks once there are too many.
    pub(super) fn keep(&mut self, row: &Row<'_>) -> ControlFlow<()> {
        self.push(row.to_values())
    }

    pub(super) fn push(&mut self, row: Vec<Value>) -> ControlFlow<()> {
        let bytes: usize = row.iter().map(bytes_of).sum();
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.rows.push(row);
        let Limits { rows, bytes, .. } = self.limits;
        if self.rows.len() as u64 > rows {
            self.reached = Some(format!("{rows} rows fetched"));
        } else if self.bytes > bytes {
            self.reached = Some(format!("{bytes} bytes fetched"));
        } else {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(())
    }

    /// Returns the rows.
    ///
    /// # Errors
    /// [`Error::LimitReached`].
    pub(super) fn finish(self) -> Result<Vec<Vec<Value>>, Error> {
        match self.reached {
            Some(limit) => Err(Error::LimitReached { limit }),
            None => Ok(self.rows),
        }
    }
}

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Text(bytes) | Value::Blob(bytes) => bytes.len(),
        Value::Null | Value::Integer(_) | Value::Real(_) => 0,
    }
}

impl ShardedDatabase {
    /// How far a statement may go that begins now.
    pub(super) fn limits(&self) -> Limits {
        let limits = self.inner.shared.options.limits;
        let left = self.inner.places.time_left();
        Limits {
            time: left.map_or(limits.time, |left| left.min(limits.time)),
            ..limits
        }
    }
}
