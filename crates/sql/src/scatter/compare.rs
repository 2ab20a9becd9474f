//! The order of values, as SQLite sorts them.

use std::cmp::Ordering;

use shardwright_store::ValueRef;

use crate::schema::Collation;

/// Compares two values: NULL before numbers, numbers before texts, texts before blobs. Numbers are compared exactly, whichever
/// kind they are.
pub(super) fn compare(a: ValueRef<'_>, b: ValueRef<'_>, collation: Collation) -> Ordering {
    use ValueRef::{Blob, Integer, Real, Text};
    match (a, b) {
        (Integer(a), Integer(b)) => a.cmp(&b),
        (Integer(a), Real(b)) => integer_with_real(a, b),
        (Real(a), Integer(b)) => integer_with_real(b, a).reverse(),
        (Real(a), Real(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (Text(a), Text(b)) => texts(a, b, collation),
        (Blob(a), Blob(b)) => a.cmp(b),
        _ => class(a).cmp(&class(b)),
    }
}

fn class(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Null => 0,
        ValueRef::Integer(_) | ValueRef::Real(_) => 1,
        ValueRef::Text(_) => 2,
        ValueRef::Blob(_) => 3,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the casts are within bounds, or of numbers whose digits do not matter any more"
)]
fn integer_with_real(integer: i64, real: f64) -> Ordering {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if real < -END {
        return Ordering::Greater;
    }
    if real >= END {
        return Ordering::Less;
    }
    // With a fraction the real is small enough for its whole part to be exact in both kinds.
    let whole = integer.cmp(&(real as i64));
    whole.then_with(|| {
        (integer as f64)
            .partial_cmp(&real)
            .unwrap_or(Ordering::Equal)
    })
}

fn texts(a: &[u8], b: &[u8], collation: Collation) -> Ordering {
    match collation {
        Collation::Binary => a.cmp(b),
        Collation::RTrim => trimmed(a).cmp(trimmed(b)),
        Collation::NoCase => {
            // After a NUL in both, only the length counts.
            let differs = |(a, b): &(&u8, &u8)| **a == 0 || !a.eq_ignore_ascii_case(b);
            let found = a.iter().zip(b).find(differs);
            let folded = |(a, b): (&u8, &u8)| a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase());
            found
                .map_or(Ordering::Equal, folded)
                .then_with(|| a.len().cmp(&b.len()))
        }
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    let kept = text.iter().rposition(|byte| *byte != b' ');
    &text[..kept.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use shardwright_store::Value;

    use super::*;
    use crate::database::sqlite_value;

    #[test]
    fn values_are_compared_as_sqlite_compares_them() {
        let mut values = vec![
            Value::Null,
            Value::from(0),
            Value::from(-0.0),
            Value::from(1),
            Value::from(1.0),
            Value::from(1.5),
            Value::from(i64::MAX),
            Value::from(i64::MIN),
            Value::from(9_223_372_036_854_775_807.0),
            Value::from(-9_223_372_036_854_775_808.0),
            Value::from(9_007_199_254_740_993_i64),
            Value::from(9_007_199_254_740_992.0),
            Value::from(f64::INFINITY),
            Value::from(f64::NEG_INFINITY),
            Value::from(5e-324),
            Value::from(b"a".to_vec()),
            Value::from(Vec::new()),
        ];
        let texts = [
            "", " ", "a", "A", "a ", "A  ", "ab", "aB", "b", "[", "a\0b", "A\0c", "a\0", "ä", "Ä",
            "z",
        ];
        values.extend(texts.map(Value::from));
        let sqlite = Connection::open_in_memory().unwrap();
        for collation in [Collation::Binary, Collation::NoCase, Collation::RTrim] {
            let sql = format!(
                "SELECT (?1 > ?2 COLLATE {0}) - (?1 < ?2 COLLATE {0})",
                collation.name()
            );
            let mut ask = sqlite.prepare(&sql).unwrap();
            for a in values.iter().filter(|value| !value.is_null()) {
                for b in values.iter().filter(|value| !value.is_null()) {
                    let expect: i64 = ask
                        .query_row([sqlite_value(a), sqlite_value(b)], |row| row.get(0))
                        .unwrap();
                    let found = compare(a.as_ref(), b.as_ref(), collation) as i64;
                    assert_eq!(found, expect, "{a:?} and {b:?} by {collation:?}");
                }
            }
        }
        assert!(
            compare(
                ValueRef::Null,
                ValueRef::Integer(i64::MIN),
                Collation::Binary
            )
            .is_lt()
        );
    }
}
