//! What the rows of the file say about a possible key.

use std::{cell::RefCell, collections::HashMap};

use super::source::Source;
use crate::{
    error::Error,
    schema::{Column, Table, quote_identifier},
};

/// Counts rows, each question asked once.
#[derive(Debug)]
pub(super) struct Statistics<'a> {
    source: &'a Source,
    answers: RefCell<HashMap<String, u64>>,
}

impl<'a> Statistics<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            source,
            answers: RefCell::default(),
        }
    }

    pub(super) fn rows(&self, table: &Table) -> Result<u64, Error> {
        self.count(format!("SELECT count(*) FROM {}", name(table)))
    }

    pub(super) fn nulls(&self, table: &Table, column: &Column) -> Result<u64, Error> {
        if column.not_null {
            return Ok(0);
        }
        let column = quote_identifier(&column.name);
        self.count(format!(
            "SELECT count(*) FROM {} WHERE {column} IS NULL",
            name(table)
        ))
    }

    pub(super) fn distinct(&self, table: &Table, column: &Column) -> Result<u64, Error> {
        let column = quote_identifier(&column.name);
        self.count(format!(
            "SELECT count(DISTINCT {column}) FROM {}",
            name(table)
        ))
    }

    fn count(&self, sql: String) -> Result<u64, Error> {
        if let Some(answer) = self.answers.borrow().get(&sql) {
            return Ok(*answer);
        }
        let answer = self
            .source
            .connection()
            .query_row(&sql, (), |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
            .map_err(|error| self.source.error(error))?;
        self.answers.borrow_mut().insert(sql, answer);
        Ok(answer)
    }
}

fn name(table: &Table) -> String {
    format!("main.{}", quote_identifier(&table.name))
}
