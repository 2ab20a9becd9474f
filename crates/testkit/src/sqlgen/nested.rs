//! Queries in FROM, in WITH and behind views.

use crate::sqlgen::{
    composer::{Composer, Expr},
    name::ident,
    scope::{Field, Kind, Scope, Source},
};

impl Composer<'_> {
    /// A SELECT for FROM, and its columns as fields named after `prefix`. Its rows have one form whatever the plan.
    pub(super) fn nested_select(&mut self, prefix: &str) -> (String, Vec<Field>) {
        let mut scope = Scope::inside(None);
        let from = self.sources(&mut scope).join("");
        let filter = if self.dice.chance(50) {
            format!(" WHERE {}", self.predicate(&scope, 1))
        } else {
            String::new()
        };
        match self.dice.weighted(&[(50, 0), (20, 1), (15, 2), (15, 3)]) {
            0 => {
                let count = self.dice.count(1..=3);
                let columns: Vec<Expr> = (0..count).map(|_| self.expr(&scope, 1)).collect();
                let fields = fields(prefix, &columns);
                (
                    format!("SELECT {} FROM {from}{filter}", list(&columns, &fields)),
                    fields,
                )
            }
            1 => {
                let columns = [self.steady(&scope, 1), self.steady(&scope, 0)];
                let fields = fields(prefix, &columns);
                (
                    format!(
                        "SELECT DISTINCT {} FROM {from}{filter}",
                        list(&columns, &fields)
                    ),
                    fields,
                )
            }
            2 => {
                let group = self.grouping(&scope);
                let columns = [group.clone(), self.nested_aggregate(&scope)];
                let fields = fields(prefix, &columns);
                let list = list(&columns, &fields);
                (
                    format!("SELECT {list} FROM {from}{filter} GROUP BY {}", group.sql),
                    fields,
                )
            }
            _ => {
                let kind = *self.dice.pick(&[Kind::Integer, Kind::Text]);
                let left = [self.of_kind(&scope, kind)];
                let operator = *self
                    .dice
                    .pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
                let fields = fields(prefix, &left);
                let list = list(&left, &fields);
                let mut other = Scope::inside(None);
                let second = self.single_source(&mut other);
                let right = self.of_kind(&other, kind).sql;
                (
                    format!(
                        "SELECT {list} FROM {from}{filter} {operator} SELECT {right} FROM {second}"
                    ),
                    fields,
                )
            }
        }
    }

    /// A common table expression, complete, which later parts of the statement may name.
    pub(super) fn common_table(&mut self) -> (String, bool) {
        let name = self.alias("cte");
        if self.dice.chance(30) {
            return (self.recursive_table(&name), true);
        }
        let hint = *self
            .dice
            .pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
        let (select, fields) = self.nested_select(&name);
        self.tables.push((
            name.clone(),
            Source {
                fields,
                key: Vec::new(),
            },
        ));
        (format!("{name} AS {hint}({select})"), false)
    }

    fn recursive_table(&mut self, name: &str) -> String {
        let numbers = vec![Field::computed("n", Kind::Integer, false)];
        let own = self
            .schema
            .tables
            .iter()
            .enumerate()
            .find_map(|(index, table)| {
                let key = table.foreign_keys.iter().find(|key| key.parent == index)?;
                (key.columns.len() == 1).then_some((table, key.columns[0]))
            });
        let Some((table, parent)) = own.filter(|_| self.dice.chance(70)) else {
            let last = self.dice.between(1..=9);
            self.tables.push((
                name.to_owned(),
                Source {
                    fields: numbers,
                    key: Vec::new(),
                },
            ));
            let union = *self.dice.pick(&["UNION", "UNION ALL"]);
            return format!(
                "{name}(n) AS (SELECT 1 {union} SELECT n + 1 FROM {name} WHERE n < {last})"
            );
        };
        let key = &table.columns[table.key_columns()[0]];
        let mut fields = vec![Field::computed("k", Kind::Any, key.is_varied())];
        fields.extend(numbers);
        self.tables.push((
            name.to_owned(),
            Source {
                fields,
                key: Vec::new(),
            },
        ));
        let (key, parent) = (ident(&key.name), ident(&table.columns[parent].name));
        let table = ident(&table.name);
        format!(
            "{name}(k, n) AS (SELECT {key}, 0 FROM {table} WHERE {parent} IS NULL \
             UNION ALL SELECT child.{key}, {name}.n + 1 FROM {table} AS child JOIN {name} \
             ON child.{parent} = {name}.k WHERE {name}.n < 4)"
        )
    }

    /// A steady expression over a field, fit for GROUP BY and ORDER BY: it cannot be taken for a position.
    pub(super) fn grouping(&mut self, scope: &Scope<'_>) -> Expr {
        for _ in 0..4 {
            let expr = self.steady(scope, 1);
            if names_a_field(&expr, scope) {
                return expr;
            }
        }
        let field = (*self.dice.pick(&scope.fields())).clone();
        if field.varied {
            Expr::text(format!("quote({})", field.sql))
        } else {
            Expr::field(&field)
        }
    }
}

/// Whether `expr` refers to a row of `scope`, so that it is no constant.
pub(super) fn names_a_field(expr: &Expr, scope: &Scope<'_>) -> bool {
    scope
        .fields()
        .iter()
        .any(|field| expr.sql.contains(&field.sql))
}

fn fields(prefix: &str, columns: &[Expr]) -> Vec<Field> {
    let named = |(index, expr): (usize, &Expr)| {
        Field::computed(&format!("{prefix}_{index}"), expr.kind, expr.varied)
    };
    columns.iter().enumerate().map(named).collect()
}

fn list(columns: &[Expr], fields: &[Field]) -> String {
    let shown = columns
        .iter()
        .zip(fields)
        .map(|(expr, field)| format!("{} AS {}", expr.sql, field.sql));
    shown.collect::<Vec<_>>().join(", ")
}
