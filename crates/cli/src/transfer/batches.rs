//! The rows of a table in INSERTs of bounded size. The same rows make the same INSERTs.

use anyhow::Context as _;
use rusqlite::Connection;
use shardwright_sql::{
    Value,
    schema::{Table, quote_identifier},
};

use super::{rows::Rows, sequences::LastNumber};
use crate::values;

/// How many rows an INSERT has at most.
const ROWS_MAX: usize = 400;

/// How many values; SQLite takes 32,766.
const VALUES_MAX: usize = 20_000;

/// After how many bytes of text and blobs an INSERT ends. A row with more is alone in its own.
const BYTES_MAX: usize = 256 << 10;

/// One statement.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) sql: String,
    pub(super) args: Vec<Value>,
    /// How many rows are there after it that were not there before.
    pub(super) rows: u64,
}

impl Batch {
    /// How many bytes the values have, about.
    pub(super) fn bytes(&self) -> usize {
        self.args.iter().map(size).sum()
    }
}

/// A table, and how its rows are read and sent.
#[derive(Debug)]
pub(super) struct Sending<'a> {
    pub(super) table: &'a Table,
    pub(super) rows: &'a Rows,
    pub(super) last_number: Option<&'a LastNumber>,
}

/// Makes the statements that fill a table, one after the other.
///
/// # Errors
/// When the rows cannot be read, and those of `take`.
pub(super) fn each(
    connection: &Connection,
    sending: &Sending<'_>,
    take: &mut dyn FnMut(Batch) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if let Some(last_number) = sending.last_number {
        last_number.batches().into_iter().try_for_each(&mut *take)?;
    }
    let context = || format!("read {}", sending.table.name);
    let width = sending.rows.columns.len();
    let mut filling = Filling::new(sending);
    let mut statement = connection
        .prepare(&sending.rows.select)
        .with_context(context)?;
    let mut rows = statement.query(()).with_context(context)?;
    while let Some(row) = rows.next().with_context(context)? {
        let values = (0..width).map(|column| Ok(values::of_sqlite(row.get_ref(column)?)));
        let values: rusqlite::Result<Vec<Value>> = values.collect();
        if let Some(full) = filling.push(values.with_context(context)?) {
            take(full)?;
        }
    }
    filling.take().map_or(Ok(()), take)
}

/// An INSERT that takes rows.
struct Filling<'a> {
    sending: &'a Sending<'a>,
    args: Vec<Value>,
    rows: usize,
    bytes: usize,
    rows_max: usize,
}

impl<'a> Filling<'a> {
    fn new(sending: &'a Sending<'a>) -> Self {
        let width = sending.rows.columns.len();
        Self {
            sending,
            args: Vec::new(),
            rows: 0,
            bytes: 0,
            rows_max: (VALUES_MAX / width.max(1)).clamp(1, ROWS_MAX),
        }
    }

    /// Adds a row. Returns what was full before that.
    fn push(&mut self, row: Vec<Value>) -> Option<Batch> {
        let bytes: usize = row.iter().map(size).sum();
        let is_full = self.rows == self.rows_max || BYTES_MAX < self.bytes + bytes;
        let full = if is_full { self.take() } else { None };
        self.args.extend(row);
        self.rows += 1;
        self.bytes += bytes;
        full
    }

    /// Takes what there is.
    fn take(&mut self) -> Option<Batch> {
        if self.rows == 0 {
            return None;
        }
        let columns = &self.sending.rows.columns;
        let place = format!("({})", vec!["?"; columns.len()].join(", "));
        let sql = format!(
            "INSERT INTO {} ({}) VALUES {}",
            quote_identifier(&self.sending.table.name),
            columns.join(", "),
            vec![place; self.rows].join(", ")
        );
        let rows = self.rows as u64;
        (self.rows, self.bytes) = (0, 0);
        Some(Batch {
            sql,
            args: std::mem::take(&mut self.args),
            rows,
        })
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Integer(_) | Value::Real(_) => 8,
        Value::Text(bytes) | Value::Blob(bytes) => bytes.len(),
    }
}
