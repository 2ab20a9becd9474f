//! The rows of a table in INSERTs of bounded size. The same rows from the same place on make the same INSERTs.

use anyhow::Context as _;
use rusqlite::{Rows, Statement};
use shardwright_sql::{
    Value,
    schema::{Generated, Table, quote_identifier},
};

use super::source::Source;
use crate::values;

/// How many rows an INSERT has at most.
const ROWS_MAX: usize = 400;

/// How many values; SQLite takes 32,766.
const VALUES_MAX: usize = 20_000;

/// After how many bytes of text and blobs an INSERT ends.
const BYTES_MAX: usize = 256 << 10;

/// One INSERT.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) sql: String,
    pub(super) args: Vec<Value>,
    pub(super) rows: u64,
}

/// The rows of a table that are still to be sent.
pub(super) struct Batches<'a> {
    table: &'a Table,
    columns: Vec<String>,
    /// Reads the rows from a place on; their number is the parameter.
    statement: Statement<'a>,
    done: u64,
    is_over: bool,
}

/// The INSERTs that are left when so many rows are there.
pub(super) fn of<'a>(
    source: &'a Source,
    table: &'a Table,
    done: u64,
) -> anyhow::Result<Batches<'a>> {
    let ordinary = table.columns.iter();
    let ordinary = ordinary.filter(|column| column.generated == Generated::Ordinary);
    let columns: Vec<String> = ordinary
        .map(|column| quote_identifier(&column.name))
        .collect();
    let sql = format!(
        "SELECT {} FROM {} ORDER BY {} LIMIT {ROWS_MAX} OFFSET ?1",
        columns.join(", "),
        quote_identifier(&table.name),
        place(table).join(", ")
    );
    let statement = source.connection().prepare(&sql);
    Ok(Batches {
        table,
        columns,
        statement: statement.with_context(|| format!("read {}", table.name))?,
        done,
        is_over: false,
    })
}

/// What tells a row's place among those of its table.
fn place(table: &Table) -> Vec<String> {
    match table.rowid_name() {
        Some(rowid) => vec![rowid.to_owned()],
        None => {
            let key = table.primary_key.iter();
            key.map(|column| quote_identifier(&table.columns[*column].name))
                .collect()
        }
    }
}

impl Batches<'_> {
    /// The next INSERT; `None` at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Batch>> {
        if self.is_over {
            return Ok(None);
        }
        let width = self.columns.len();
        let limit = (VALUES_MAX / width.max(1)).clamp(1, ROWS_MAX);
        let context = || format!("read {}", self.table.name);
        let done = i64::try_from(self.done)?;
        let mut rows = self.statement.query([done]).with_context(context)?;
        let args = take(&mut rows, width, limit).with_context(context)?;
        drop(rows);
        let count = args.len() / width.max(1);
        if count == 0 {
            self.is_over = true;
            return Ok(None);
        }
        self.done += count as u64;
        let places = format!("({})", vec!["?"; width].join(", "));
        let sql = format!(
            "INSERT INTO {} ({}) VALUES {}",
            quote_identifier(&self.table.name),
            self.columns.join(", "),
            vec![places; count].join(", ")
        );
        Ok(Some(Batch {
            sql,
            args,
            rows: count as u64,
        }))
    }
}

/// The values of the next rows, at least one row's if there is one.
fn take(rows: &mut Rows<'_>, width: usize, limit: usize) -> rusqlite::Result<Vec<Value>> {
    let mut args = Vec::new();
    let mut bytes = 0;
    while args.len() < limit * width
        && bytes < BYTES_MAX
        && let Some(row) = rows.next()?
    {
        for column in 0..width {
            let value = values::of_sqlite(row.get_ref(column)?);
            bytes += size(&value);
            args.push(value);
        }
    }
    Ok(args)
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Integer(_) | Value::Real(_) => 8,
        Value::Text(bytes) | Value::Blob(bytes) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use shardwright_sql::adopt::AdoptOptions;

    use super::*;

    #[test]
    fn the_rows_come_once_in_batches_that_do_not_depend_on_where_one_begins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch(
                "CREATE TABLE t(id INTEGER PRIMARY KEY, text, twice AS (id * 2));
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
                   INSERT INTO t(id, text) SELECT i, 'row ' || i FROM n;
                 INSERT INTO t(id, text) VALUES (901, zeroblob(400000)), (902, 'last');
                 CREATE TABLE w(a, b, PRIMARY KEY(b, a)) WITHOUT ROWID;
                 INSERT INTO w VALUES (2, 1), (1, 2), (1, 1)",
            )
            .unwrap();
        let source = Source::open(&path, &AdoptOptions::default()).unwrap();
        let all = |table: &str, done| {
            let table = source.schema().table(table).unwrap();
            let mut batches = of(&source, table, done).unwrap();
            let mut found = Vec::new();
            while let Some(batch) = batches.next().unwrap() {
                found.push((batch.rows, batch.args));
            }
            found
        };
        let whole = all("t", 0);
        let sizes: Vec<u64> = whole.iter().map(|(rows, _)| *rows).collect();
        assert_eq!(sizes, [400, 400, 101, 1]);
        assert_eq!(all("t", 800), whole[2..]);
        assert_eq!(all("t", 902), []);
        assert_eq!(whole[0].1.len(), 800, "what is computed is not sent");
        let keys = [1, 1, 2, 1, 1, 2].map(Value::from);
        assert_eq!(all("w", 0), [(3, keys.to_vec())]);
    }
}
