//! Answers that one row of each shard is not enough for: the shards' rows are put into a table, and a statement over that table is
//! the answer.
//!
//! SQLite runs that statement, so it decides about HAVING, ORDER BY and expressions over aggregates. Its columns have the affinity and the
//! collation of what they stand for, and what has neither is hidden behind a function, which has neither as well.

use std::sync::Arc;

use turso_parser::ast::Select;

use super::{
    Unscattered,
    columns::Columns,
    order::{self, Order},
};
use crate::schema::Collation;

/// The table of the shards' rows.
pub(crate) const PARTS: &str = "shardwright_parts";

/// How the rows of the shards become the answer.
#[derive(Debug)]
pub(crate) struct Combine {
    /// The table: its columns, with what they are compared by.
    pub(crate) table: String,
    pub(crate) columns: usize,
    /// The statement over it, which takes the parameters of the original.
    pub(crate) sql: Arc<str>,
}

impl Combine {
    pub(super) fn new(declarations: &[String], sql: impl Into<Arc<str>>) -> Self {
        Self {
            table: format!("CREATE TABLE {PARTS}({})", declarations.join(", ")),
            columns: declarations.len(),
            sql: sql.into(),
        }
    }

    /// Rows of which there may be only one of a kind.
    pub(super) fn of_distinct(
        select: &Select,
        arms: &[Columns<'_>],
        order: &Order,
    ) -> Result<Self, Unscattered> {
        let shown = order::shown_by_arms(select, arms);
        let width = shown.first().map_or(0, Vec::len);
        let mut declarations = Vec::new();
        for column in 0..width {
            let collation = order::result_collation(column, &shown, arms)?.unwrap_or_default();
            declarations.push(declaration(column, "", collation));
        }
        let mut sql = format!(
            "SELECT DISTINCT {} FROM {PARTS}",
            (0..width).map(name).collect::<Vec<_>>().join(", ")
        );
        let terms = order.terms.iter().map(|term| {
            format!(
                "{} COLLATE {}{} NULLS {}",
                name(term.column),
                term.collation.name(),
                if term.descending { " DESC" } else { "" },
                if term.nulls_first { "FIRST" } else { "LAST" },
            )
        });
        let terms: Vec<String> = terms.collect();
        if !terms.is_empty() {
            sql.push_str(&format!(" ORDER BY {}", terms.join(", ")));
        }
        if let Some(limit) = &select.limit {
            sql.push_str(&format!(" {limit}"));
        }
        Ok(Self::new(&declarations, sql))
    }
}

/// The name of a column of the table. No other object has such a name.
pub(super) fn name(column: usize) -> String {
    format!("shardwright_{column}")
}

pub(super) fn declaration(column: usize, type_name: &str, collation: Collation) -> String {
    format!("{} {type_name} COLLATE {}", name(column), collation.name())
}
