//! Scalar expressions. None of them can fail while it runs, because how often SQLite evaluates an expression depends
//! on its plan.

use crate::{
    sqlgen::{
        composer::{Composer, Expr},
        content::Content,
        scope::{Kind, Scope},
    },
    value::Value,
};

impl Composer<'_> {
    /// An expression over `scope`, nested up to `depth`.
    pub(super) fn expr(&mut self, scope: &Scope<'_>, depth: usize) -> Expr {
        if depth == 0 {
            return self.leaf(scope);
        }
        match self.dice.weighted(&[
            (45, 0),
            (12, 1),
            (14, 2),
            (8, 3),
            (6, 4),
            (7, 5),
            (5, 6),
            (3, 7),
        ]) {
            0 => self.leaf(scope),
            1 => self.arithmetic(scope, depth - 1),
            2 => self.function(scope, depth - 1),
            3 => self.conditional(scope, depth - 1),
            4 => self.cast(scope, depth - 1),
            5 => Expr::integer(format!("({})", self.predicate(scope, depth - 1))),
            6 => self
                .scalar_subquery(scope)
                .unwrap_or_else(|| self.leaf(scope)),
            _ => self.date(scope),
        }
    }

    /// An expression whose equal values look the same, so that DISTINCT and the like leave nothing open.
    pub(super) fn steady(&mut self, scope: &Scope<'_>, depth: usize) -> Expr {
        for _ in 0..4 {
            let expr = self.expr(scope, depth);
            if !expr.varied {
                return expr;
            }
        }
        let expr = self.leaf(scope);
        if expr.varied {
            Expr::text(format!("quote({})", expr.sql))
        } else {
            expr
        }
    }

    /// A steady expression of one kind, for columns that several queries must fill alike.
    pub(super) fn of_kind(&mut self, scope: &Scope<'_>, kind: Kind) -> Expr {
        for _ in 0..4 {
            let expr = self.expr(scope, 1);
            if expr.kind == kind && !expr.varied {
                return expr;
            }
        }
        let expr = self.leaf(scope);
        match kind {
            Kind::Integer => Expr::integer(format!("length({})", expr.sql)),
            Kind::Text | Kind::Any => Expr::text(format!("quote({})", expr.sql)),
        }
    }

    /// A field, or a constant now and then.
    pub(super) fn leaf(&mut self, scope: &Scope<'_>) -> Expr {
        if self.dice.chance(85)
            && let Some(field) = self.field(scope)
        {
            return Expr::field(&field);
        }
        if self.dice.chance(3) {
            return Expr::text("\"no such column\"");
        }
        let content = *self.dice.pick(&[
            Content::SmallInt,
            Content::Dyadic,
            Content::Word,
            Content::Mixed,
            Content::Bytes,
        ]);
        let value = if self.dice.chance(6) {
            Value::Null
        } else {
            content.value(self.dice)
        };
        let kind = match value {
            Value::Integer(_) => Kind::Integer,
            Value::Text(_) => Kind::Text,
            Value::Null | Value::Real(_) | Value::Blob(_) => Kind::Any,
        };
        Expr::new(self.constant(value), kind, false)
    }

    fn arithmetic(&mut self, scope: &Scope<'_>, depth: usize) -> Expr {
        let left = self.expr(scope, depth);
        let right = self.expr(scope, depth);
        let operator = *self
            .dice
            .pick(&["+", "-", "*", "/", "%", "&", "|", "<<", ">>"]);
        let bits = matches!(operator, "&" | "|" | "<<" | ">>");
        let integers = left.kind == Kind::Integer && right.kind == Kind::Integer;
        let sql = format!("({} {operator} {})", left.sql, right.sql);
        if bits || integers {
            Expr::integer(sql)
        } else {
            Expr::new(sql, Kind::Any, true)
        }
    }

    fn function(&mut self, scope: &Scope<'_>, depth: usize) -> Expr {
        let a = self.expr(scope, depth);
        let varied = a.varied;
        let sql = a.sql;
        match self.dice.index(22) {
            0 => Expr::text(format!("upper({sql})")),
            1 => Expr::text(format!("lower({sql})")),
            2 => Expr::integer(format!("length({sql})")),
            3 => Expr::text(format!("typeof({sql})")),
            4 => Expr::text(format!("hex({sql})")),
            5 => Expr::text(format!("quote({sql})")),
            6 => Expr::new(
                format!("substr({sql}, 1, {})", self.dice.between(0..=3)),
                Kind::Any,
                false,
            ),
            7 => Expr::new(format!("trim({sql})"), Kind::Text, false),
            8 => Expr::text(format!("replace({sql}, 'a', 'bb')")),
            9 => Expr::integer(format!("instr({sql}, 'a')")),
            10 => Expr::text(format!("printf('%s|%d', {sql}, 7)")),
            11 => Expr::text(format!("json_array(typeof({sql}), length({sql}))")),
            12 => Expr::text(format!("json_extract(json_object('k', hex({sql})), '$.k')")),
            13 => Expr::integer(format!("unicode({sql})")),
            14 => Expr::new(format!("round({sql}, 1)"), Kind::Any, true),
            15 => Expr::new(format!("+{sql}"), Kind::Any, true),
            16 => Expr::new(format!("likely({sql})"), Kind::Any, varied),
            17 => Expr::integer(format!("sign({sql})")),
            18 => Expr::integer(format!("~{sql}")),
            _ => self.of_two(scope, &sql, depth),
        }
    }

    fn of_two(&mut self, scope: &Scope<'_>, a: &str, depth: usize) -> Expr {
        let b = self.expr(scope, depth).sql;
        match self.dice.index(7) {
            0 => Expr::text(format!("({a} || {b})")),
            1 => Expr::new(format!("coalesce({a}, {b})"), Kind::Any, true),
            2 => Expr::new(format!("ifnull({a}, {b})"), Kind::Any, true),
            3 => Expr::new(format!("nullif({a}, {b})"), Kind::Any, true),
            4 => Expr::new(format!("max({a}, {b})"), Kind::Any, true),
            5 => Expr::new(format!("min({a}, {b})"), Kind::Any, true),
            _ => Expr::text(format!("concat_ws('-', {a}, {b})")),
        }
    }

    fn conditional(&mut self, scope: &Scope<'_>, depth: usize) -> Expr {
        let (a, b) = (self.expr(scope, depth), self.expr(scope, depth));
        let alike = a.kind == b.kind && a.kind != Kind::Any && !a.varied && !b.varied;
        let (kind, varied) = if alike {
            (a.kind, false)
        } else {
            (Kind::Any, true)
        };
        let sql = match self.dice.index(3) {
            0 => {
                let condition = self.predicate(scope, depth);
                format!("CASE WHEN {condition} THEN {} ELSE {} END", a.sql, b.sql)
            }
            1 => {
                let base = self.leaf(scope).sql;
                let when = self.leaf(scope).sql;
                format!(
                    "CASE {base} WHEN {when} THEN {} WHEN 1 THEN {} END",
                    a.sql, b.sql
                )
            }
            _ => format!("iif({}, {}, {})", self.predicate(scope, 0), a.sql, b.sql),
        };
        Expr::new(sql, kind, varied)
    }

    fn cast(&mut self, scope: &Scope<'_>, depth: usize) -> Expr {
        let Expr { sql, varied, .. } = self.expr(scope, depth);
        match self.dice.index(5) {
            0 => Expr::integer(format!("CAST({sql} AS INTEGER)")),
            // CAST keeps the collation of a column.
            1 => Expr::new(format!("CAST({sql} AS TEXT)"), Kind::Text, varied),
            2 => Expr::new(format!("CAST({sql} AS REAL)"), Kind::Any, true),
            3 => Expr::new(format!("CAST({sql} AS NUMERIC)"), Kind::Any, true),
            _ => Expr::new(format!("CAST({sql} AS BLOB)"), Kind::Any, false),
        }
    }

    fn date(&mut self, scope: &Scope<'_>) -> Expr {
        let sql = self.leaf(scope).sql;
        let days = self.dice.between(-40..=40);
        match self.dice.index(3) {
            0 => Expr::text(format!(
                "strftime('%Y-%m', date('2024-02-28', '{days} days'))"
            )),
            1 => Expr::text(format!("date(substr({sql}, 1, 10), '{days} days')")),
            _ => Expr::integer(format!("unixepoch('2024-01-01', '{days} days')")),
        }
    }
}
