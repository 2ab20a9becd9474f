//! Aggregate functions.

use crate::sqlgen::{
    composer::{Composer, Expr},
    content::Content,
    scope::{Kind, Scope},
};

impl Composer<'_> {
    /// An aggregate for a result column; a sum of reals makes the answer tolerate rounding.
    pub(super) fn aggregate(&mut self, scope: &Scope<'_>) -> Expr {
        let Some(field) = self.field(scope) else {
            return Expr::integer("count(*)");
        };
        if self.dice.chance(60) {
            return self.exact_aggregate(scope);
        }
        self.tolerance.rounding = true;
        let function = *self.dice.pick(&["sum", "avg", "total"]);
        let argument = if field.content.sums_closely() {
            field.sql
        } else {
            tame(&field.sql)
        };
        let filter = self.filter(scope);
        Expr::new(format!("{function}({argument}){filter}"), Kind::Any, true)
    }

    /// An aggregate of one value in one form, so that anything may be computed from it. It refers to `scope` alone:
    /// an aggregate of outer columns would belong to the outer query.
    pub(super) fn nested_aggregate(&mut self, scope: &Scope<'_>) -> Expr {
        let scope = &Scope::of(scope);
        let before = self.tolerance;
        for _ in 0..4 {
            let aggregate = self.exact_aggregate(scope);
            if self.tolerance == before {
                return aggregate;
            }
            self.tolerance = before;
        }
        Expr::integer("count(*)")
    }

    /// An aggregate whose value does not depend on the order of the rows, but for its form: the answer tolerates
    /// another form of the smallest or greatest value.
    pub(super) fn exact_aggregate(&mut self, scope: &Scope<'_>) -> Expr {
        let filter = self.filter(scope);
        let Some(field) = self.field(scope) else {
            return Expr::integer(format!("count(*){filter}"));
        };
        let value = if self.dice.chance(70) {
            Expr::field(&field)
        } else {
            self.expr(scope, 1)
        };
        let sql = &value.sql;
        match self.dice.index(11) {
            0 | 1 => Expr::integer(format!("count(*){filter}")),
            2 => Expr::integer(format!("count({sql}){filter}")),
            3 => Expr::integer(format!("count(DISTINCT {sql}){filter}")),
            4..=7 => {
                self.tolerance.forms |= value.varied;
                let function = *self.dice.pick(&["min", "max"]);
                Expr::new(
                    format!("{function}({sql}){filter}"),
                    value.kind,
                    value.varied,
                )
            }
            8 => Expr::integer(format!("sum(length({sql})){filter}")),
            9 if field.content.sums_exactly() && field.content != Content::Bytes => {
                let distinct = if self.dice.chance(25) {
                    "DISTINCT "
                } else {
                    ""
                };
                let function = *self.dice.pick(&["sum", "total", "avg"]);
                Expr::new(
                    format!("{function}({distinct}{}){filter}", field.sql),
                    Kind::Any,
                    true,
                )
            }
            _ => self.concatenation(&value, &filter),
        }
    }

    /// group_concat and its kin, with an order that fixes the result.
    fn concatenation(&mut self, value: &Expr, filter: &str) -> Expr {
        let shown = format!("quote({})", value.sql);
        Expr::text(match self.dice.index(4) {
            0 => format!("group_concat({shown}, ';' ORDER BY {shown}){filter}"),
            1 => format!("group_concat({shown} ORDER BY {shown} DESC){filter}"),
            2 => format!("string_agg({shown}, '' ORDER BY {shown}){filter}"),
            _ => format!(
                "json_group_array(typeof({0}) ORDER BY typeof({0})){filter}",
                value.sql
            ),
        })
    }

    fn filter(&mut self, scope: &Scope<'_>) -> String {
        if self.dice.chance(12) {
            format!(" FILTER (WHERE {})", self.predicate(scope, 0))
        } else {
            String::new()
        }
    }
}

/// The values of `sql` whose sum neither overflows nor cancels out.
fn tame(sql: &str) -> String {
    format!(
        "CASE WHEN typeof({sql}) IN ('integer', 'real') AND {sql} BETWEEN 0 AND 1e6 THEN {sql} END"
    )
}
