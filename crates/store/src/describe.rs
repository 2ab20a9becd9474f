//! What a statement takes and gives.

use crate::{Result, connection::Connection};

/// What a statement takes and gives, as SQLite compiled it against the current schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The columns of its rows; none for a statement that gives no rows.
    pub columns: Vec<Column>,
    /// Its parameters, in binding order. `None` for a `?` without a name.
    pub parameters: Vec<Option<String>>,
    /// Whether it changes neither the file nor the schema. `BEGIN` counts as read-only too.
    pub read_only: bool,
    /// Whether it is an `EXPLAIN` or `EXPLAIN QUERY PLAN`.
    pub explain: bool,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name: the alias, or what SQLite makes up.
    pub name: String,
    /// The declared type, if it comes straight from a column of a table.
    pub declared_type: Option<String>,
    /// The table and the column it comes straight from.
    pub origin: Option<Origin>,
}

/// Where a result column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The table, not its alias.
    pub table: String,
    /// The column of that table.
    pub column: String,
}

pub(crate) fn describe(connection: &Connection, sql: &str) -> Result<Description> {
    let statement = connection.prepare(sql)?;
    let columns = statement
        .columns_with_metadata()
        .zip(statement.columns())
        .map(|(metadata, declared)| Column {
            name: metadata.name().to_owned(),
            declared_type: declared.decl_type().map(str::to_owned),
            origin: metadata
                .table_name()
                .zip(metadata.origin_name())
                .map(|(table, column)| Origin {
                    table: table.to_owned(),
                    column: column.to_owned(),
                }),
        })
        .collect();
    Ok(Description {
        columns,
        parameters: (1..=statement.parameter_count())
            .map(|number| statement.parameter_name(number).map(str::to_owned))
            .collect(),
        read_only: statement.readonly(),
        explain: statement.is_explain() != 0,
    })
}
