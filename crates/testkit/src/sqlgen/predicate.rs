//! Conditions for WHERE, ON, HAVING, FILTER and CASE.

use crate::sqlgen::{
    composer::Composer,
    scope::{Field, Scope},
};

const COMPARISONS: &[&str] = &[
    "=",
    "=",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "IS",
    "IS NOT",
    "IS NOT DISTINCT FROM",
    "==",
];
const PATTERNS: &[&str] = &["a%", "%a", "%A_%", "_", "%", "be%", "1%", "%1"];
const GLOBS: &[&str] = &["a*", "*a", "[A-B]*", "?", "*", "be*", "1*"];

impl Composer<'_> {
    /// A condition over `scope`.
    pub(super) fn predicate(&mut self, scope: &Scope<'_>, depth: usize) -> String {
        if depth > 0 {
            match self.dice.index(12) {
                0 => return self.connective(scope, depth - 1, "AND"),
                1 => return self.connective(scope, depth - 1, "OR"),
                2 => return format!("NOT ({})", self.predicate(scope, depth - 1)),
                3 => {
                    if let Some(predicate) = self.subquery_predicate(scope) {
                        return predicate;
                    }
                }
                4 => return self.expressions(scope, depth - 1),
                _ => {}
            }
        }
        if let Some(field) = self.field(scope) {
            return self.about_field(scope, &field);
        }
        let (a, b) = (self.leaf(scope).sql, self.leaf(scope).sql);
        format!("{a} <= {b}")
    }

    /// Equality or IN on the whole key of one of the sources, as an application asks for its rows.
    pub(super) fn key_predicate(&mut self, scope: &Scope<'_>) -> Option<String> {
        let keyed: Vec<usize> = (0..scope.sources.len())
            .filter(|&at| !scope.sources[at].key.is_empty())
            .collect();
        if keyed.is_empty() {
            return None;
        }
        let source = &scope.sources[*self.dice.pick(&keyed)];
        let whole = self.dice.chance(75);
        let key = if whole {
            &source.key[..]
        } else {
            &source.key[..1]
        };
        let row = source.fields[key[0]].samples.len();
        let row = (row > 0).then(|| self.dice.index(row));
        let many = self.dice.chance(25);
        let mut terms = Vec::new();
        for &at in key {
            let field = &source.fields[at];
            let value = match row.and_then(|row| field.samples.get(row)) {
                Some(value) if self.dice.chance(90) => value.clone(),
                _ => self.sample(field),
            };
            let constant = self.constant(value);
            terms.push(if many {
                let other = self.sample(field);
                format!("{} IN ({constant}, {})", field.sql, self.constant(other))
            } else {
                self.equality(&field.sql, &constant)
            });
        }
        Some(terms.join(" AND "))
    }

    /// One of the ways to say that a key is a constant, or nearly so: conversions and collations may change the rows
    /// that are meant.
    fn equality(&mut self, field: &str, constant: &str) -> String {
        match self.dice.index(22) {
            0..=2 => format!("{constant} = {field}"),
            3 => format!("{field} IS {constant}"),
            4 => format!("{field} = CAST({constant} AS INTEGER)"),
            5 => format!("{field} = CAST({constant} AS TEXT)"),
            6 => format!("{constant} COLLATE NOCASE = {field}"),
            7 => format!("{field} = {constant} COLLATE RTRIM"),
            8 => format!("+{field} = {constant}"),
            9 => format!("({field}, 1) = ({constant}, 1)"),
            10 => format!("{constant} IN ({field}, 3)"),
            11 => format!("({field} = {constant} OR {field} = 7)"),
            12 => format!("({field} = {constant} OR 0)"),
            13 => format!("{field} BETWEEN {constant} AND {constant}"),
            14 => format!("{field} IN (SELECT {constant})"),
            _ => format!("{field} = {constant}"),
        }
    }

    fn connective(&mut self, scope: &Scope<'_>, depth: usize, word: &str) -> String {
        let (a, b) = (self.predicate(scope, depth), self.predicate(scope, depth));
        format!("({a} {word} {b})")
    }

    fn expressions(&mut self, scope: &Scope<'_>, depth: usize) -> String {
        let (a, b) = (self.expr(scope, depth).sql, self.expr(scope, depth).sql);
        let comparison = *self.dice.pick(COMPARISONS);
        match self.dice.index(5) {
            0 => format!("{a} COLLATE NOCASE {comparison} {b}"),
            1 => format!("({a}, {b}) < ({b}, {a})"),
            2 => format!("({a}, {b}) = ({b}, {a})"),
            _ => format!("{a} {comparison} {b}"),
        }
    }

    fn about_field(&mut self, scope: &Scope<'_>, field: &Field) -> String {
        let sql = &field.sql;
        let comparison = *self.dice.pick(COMPARISONS);
        match self.dice.weighted(&[
            (34, 0),
            (14, 1),
            (12, 2),
            (9, 3),
            (8, 4),
            (5, 5),
            (10, 6),
            (8, 7),
        ]) {
            0 => format!("{sql} {comparison} {}", self.sampled(field)),
            1 => {
                let count = self.dice.count(0..=4);
                let values: Vec<String> = (0..count).map(|_| self.sampled(field)).collect();
                let not = if self.dice.chance(25) { "NOT " } else { "" };
                format!("{sql} {not}IN ({})", values.join(", "))
            }
            2 => {
                let (low, high) = (self.sampled(field), self.sampled(field));
                format!("{sql} BETWEEN {low} AND {high}")
            }
            3 => format!("{sql} LIKE '{}'", self.dice.pick(PATTERNS)),
            4 => {
                let test = *self
                    .dice
                    .pick(&["IS NULL", "IS NOT NULL", "ISNULL", "NOTNULL"]);
                format!("{sql} {test}")
            }
            5 => format!("{sql} GLOB '{}'", self.dice.pick(GLOBS)),
            6 => format!("{sql} {comparison} {}", self.leaf(scope).sql),
            _ => {
                let collation = *self.dice.pick(&["NOCASE", "RTRIM", "BINARY"]);
                format!(
                    "{sql} COLLATE {collation} {comparison} {}",
                    self.sampled(field)
                )
            }
        }
    }

    fn sampled(&mut self, field: &Field) -> String {
        let value = self.sample(field);
        self.constant(value)
    }
}
