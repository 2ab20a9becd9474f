//! Plays a script on a database, and says of each record what became of it.

use std::{
    any::Any,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::{Deserialize, Serialize};
use shardwright_sql::statement::{StatementKind, kind_by_first_word, split};
use shardwright_testkit::{Answer, Database, Failure, FailureKind};

use super::{
    rendering::{Renderer, Style, hash_line, is_hash_line, sorted},
    script::{Expectation, Query, Record, Script, SortMode, Task},
};

/// How many lines of an answer a message shows.
const SHOWN: usize = 12;

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The number of the record's first line, from 1.
    pub line: usize,
    /// The text of its statement.
    pub sql: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How a record went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// As the script expects.
    Passed,
    /// Otherwise.
    Wrong {
        /// What is expected, and what was found.
        message: String,
    },
    /// The database declined by a rule of its own what SQLite accepts.
    Refused {
        /// The code of the rule.
        code: String,
        /// Whether it is a statement that reads.
        is_select: bool,
        /// What the database says.
        message: String,
    },
    /// The database panicked.
    Crashed {
        /// What the panic says.
        message: String,
    },
}

/// Plays `script` on `tested`. `oracle` is a SQLite database with the same rows, empty at the beginning as `tested` is. Each record is
/// told to `begin` by its line, and then to `judge`.
///
/// A query without ORDER BY has no order; if its values are those of SQLite in another order, that is no fault.
///
/// # Errors
/// When the values cannot be written as lines, which is a fault of SQLite's.
pub fn run(
    script: &Script,
    tested: &mut dyn Database,
    oracle: &mut dyn Database,
    begin: &mut dyn FnMut(usize),
    judge: &mut dyn FnMut(Judged),
) -> rusqlite::Result<()> {
    let mut player = Player {
        tested,
        oracle,
        renderer: Renderer::new()?,
        labels: HashMap::new(),
    };
    for record in &script.records {
        begin(record.line);
        judge(player.play(record)?);
    }
    Ok(())
}

struct Player<'d> {
    tested: &'d mut dyn Database,
    oracle: &'d mut dyn Database,
    renderer: Renderer,
    /// The hash of the values of each label.
    labels: HashMap<String, String>,
}

impl Player<'_> {
    fn play(&mut self, record: &Record) -> rusqlite::Result<Judged> {
        let (sql, outcome) = match &record.task {
            Task::Statement { sql, expected } => (sql, self.statement(sql, *expected)),
            Task::Query(query) => (&query.sql, self.query(query)?),
        };
        Ok(Judged {
            line: record.line,
            sql: sql.clone(),
            outcome,
        })
    }

    fn statement(&mut self, sql: &str, expected: Expectation) -> Outcome {
        let parts = split(sql);
        let run = |database: &mut dyn Database| {
            let mut parts = parts.iter();
            parts.try_for_each(|part| database.execute(part, &[]).map(drop))
        };
        let ran = catch_unwind(AssertUnwindSafe(|| run(self.tested)));
        let accepted = run(self.oracle);
        match (ran, expected) {
            (Err(panic), _) => crashed(&*panic),
            (Ok(Ok(())), Expectation::Success) | (Ok(Err(_)), Expectation::Failure) => {
                Outcome::Passed
            }
            (Ok(Ok(())), Expectation::Failure) => wrong(format!(
                "it succeeds, and should fail; {}",
                oracle_says(&accepted)
            )),
            (Ok(Err(failure)), Expectation::Success) => failed(sql, &failure, &accepted),
        }
    }

    fn query(&mut self, query: &Query) -> rusqlite::Result<Outcome> {
        let ran = catch_unwind(AssertUnwindSafe(|| self.tested.execute(&query.sql, &[])));
        if kind_by_first_word(&query.sql) != StatementKind::Read {
            // What it changes has to change in both. Nothing else is asked for the answer.
            let accepted = self.oracle.execute(&query.sql, &[]);
            if let Ok(Err(failure)) = &ran {
                return Ok(failed(&query.sql, failure, &accepted.map(drop)));
            }
        }
        match ran {
            Err(panic) => Ok(crashed(&*panic)),
            Ok(Err(failure)) => {
                let accepted = self.oracle.execute(&query.sql, &[]).map(drop);
                Ok(failed(&query.sql, &failure, &accepted))
            }
            Ok(Ok(answer)) => self.answered(query, &answer),
        }
    }

    fn answered(&mut self, query: &Query, answer: &Answer) -> rusqlite::Result<Outcome> {
        if answer.columns.len() != query.types.len() {
            let (stated, found) = (query.types.len(), answer.columns.len());
            return Ok(wrong(format!(
                "{stated} columns are stated, and {found} found"
            )));
        }
        let values = self.values(query, answer, Style::Now)?;
        if let Some(expected) = &query.expected
            && !agrees(expected, &values)
            && !agrees(expected, &self.values(query, answer, Style::Classic)?)
            && !self.is_other_order(query, expected, answer)?
        {
            return Ok(wrong(difference(expected, &values)));
        }
        Ok(self.labelled(query, &values))
    }

    fn values(
        &self,
        query: &Query,
        answer: &Answer,
        style: Style,
    ) -> rusqlite::Result<Vec<String>> {
        let rows = self.renderer.rows(&query.types, &answer.rows, style)?;
        Ok(sorted(rows, query.sort))
    }

    /// Whether a query that states no order has the rows that SQLite returns, as the script has them, in another order.
    fn is_other_order(
        &mut self,
        query: &Query,
        expected: &[String],
        answer: &Answer,
    ) -> rusqlite::Result<bool> {
        let reads = kind_by_first_word(&query.sql) == StatementKind::Read;
        if query.sort != SortMode::AsTheyCome || !reads || states_order(&query.sql) {
            return Ok(false);
        }
        let Ok(plain) = self.oracle.execute(&query.sql, &[]) else {
            return Ok(false);
        };
        let rows = |answer: &Answer| self.renderer.rows(&query.types, &answer.rows, Style::Now);
        let (ours, plain) = (rows(answer)?, rows(&plain)?);
        let is_expected = agrees(expected, &sorted(plain.clone(), SortMode::AsTheyCome));
        Ok(is_expected && sorted(ours, SortMode::Rows) == sorted(plain, SortMode::Rows))
    }

    /// Queries of one label have equal values.
    fn labelled(&mut self, query: &Query, values: &[String]) -> Outcome {
        let Some(label) = &query.label else {
            return Outcome::Passed;
        };
        let hash = hash_line(values);
        let first = self
            .labels
            .entry(label.clone())
            .or_insert_with(|| hash.clone());
        if *first == hash {
            return Outcome::Passed;
        }
        wrong(format!(
            "the label {label} had other values: {first}, and now {hash}"
        ))
    }
}

/// Whether the text has an ORDER BY, wherever that stands.
fn states_order(sql: &str) -> bool {
    let words: Vec<String> = sql
        .split_whitespace()
        .map(str::to_ascii_uppercase)
        .collect();
    let mut pairs = words.windows(2);
    pairs.any(|pair| pair[0].ends_with("ORDER") && pair[1].starts_with("BY"))
}

fn agrees(expected: &[String], values: &[String]) -> bool {
    match expected {
        [line] if is_hash_line(line) => *line == hash_line(values),
        lines => {
            let mut pairs = lines.iter().zip(values);
            lines.len() == values.len() && pairs.all(|(line, value)| line == value.trim_end())
        }
    }
}

fn failed(sql: &str, failure: &Failure, accepted: &Result<(), Failure>) -> Outcome {
    let is_accepted = match accepted {
        Ok(()) => true,
        // It costs too much to be tried, which says nothing against it.
        Err(failure) => failure.kind == FailureKind::Exhausted,
    };
    if failure.kind == FailureKind::Refused && is_accepted {
        let code = failure.message.split(':').next().unwrap_or_default();
        return Outcome::Refused {
            code: code.to_owned(),
            is_select: kind_by_first_word(sql) == StatementKind::Read,
            message: failure.message.clone(),
        };
    }
    wrong(format!(
        "it fails: {}; {}",
        failure.message,
        oracle_says(accepted)
    ))
}

fn oracle_says(accepted: &Result<(), Failure>) -> String {
    match accepted {
        Ok(()) => "SQLite accepts it".to_owned(),
        Err(failure) => format!("SQLite fails: {}", failure.message),
    }
}

fn wrong(message: String) -> Outcome {
    Outcome::Wrong { message }
}

fn crashed(panic: &(dyn Any + Send)) -> Outcome {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    Outcome::Crashed {
        message: text.unwrap_or("a panic without a text").to_owned(),
    }
}

fn difference(expected: &[String], values: &[String]) -> String {
    let found = match expected {
        [line] if is_hash_line(line) => vec![hash_line(values)],
        _ => values.to_vec(),
    };
    let shown = |lines: &[String]| {
        let first: Vec<&str> = lines.iter().take(SHOWN).map(String::as_str).collect();
        let more = lines.len().saturating_sub(SHOWN);
        let rest = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("[{}]{rest}", first.join(" | "))
    };
    format!("expected {}\n  found    {}", shown(expected), shown(&found))
}

#[cfg(test)]
mod tests;
