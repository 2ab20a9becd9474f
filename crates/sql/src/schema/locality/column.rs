//! The columns that the terms of a trigger's conditions are.

use turso_parser::ast::{As, Expr, OneSelect, Operator, Select};

use crate::schema::{Table, fold, table::is_rowid_name};

/// A table as a statement names it.
pub(super) struct Named<'a> {
    pub(super) alias: String,
    pub(super) table: &'a Table,
}

/// Two columns that a statement requires to be equal.
pub(super) type Equal<'a> = (&'a Expr, &'a Expr);

/// Whether `name` is the given column of the table, or its rowid if `column` is none.
pub(super) fn means(table: &Table, name: &str, column: Option<usize>) -> bool {
    match column {
        Some(column) => table.resolve(name) == Some(column),
        None => is_rowid_name(name) && table.column_index(name).is_none(),
    }
}

/// The column that is meant by `NEW.column` or `OLD.column`.
pub(super) fn row_column(expr: &Expr) -> Option<&str> {
    match bare(expr) {
        Expr::Qualified(row, column) if is_row(row.as_str()) => Some(column.as_str()),
        _ => None,
    }
}

pub(super) fn is_row(name: &str) -> bool {
    name.eq_ignore_ascii_case("new") || name.eq_ignore_ascii_case("old")
}

/// The table of the statement whose shard key an expression is.
pub(super) fn key_of(expr: &Expr, tables: &[Named<'_>]) -> Option<usize> {
    let (named, column) = column_of(expr, tables)?;
    let key = named.table.shard_key()?.column;
    let index = tables.iter().position(|other| std::ptr::eq(other, named))?;
    (named.table.resolve(column) == Some(key)).then_some(index)
}

/// The table and name of the column that an expression is, unless that is in doubt.
pub(super) fn column_of<'e, 't, 'a>(
    expr: &'e Expr,
    tables: &'t [Named<'a>],
) -> Option<(&'t Named<'a>, &'e str)> {
    match bare(expr) {
        Expr::Qualified(qualifier, column) => {
            let alias = fold(qualifier.as_str());
            let mut found = tables.iter().filter(|named| named.alias == alias);
            let named = found.next()?;
            found.next().is_none().then_some((named, column.as_str()))
        }
        Expr::Id(column) | Expr::Name(column) => {
            let column = column.as_str();
            let has = |named: &&Named<'_>| {
                named.table.column_index(column).is_some() || is_rowid_name(column)
            };
            let mut found = tables.iter().filter(has);
            let named = found.next()?;
            found.next().is_none().then_some((named, column))
        }
        _ => None,
    }
}

pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Parenthesized(exprs) if exprs.len() == 1 => bare(&exprs[0]),
        other => other,
    }
}

/// Collects the equalities among the terms of a conjunction.
pub(super) fn conjuncts<'e>(expr: &'e Expr, equal: &mut Vec<Equal<'e>>) {
    match bare(expr) {
        Expr::Binary(left, Operator::And, right) => {
            conjuncts(left, equal);
            conjuncts(right, equal);
        }
        Expr::Binary(left, Operator::Equals | Operator::Is, right) => equal.push((left, right)),
        _ => {}
    }
}

pub(super) fn cores(select: &Select) -> impl Iterator<Item = &OneSelect> {
    std::iter::once(&select.body.select).chain(
        select
            .body
            .compounds
            .iter()
            .map(|compound| &compound.select),
    )
}

pub(super) fn alias_name(alias: &As) -> &str {
    match alias {
        As::As(name) | As::Elided(name) | As::ImplicitColumnName(name) => name.as_str(),
    }
}
