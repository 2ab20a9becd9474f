//! Decides whether an answer is one that a single SQLite database may give.

mod multiset;

use crate::{
    answer::{Answer, Database, Failure, FailureKind},
    statement::{Sequence, Statement, Tolerance},
    value::Value,
};
use multiset::{Difference, difference};
use std::{fmt, ops::Range};

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is one that SQLite may give.
    Equal,
    /// Both databases call the statement wrong.
    Invalid,
    /// The database under test declined the statement, and said so.
    Refused(String),
    /// The statement costs too much to be judged.
    Exhausted,
    /// The answer is not one that SQLite may give; the text says how, with the statement.
    Wrong(String),
}

/// Judges what a database said to `statement`.
///
/// Runs the statement on `oracle`, except a write that was refused, so that both databases hold the same rows
/// afterwards if the verdict is not [`Verdict::Wrong`].
pub fn judge(
    oracle: &mut dyn Database,
    statement: &Statement,
    actual: &Result<Answer, Failure>,
) -> Verdict {
    if let Err(Failure {
        kind: FailureKind::Refused,
        message,
    }) = actual
    {
        return Verdict::Refused(message.clone());
    }
    let expected = oracle.execute(&statement.sql, &statement.params);
    let wrong = |what: &dyn fmt::Display| Verdict::Wrong(format!("{statement}\n{what}"));
    match (&expected, actual) {
        (Err(failure), _) | (_, Err(failure)) if failure.kind == FailureKind::Exhausted => {
            Verdict::Exhausted
        }
        (Err(expected), Err(actual)) if expected.kind == actual.kind => Verdict::Invalid,
        (Err(expected), Err(actual)) => wrong(&format!(
            "  SQLite fails with {expected}\n  the answer is   {actual}"
        )),
        (Err(expected), Ok(actual)) => wrong(&format!(
            "  SQLite fails with {expected}\n  the answer has {} rows",
            actual.rows.len()
        )),
        (Ok(expected), Err(actual)) => wrong(&format!(
            "  SQLite returns {} rows\n  the answer is {actual}",
            expected.rows.len()
        )),
        (Ok(expected), Ok(actual)) => match compare(oracle, statement, expected, actual) {
            Ok(()) => Verdict::Equal,
            Err(Mismatch::Probe(Failure {
                kind: FailureKind::Exhausted,
                ..
            })) => Verdict::Exhausted,
            Err(mismatch) => wrong(&mismatch),
        },
    }
}

fn compare(
    oracle: &mut dyn Database,
    statement: &Statement,
    expected: &Answer,
    actual: &Answer,
) -> Result<(), Mismatch> {
    if expected.columns != actual.columns {
        return Err(Mismatch::Columns(
            expected.columns.clone(),
            actual.columns.clone(),
        ));
    }
    if let (Some(expected), Some(actual)) = (expected.changes, actual.changes)
        && expected != actual
    {
        return Err(Mismatch::Changes(expected, actual));
    }
    if expected.rows.len() != actual.rows.len() {
        let found = difference(&expected.rows, &actual.rows, statement.tolerance);
        return Err(Mismatch::Count(
            expected.rows.len(),
            actual.rows.len(),
            found,
        ));
    }
    let tolerance = statement.tolerance;
    let mut probed = |probe: &str| {
        oracle
            .execute(probe, &statement.params)
            .map(|answer| answer.rows)
            .map_err(Mismatch::Probe)
    };
    match &statement.sequence {
        Sequence::Unordered => same_rows(&expected.rows, &actual.rows, tolerance),
        Sequence::Exact => same_sequence(&expected.rows, &actual.rows, tolerance),
        Sequence::Chosen { probe } => {
            let surplus = difference(&probed(probe)?, &actual.rows, tolerance).surplus;
            empty(Difference {
                missing: Vec::new(),
                surplus,
            })
        }
        Sequence::Ranked {
            probe,
            limit,
            offset,
        } => {
            let window = window(*limit, *offset);
            ranked(probed(probe)?, &actual.rows, window, tolerance)
        }
    }
}

fn window(limit: Option<u64>, offset: u64) -> Range<usize> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let length = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    start..start.saturating_add(length)
}

fn same_rows(
    expected: &[Vec<Value>],
    actual: &[Vec<Value>],
    tolerance: Tolerance,
) -> Result<(), Mismatch> {
    empty(difference(expected, actual, tolerance))
}

fn empty(found: Difference) -> Result<(), Mismatch> {
    if found.is_empty() {
        Ok(())
    } else {
        Err(Mismatch::Rows(found))
    }
}

fn same_sequence(
    expected: &[Vec<Value>],
    actual: &[Vec<Value>],
    tolerance: Tolerance,
) -> Result<(), Mismatch> {
    let pairs = expected.iter().zip(actual).enumerate();
    for (index, (expected, actual)) in pairs {
        if !multiset::same_row(expected, actual, tolerance) {
            return Err(Mismatch::Row(index, expected.clone(), actual.clone()));
        }
    }
    Ok(())
}

/// Compares `actual` with the `window` of rows that carry their rank in a last column.
fn ranked(
    mut rows: Vec<Vec<Value>>,
    actual: &[Vec<Value>],
    window: Range<usize>,
    tolerance: Tolerance,
) -> Result<(), Mismatch> {
    let mut ranks: Vec<Value> = rows.iter_mut().filter_map(Vec::pop).collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&index| match ranks[index] {
        Value::Integer(rank) => rank,
        _ => i64::MAX,
    });
    rows = order
        .iter()
        .map(|&index| std::mem::take(&mut rows[index]))
        .collect();
    ranks = order.iter().map(|&index| ranks[index].clone()).collect();

    let mut from = 0;
    for ties in ranks.chunk_by(|a, b| a == b) {
        let to = from + ties.len();
        let kept = from.clamp(window.start, window.end)..to.clamp(window.start, window.end);
        let part = kept.start - window.start..kept.end - window.start;
        let Some(part) = actual.get(part.clone()) else {
            return Err(Mismatch::Count(
                part.end,
                actual.len(),
                Difference::default(),
            ));
        };
        let mut found = difference(&rows[from..to], part, tolerance);
        if part.len() < ties.len() {
            found.missing.clear();
        }
        empty(found)?;
        from = to;
    }
    Ok(())
}

/// How an answer differs.
#[derive(Debug)]
enum Mismatch {
    Columns(Vec<String>, Vec<String>),
    Changes(u64, u64),
    Count(usize, usize, Difference),
    Rows(Difference),
    Row(usize, Vec<Value>, Vec<Value>),
    Probe(Failure),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns(expected, actual) => {
                write!(
                    f,
                    "  SQLite names the columns {expected:?}\n  the answer names them   {actual:?}"
                )
            }
            Self::Changes(expected, actual) => {
                write!(
                    f,
                    "  SQLite changes {expected} rows, the answer says {actual}"
                )
            }
            Self::Count(expected, actual, found) => {
                write!(
                    f,
                    "  SQLite returns {expected} rows, the answer has {actual}\n{found}"
                )
            }
            Self::Rows(found) => found.fmt(f),
            Self::Row(index, expected, actual) => {
                write!(
                    f,
                    "  row {index} should be {}\n  and is {}",
                    line(expected),
                    line(actual)
                )
            }
            Self::Probe(failure) => write!(f, "  the probe for the order fails: {failure}"),
        }
    }
}

fn line(row: &[Value]) -> String {
    let values: Vec<String> = row.iter().map(Value::literal).collect();
    format!("({})", values.join(", "))
}

#[cfg(test)]
mod tests;
