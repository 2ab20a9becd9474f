//! Rows without an order.

use crate::{compare::line, statement::Tolerance, value::Value};
use std::{collections::BTreeMap, fmt};

/// How much of a REAL may be lost to rounding.
const ROUNDING: f64 = 1e-12;
/// How many rows of each side a text shows.
const SHOWN: usize = 3;

/// What two multisets of rows don't share.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Rows of the first that the second lacks.
    pub(super) missing: Vec<Vec<Value>>,
    /// Rows of the second that the first lacks.
    pub(super) surplus: Vec<Vec<Value>>,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, rows) in [("missing", &self.missing), ("surplus", &self.surplus)] {
            if !rows.is_empty() {
                writeln!(f, "  {} {what} rows", rows.len())?;
            }
            for row in rows.iter().take(SHOWN) {
                writeln!(f, "    {}", line(row))?;
            }
        }
        Ok(())
    }
}

/// The rows that one of the multisets has and the other lacks.
pub(super) fn difference(
    expected: &[Vec<Value>],
    actual: &[Vec<Value>],
    tolerance: Tolerance,
) -> Difference {
    let mut left: BTreeMap<Vec<Value>, Vec<&Vec<Value>>> = BTreeMap::new();
    for row in expected {
        left.entry(form(row, tolerance)).or_default().push(row);
    }
    let mut found = Difference::default();
    for row in actual {
        match left.get_mut(&form(row, tolerance)).and_then(Vec::pop) {
            Some(_) => {}
            None => found.surplus.push(row.clone()),
        }
    }
    found.missing = left.into_values().flatten().cloned().collect();
    if tolerance.rounding {
        found.surplus.retain(|row| {
            let near = found
                .missing
                .iter()
                .position(|other| same_row(other, row, tolerance));
            near.map(|index| found.missing.swap_remove(index)).is_none()
        });
    }
    found
}

/// Whether two rows are the same but for what `tolerance` allows.
pub(super) fn same_row(expected: &[Value], actual: &[Value], tolerance: Tolerance) -> bool {
    let expected = form(expected, tolerance);
    let actual = form(actual, tolerance);
    expected.len() == actual.len()
        && expected
            .iter()
            .zip(&actual)
            .all(|(a, b)| a == b || (tolerance.rounding && rounded_alike(a, b)))
}

fn form(row: &[Value], tolerance: Tolerance) -> Vec<Value> {
    if tolerance.forms {
        row.iter().map(Value::folded).collect()
    } else {
        row.to_vec()
    }
}

fn rounded_alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Real(a), Value::Real(b)) => (a - b).abs() <= ROUNDING * a.abs().max(b.abs()),
        _ => false,
    }
}
