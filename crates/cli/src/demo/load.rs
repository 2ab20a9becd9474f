//! Fills a sharded database with the data set.

use anyhow::Context as _;
use shardwright_sql::Value;
use shardwright_sql::{ShardedDatabase, statement};

use super::data::{self, TABLES, Table};
use crate::interrupt::Interrupt;
use crate::progress;

/// Rows of one INSERT; SQLite takes 32,766 parameters at most.
const ROWS_PER_STATEMENT: usize = 1000;

/// Creates the tables and loads their rows.
pub(crate) fn load(database: &ShardedDatabase, interrupt: &Interrupt) -> anyhow::Result<()> {
    for statement in statement::split(data::SCHEMA) {
        database.execute(statement, ())?;
    }
    let bar = progress::rows(data::row_count());
    for table in &TABLES {
        bar.set_message(table.name);
        insert_all(database, table, |rows| {
            bar.inc(rows);
            Ok(interrupt.check()?)
        })
        .with_context(|| format!("load {}", table.name))?;
    }
    bar.finish_and_clear();
    Ok(())
}

fn insert_all(
    database: &ShardedDatabase,
    table: &Table,
    mut progress: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut rows = table.rows().peekable();
    while rows.peek().is_some() {
        let batch: Vec<Vec<Value>> = rows
            .by_ref()
            .take(ROWS_PER_STATEMENT)
            .collect::<anyhow::Result<_>>()?;
        let sql = insert(table.name, batch[0].len(), batch.len());
        database.execute(&sql, batch.concat().as_slice())?;
        progress(batch.len() as u64)?;
    }
    Ok(())
}

/// An INSERT of `rows` rows of `width` parameters each.
fn insert(table: &str, width: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(", "));
    format!("INSERT INTO {table} VALUES {}", vec![row; rows].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_batch_are_rows_of_one_insert() {
        assert_eq!(
            insert("t", 2, 3),
            "INSERT INTO t VALUES (?, ?), (?, ?), (?, ?)"
        );
    }
}
