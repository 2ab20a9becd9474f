//! What names in a statement mean, and how their values are compared.

use turso_parser::ast::{As, Expr, Name, ResultColumn, SortedColumn, UnaryOperator};

use super::{Unscattered, functions};
use crate::{
    schema::{Collation, Generated, Table, fold},
    statement::ast,
};

/// The tables of a FROM clause, in their order.
pub(super) struct Columns<'s> {
    /// With their folded aliases.
    pub(super) tables: Vec<(String, &'s Table)>,
    /// The one that drives.
    pub(super) driver: usize,
}

/// A column of the result.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) expr: Expr,
    /// The folded alias.
    pub(super) alias: Option<String>,
}

impl Columns<'_> {
    /// The table and its column that an expression names. `None` also where it is an alias, or unclear.
    pub(super) fn named(&self, expr: &Expr) -> Option<(usize, usize)> {
        let (alias, name) = match expr {
            Expr::Parenthesized(inner) if inner.len() == 1 => return self.named(&inner[0]),
            Expr::Id(name) | Expr::Name(name) => (None, name),
            Expr::Qualified(table, name) | Expr::DoublyQualified(_, table, name) => {
                (Some(fold(table.as_str())), name)
            }
            _ => return None,
        };
        let mut found = self
            .tables
            .iter()
            .enumerate()
            .filter_map(|(index, (known, table))| {
                let fits = alias.as_ref().is_none_or(|alias| alias == known);
                Some((index, table.resolve(name.as_str()).filter(|_| fits)?))
            });
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Whether an expression is the shard key of the table that drives.
    pub(super) fn is_key(&self, expr: &Expr) -> bool {
        let (_, driver) = self.tables[self.driver];
        let key = driver.shard_key().map(|key| key.column);
        key.is_some() && self.named(expr) == key.map(|key| (self.driver, key))
    }

    /// The collation by which an expression is compared with its like, `None` within for none of its own; `None` where that is unclear.
    pub(super) fn collation(&self, expr: &Expr) -> Option<Option<Collation>> {
        match expr {
            Expr::Parenthesized(inner) if inner.len() == 1 => self.collation(&inner[0]),
            Expr::Unary(UnaryOperator::Positive, inner) | Expr::Cast { expr: inner, .. } => {
                self.collation(inner)
            }
            Expr::Collate(_, name) => Collation::from_name(name.as_str()).map(Some),
            Expr::Id(_) | Expr::Name(_) | Expr::Qualified(..) | Expr::DoublyQualified(..) => {
                let (table, column) = self.named(expr)?;
                Some(Some(self.tables[table].1.columns[column].collation))
            }
            _ if ast::any_expr(expr, &mut |part| {
                matches!(
                    part,
                    Expr::Collate(..) | Expr::Subquery(_) | Expr::Exists(_)
                )
            }) =>
            {
                None
            }
            _ => Some(None),
        }
    }

    /// The columns of the result, with those that `*` stands for.
    pub(super) fn shown(&self, results: &[ResultColumn]) -> Vec<Shown> {
        let mut shown = Vec::new();
        for result in results {
            match result {
                ResultColumn::Expr(expr, alias) => shown.push(Shown {
                    expr: (**expr).clone(),
                    alias: match alias {
                        Some(As::As(name) | As::Elided(name)) => Some(fold(name.as_str())),
                        Some(As::ImplicitColumnName(_)) | None => None,
                    },
                }),
                ResultColumn::Star => {
                    let all = self.tables.iter();
                    shown.extend(all.flat_map(|(alias, table)| every_column(alias, table)));
                }
                ResultColumn::TableStar(name) => {
                    let name = fold(name.as_str());
                    let meant = self
                        .tables
                        .iter()
                        .filter(|(alias, _)| *alias == name)
                        .take(1);
                    shown.extend(meant.flat_map(|(alias, table)| every_column(alias, table)));
                }
            }
        }
        shown
    }

    /// What a term of GROUP BY groups by: a number and an alias stand for a column of the result, and columns of tables go before aliases.
    pub(super) fn meant_by_group<'e>(
        &self,
        term: &'e Expr,
        results: &'e [ResultColumn],
    ) -> &'e Expr {
        let number = ordinal(term);
        let by_alias = |name: &Name| {
            results.iter().find_map(|result| match result {
                ResultColumn::Expr(expr, Some(As::As(alias) | As::Elided(alias)))
                    if fold(alias.as_str()) == fold(name.as_str()) =>
                {
                    Some(&**expr)
                }
                _ => None,
            })
        };
        let has_star = results
            .iter()
            .any(|result| !matches!(result, ResultColumn::Expr(..)));
        let found = match (number, term) {
            (Some(number), _) if !has_star => match results.get(number.wrapping_sub(1)) {
                Some(ResultColumn::Expr(expr, _)) => Some(&**expr),
                _ => None,
            },
            (None, Expr::Id(name) | Expr::Name(name)) if self.named(term).is_none() => {
                by_alias(name)
            }
            _ => None,
        };
        found.unwrap_or(term)
    }

    /// Whether an aggregate makes one row of all.
    pub(super) fn aggregates(&self, results: &[ResultColumn], order: &[SortedColumn]) -> bool {
        let has_aggregate = |expr: &Expr| contains_here(expr, &mut functions::is_aggregate);
        let shown = |result: &ResultColumn| matches!(result, ResultColumn::Expr(expr, _) if has_aggregate(expr));
        results.iter().any(shown) || order.iter().any(|term| has_aggregate(&term.expr))
    }

    /// Whether two expressions are the same, but for how they name columns.
    pub(super) fn are_same(&self, a: &Expr, b: &Expr) -> bool {
        self.with_columns(a) == self.with_columns(b)
    }

    /// An expression whose columns are named by their places.
    fn with_columns(&self, expr: &Expr) -> Expr {
        if let Some((table, column)) = self.named(expr) {
            let by_number = |number: usize| Name::exact(number.to_string());
            return Expr::Qualified(by_number(table), by_number(column));
        }
        if let Expr::Parenthesized(inner) = expr
            && let [only] = &inner[..]
        {
            return self.with_columns(only);
        }
        let mut written = expr.clone();
        // What has parts that are not known is compared as it is.
        let _ = ast::replace_parts::<()>(&mut written, &mut |part| {
            *part = self.with_columns(part);
            Ok(())
        });
        written
    }

    /// Refuses an expression in which something else than columns is named, or that has a subquery.
    pub(super) fn check_names(&self, expr: &Expr) -> Result<(), Unscattered> {
        let mut clear = true;
        check_parts(expr, &mut |part| match part {
            Expr::Id(_) | Expr::Name(_) | Expr::Qualified(..) | Expr::DoublyQualified(..) => {
                clear &= self.named(part).is_some();
            }
            Expr::Subquery(_) | Expr::Exists(_) | Expr::InSelect { .. } | Expr::InTable { .. } => {
                clear = false
            }
            _ => {}
        });
        if clear {
            Ok(())
        } else {
            Err("a term names something else than columns")
        }
    }
}

/// The columns that `*` stands for.
fn every_column(alias: &str, table: &Table) -> Vec<Shown> {
    let seen = table
        .columns
        .iter()
        .filter(|column| column.generated != Generated::Hidden);
    let shown = seen.map(|column| Shown {
        expr: Expr::Qualified(
            Name::exact(alias.to_owned()),
            Name::exact(column.name.clone()),
        ),
        alias: None,
    });
    shown.collect()
}

/// The number that a term of GROUP BY or ORDER BY is.
pub(super) fn ordinal(term: &Expr) -> Option<usize> {
    use turso_parser::ast::Literal;
    match term {
        Expr::Parenthesized(inner) if inner.len() == 1 => ordinal(&inner[0]),
        Expr::Literal(Literal::Numeric(digits)) => digits.parse().ok(),
        _ => None,
    }
}

/// Calls `visit` with an expression and all its parts, subqueries left out.
fn check_parts<'e>(expr: &'e Expr, visit: &mut dyn FnMut(&'e Expr)) {
    visit(expr);
    ast::parts(expr, &mut |node| {
        if let ast::Node::Expr(part) = node {
            check_parts(part, visit);
        }
    });
}

/// Whether a part of an expression satisfies `test`, subqueries left out.
pub(super) fn contains_here(expr: &Expr, test: &mut dyn FnMut(&Expr) -> bool) -> bool {
    let mut found = false;
    check_parts(expr, &mut |part| found = found || test(part));
    found
}
