//! When an answer equals that of one SQLite file.

use shardwright_sql::Value;

use crate::output::Sheet;

/// Sums of reals depend on the order of the additions in their last bits.
const RELATIVE_ERROR_MAX: f64 = 1e-12;

/// Whether the columns and the rows are the same, in the same order. The demo's questions all have
/// a total order, so the sequence of their rows is determined.
pub(crate) fn equal(ours: &Sheet, theirs: &Sheet) -> bool {
    ours.columns == theirs.columns
        && ours.rows.len() == theirs.rows.len()
        && ours.rows.iter().zip(&theirs.rows).all(|(ours, theirs)| {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(same_value)
        })
}

fn same_value((ours, theirs): (&Value, &Value)) -> bool {
    match (ours, theirs) {
        (Value::Real(ours), Value::Real(theirs)) => {
            let scale = ours.abs().max(theirs.abs());
            ours == theirs || (ours - theirs).abs() <= scale * RELATIVE_ERROR_MAX
        }
        (ours, theirs) => ours == theirs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(values: &[Value]) -> Sheet {
        let rows = values.iter().map(|value| vec![value.clone()]).collect();
        Sheet {
            rows,
            ..Sheet::with_columns(&["value"])
        }
    }

    #[test]
    fn reals_may_differ_in_the_last_bits_only() {
        let sum = sheet(&[Value::Real(0.1 + 0.2)]);
        assert!(equal(&sum, &sheet(&[Value::Real(0.3)])));
        assert!(!equal(&sum, &sheet(&[Value::Real(0.300_000_001)])));
        assert!(equal(
            &sheet(&[Value::Real(0.0)]),
            &sheet(&[Value::Real(-0.0)])
        ));
    }

    #[test]
    fn kinds_order_number_and_names_count() {
        let one_two = sheet(&[Value::Integer(1), Value::Integer(2)]);
        assert!(equal(&one_two, &one_two.clone()));
        assert!(!equal(
            &one_two,
            &sheet(&[Value::Integer(2), Value::Integer(1)])
        ));
        assert!(!equal(&one_two, &sheet(&[Value::Integer(1)])));
        assert!(!equal(
            &sheet(&[Value::Integer(1)]),
            &sheet(&[Value::Real(1.0)])
        ));
        let renamed = Sheet {
            columns: vec!["other".to_owned()],
            ..one_two.clone()
        };
        assert!(!equal(&one_two, &renamed));
    }
}
