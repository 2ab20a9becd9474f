//! Databases of the shapes that people have: a music shop, a wholesaler, a rental shop, and a collection of oddities.
//!
//! The schemas are written for these tests and the rows are generated; nothing is copied from a published database.

mod music;
mod oddities;
mod rental;
mod wholesale;

use crate::{
    dice::Dice,
    statement::{Sequence, Statement},
    value::Value,
};

/// A database as SQL text, and queries on it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What to call it.
    pub name: &'static str,
    /// CREATE statements of tables, indexes and views, in order.
    pub schema: Vec<String>,
    /// INSERT statements, in an order that foreign keys allow.
    pub rows: Vec<String>,
    /// CREATE TRIGGER statements, to run after the rows are in.
    pub triggers: Vec<String>,
    /// Queries that the owner of such a database would run.
    pub queries: Vec<Statement>,
}

impl Sample {
    /// All samples with rows from `seed`.
    pub fn all(seed: u64) -> Vec<Self> {
        vec![
            Self::music(seed),
            Self::wholesale(seed),
            Self::rental(seed),
            Self::oddities(seed),
        ]
    }

    /// A shop that sells music: composite keys, chains of foreign keys, money as NUMERIC.
    pub fn music(seed: u64) -> Self {
        music::build(&mut Dice::new(seed))
    }

    /// A wholesaler: text keys, names with spaces, views upon views, blobs, empty tables.
    pub fn wholesale(seed: u64) -> Self {
        wholesale::build(&mut Dice::new(seed))
    }

    /// A rental shop: triggers that keep `last_update`, views with aggregates, dates as text.
    pub fn rental(seed: u64) -> Self {
        rental::build(&mut Dice::new(seed))
    }

    /// What else SQLite allows: AUTOINCREMENT, WITHOUT ROWID, generated columns, partial and expression indexes, keys
    /// under NOCASE, names that must be quoted, tables without a key.
    pub fn oddities(seed: u64) -> Self {
        oddities::build(&mut Dice::new(seed))
    }

    /// The whole database as one script.
    pub fn script(&self) -> String {
        let all: Vec<&str> = self
            .schema
            .iter()
            .chain(&self.rows)
            .chain(&self.triggers)
            .map(String::as_str)
            .collect();
        format!("BEGIN;\n{};\nCOMMIT;", all.join(";\n"))
    }

    fn new(name: &'static str, schema: &[&str]) -> Self {
        Self {
            name,
            schema: schema.iter().map(|&sql| sql.to_owned()).collect(),
            rows: Vec::new(),
            triggers: Vec::new(),
            queries: Vec::new(),
        }
    }

    /// Adds the rows `row(1)` to `row(count)` to `table`, which is quoted already.
    fn fill(&mut self, table: &str, count: i64, mut row: impl FnMut(i64) -> Vec<Value>) {
        for number in 1..=count {
            let values: Vec<String> = row(number).iter().map(Value::literal).collect();
            self.rows.push(format!(
                "INSERT INTO {table} VALUES ({})",
                values.join(", ")
            ));
        }
    }

    /// Adds a query whose rows come in any order.
    fn ask(&mut self, sql: &str) {
        self.queries.push(Statement::query(sql));
    }

    /// Adds a query whose ORDER BY leaves no ties.
    fn ask_ordered(&mut self, sql: &str) {
        let mut statement = Statement::query(sql);
        statement.sequence = Sequence::Exact;
        statement.tolerance.rounding = true;
        self.queries.push(statement);
    }
}

fn int(value: i64) -> Value {
    Value::Integer(value)
}

fn text(value: impl Into<String>) -> Value {
    Value::text(value)
}

/// An amount of money in cents.
fn cents(value: i64) -> Value {
    Value::Real(value as f64 / 100.0)
}

/// `value`, or NULL in `percent` of 100 cases.
fn or_null(percent: u32, value: Value, dice: &mut Dice) -> Value {
    if dice.chance(percent) {
        Value::Null
    } else {
        value
    }
}

/// A date in `year` as text.
fn date(year: i64, dice: &mut Dice) -> Value {
    text(format!(
        "{year}-{:02}-{:02}",
        dice.between(1..=12),
        dice.between(1..=28)
    ))
}

/// A made-up name, the same for the same number.
fn name(number: i64) -> String {
    const FIRST: &[&str] = &["Ka", "Mi", "To", "Él", "Ru", "Sø", "An", "Bo"];
    const LAST: &[&str] = &["ra", "lin", "va", "ßen", "dor", "'Hara", "mi", "x"];
    let pick =
        |parts: &[&'static str], number: i64| parts[number.unsigned_abs() as usize % parts.len()];
    format!(
        "{}{} {number}",
        pick(FIRST, number),
        pick(LAST, number / 8 + number)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        answer::Database,
        oracle::{ForeignKeys, Oracle},
    };

    #[test]
    fn each_sample_keeps_its_foreign_keys_and_answers_its_queries() {
        for sample in Sample::all(1) {
            let mut oracle = Oracle::in_memory(ForeignKeys::Enforced).unwrap();
            let script = sample.script();
            oracle
                .script(&script)
                .unwrap_or_else(|failure| panic!("{}: {failure}", sample.name));
            let violations = oracle.execute("PRAGMA foreign_key_check", &[]).unwrap();
            assert_eq!(
                violations.rows.len(),
                0,
                "{}: {:?}",
                sample.name,
                violations.rows
            );
            let mut answered = 0;
            for query in &sample.queries {
                let answer = oracle.execute(&query.sql, &query.params);
                let answer = answer.unwrap_or_else(|failure| panic!("{query}: {failure}"));
                answered += usize::from(!answer.rows.is_empty());
            }
            assert!(
                answered * 10 >= sample.queries.len() * 8,
                "{}: {answered}",
                sample.name
            );
        }
    }
}
