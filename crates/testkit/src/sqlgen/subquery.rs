//! Queries inside expressions. Each has one answer whatever order its rows come in.

use crate::sqlgen::{
    composer::{Composer, Expr},
    scope::{Kind, Scope},
};

impl Composer<'_> {
    /// `(SELECT ...)` of at most one row, or of an aggregate.
    pub(super) fn scalar_subquery(&mut self, scope: &Scope<'_>) -> Option<Expr> {
        if !self.may_nest() {
            return None;
        }
        let mut inner = Scope::inside(Some(scope));
        let from = self.single_source(&mut inner);
        let filter = self.inner_filter(&inner);
        Some(match self.dice.index(3) {
            0 => {
                let value = self.steady(&inner, 1);
                let direction = *self.dice.pick(&["", " DESC"]);
                let sql = format!(
                    "(SELECT {} FROM {from}{filter} ORDER BY 1{direction} LIMIT 1)",
                    value.sql
                );
                Expr::new(sql, value.kind, false)
            }
            1 => Expr::integer(format!("(SELECT count(*) FROM {from}{filter})")),
            _ => {
                let value = self.nested_aggregate(&inner);
                Expr::new(
                    format!("(SELECT {} FROM {from}{filter})", value.sql),
                    Kind::Any,
                    true,
                )
            }
        })
    }

    /// EXISTS, IN (SELECT ...), or a comparison with a scalar subquery.
    pub(super) fn subquery_predicate(&mut self, scope: &Scope<'_>) -> Option<String> {
        if !self.may_nest() {
            return None;
        }
        let mut inner = Scope::inside(Some(scope));
        let from = self.single_source(&mut inner);
        let filter = self.inner_filter(&inner);
        let not = if self.dice.chance(30) { "NOT " } else { "" };
        let outer = self.leaf(scope).sql;
        let value = self.leaf(&inner).sql;
        Some(match self.dice.index(6) {
            0 | 1 => format!("{not}EXISTS (SELECT 1 FROM {from}{filter})"),
            2 | 3 => format!("{outer} {not}IN (SELECT {value} FROM {from}{filter})"),
            4 => {
                let (outer2, value2) = (self.leaf(scope).sql, self.leaf(&inner).sql);
                format!(
                    "({outer}, {outer2}) {not}IN (SELECT {value}, {value2} FROM {from}{filter})"
                )
            }
            _ => {
                let value = self.nested_aggregate(&inner).sql;
                format!("{outer} >= (SELECT {value} FROM {from}{filter})")
            }
        })
    }

    fn inner_filter(&mut self, inner: &Scope<'_>) -> String {
        let mut terms = Vec::new();
        if let Some(outer) = inner.outer
            && self.dice.chance(60)
        {
            let (own, other) = (
                self.leaf(&Scope::of(inner)),
                self.leaf(&Scope::seen_from_inside(outer)),
            );
            terms.push(format!("{} = {}", own.sql, other.sql));
        }
        if self.dice.chance(50) {
            terms.push(self.predicate(inner, 1));
        }
        if terms.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", terms.join(" AND "))
        }
    }
}
