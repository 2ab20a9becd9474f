//! Window functions, each over an order that leaves nothing open.

use crate::sqlgen::{
    composer::{Composer, Expr},
    scope::{Kind, Scope},
};

const FRAMES: &[&str] = &[
    "",
    "",
    " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    " RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
    " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
    " ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW",
];

impl Composer<'_> {
    /// A window function over the rows of `scope`, which must have a key; else one that ignores ties.
    pub(super) fn window(&mut self, scope: &Scope<'_>, windows: &mut Vec<String>) -> Expr {
        let partition = if self.dice.chance(60) {
            format!("PARTITION BY {} ", self.expr(scope, 1).sql)
        } else {
            String::new()
        };
        let direction = *self.dice.pick(&["", " DESC", " NULLS LAST"]);
        let first = format!("{}{direction}", self.expr(scope, 1).sql);
        let Some(key) = scope.row_key() else {
            let function =
                *self
                    .dice
                    .pick(&["rank()", "dense_rank()", "count(*)", "percent_rank()"]);
            let over = format!("{partition}ORDER BY {first}");
            return Expr::integer(format!("{function} OVER ({over})"));
        };
        let order = format!("ORDER BY {first}, {}", key.join(", "));
        let (function, result) = self.window_function(scope);
        let frame = if result.is_some() {
            *self.dice.pick(FRAMES)
        } else {
            ""
        };
        let definition = format!("{partition}{order}{frame}");
        let expr = |over: &str| match &result {
            Some(value) => Expr::new(format!("{function} OVER {over}"), value.kind, value.varied),
            None => Expr::integer(format!("{function} OVER {over}")),
        };
        if self.dice.chance(25) {
            let name = self.alias("w");
            windows.push(format!("{name} AS ({definition})"));
            expr(&name)
        } else {
            expr(&format!("({definition})"))
        }
    }

    /// The call, and what its values are like if it looks at a frame.
    fn window_function(&mut self, scope: &Scope<'_>) -> (String, Option<Expr>) {
        let value = self.leaf(scope);
        let sql = value.sql.clone();
        let any = Expr::new("", Kind::Any, true);
        match self.dice.index(11) {
            0 => ("row_number()".to_owned(), None),
            1 => ("rank()".to_owned(), None),
            2 => ("ntile(3)".to_owned(), None),
            3 => (format!("lag({sql}) "), Some(any)),
            4 => (format!("lead({sql}, 2, 'none')"), Some(any)),
            5 => (format!("first_value({sql})"), Some(value)),
            6 => (format!("last_value({sql})"), Some(value)),
            7 => (format!("nth_value({sql}, 2)"), Some(value)),
            8 => (
                format!("group_concat(quote({sql}), '/')"),
                Some(Expr::text("")),
            ),
            9 => (format!("sum(length({sql}))"), Some(Expr::integer(""))),
            _ => {
                self.tolerance.forms |= value.varied;
                (format!("max({sql})"), Some(any))
            }
        }
    }
}
