//! Tests that keys which compare as equal have one form.

use super::*;

fn canonical(
    affinity: Affinity,
    collation: Collation,
    value: impl Into<Value>,
) -> CanonicalKey<'static> {
    let value: Value = value.into();
    match (KeyRules {
        affinity,
        collation,
    })
    .canonical(value.as_ref())
    {
        CanonicalKey::Null => CanonicalKey::Null,
        CanonicalKey::Integer(value) => CanonicalKey::Integer(value),
        CanonicalKey::Real(value) => CanonicalKey::Real(value),
        CanonicalKey::Text(bytes) => CanonicalKey::Text(Cow::Owned(bytes.into_owned())),
        CanonicalKey::Blob(bytes) => CanonicalKey::Blob(Cow::Owned(bytes.into_owned())),
    }
}

fn text(value: &str) -> CanonicalKey<'static> {
    CanonicalKey::Text(Cow::Owned(value.as_bytes().to_vec()))
}

#[test]
fn one_key_has_one_form_in_a_numeric_column() {
    for affinity in [Affinity::Integer, Affinity::Numeric, Affinity::Real] {
        let key = |value: Value| canonical(affinity, Collation::Binary, value);
        for one in [
            Value::from(1),
            Value::from(1.0),
            Value::from("1"),
            Value::from(" 1.0 "),
            Value::from("1e0"),
        ] {
            assert_eq!(key(one), CanonicalKey::Integer(1));
        }
        assert_eq!(key(Value::from("1.5")), CanonicalKey::Real(1.5));
        assert_eq!(key(Value::from("one")), text("one"));
        assert_eq!(key(Value::from("-12")), CanonicalKey::Integer(-12));
        assert_eq!(key(Value::from("0x10")), text("0x10"));
        let greatest = match affinity {
            Affinity::Real => CanonicalKey::Real(9_223_372_036_854_775_808.0),
            _ => CanonicalKey::Integer(i64::MAX),
        };
        assert_eq!(key(Value::from("9223372036854775807")), greatest);
        assert_eq!(
            key(Value::Blob(b"1".to_vec())),
            CanonicalKey::Blob(Cow::Owned(b"1".to_vec()))
        );
    }
}

#[test]
fn numbers_are_text_in_a_text_column() {
    let key = |value: Value| canonical(Affinity::Text, Collation::Binary, value);
    assert_eq!(key(Value::from(1)), text("1"));
    assert_eq!(key(Value::from(1.0)), text("1.0"));
    assert_eq!(key(Value::from(0.1)), text("0.1"));
    assert_eq!(key(Value::from(1e300)), text("1.0e+300"));
    assert_eq!(key(Value::from("01")), text("01"));
}

#[test]
fn nothing_is_converted_without_an_affinity_but_integral_reals() {
    let key = |value: Value| canonical(Affinity::Blob, Collation::Binary, value);
    assert_eq!(key(Value::from(2.0)), CanonicalKey::Integer(2));
    assert_eq!(key(Value::from("2")), text("2"));
}

#[test]
fn text_is_folded_by_the_collation() {
    assert_eq!(
        canonical(Affinity::Text, Collation::NoCase, "AbÇ"),
        text("abÇ")
    );
    assert_eq!(
        canonical(Affinity::Text, Collation::NoCase, "A\0b"),
        canonical(Affinity::Text, Collation::NoCase, "a\0C")
    );
    assert_ne!(
        canonical(Affinity::Text, Collation::NoCase, "a\0"),
        canonical(Affinity::Text, Collation::NoCase, "a\0b")
    );
    assert_eq!(
        canonical(Affinity::Text, Collation::RTrim, "ab  "),
        text("ab")
    );
    assert_eq!(canonical(Affinity::Text, Collation::RTrim, "   "), text(""));
}

/// What SQLite finds equal must have one canonical form, or rows would be looked for on the wrong shard.
#[test]
fn whatever_sqlite_finds_equal_has_one_form() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let values = edge_values();
    for affinity in [
        Affinity::Blob,
        Affinity::Text,
        Affinity::Numeric,
        Affinity::Integer,
        Affinity::Real,
    ] {
        for collation in [Collation::Binary, Collation::NoCase, Collation::RTrim] {
            let (declared, collate) = (affinity.type_name(), collation.name());
            connection
                .execute_batch(&format!(
                    "DROP TABLE IF EXISTS t; CREATE TABLE t(i, k {declared} COLLATE {collate})"
                ))
                .unwrap();
            for (index, value) in values.iter().enumerate() {
                connection
                    .execute(
                        "INSERT INTO t VALUES (?1, ?2)",
                        (index as i64, to_sqlite(value)),
                    )
                    .unwrap();
            }
            for value in &values {
                let asked = canonical(affinity, collation, value.clone());
                let mut statement = connection.prepare("SELECT i FROM t WHERE k IS ?1").unwrap();
                let equal: Vec<i64> = statement
                    .query_map([to_sqlite(value)], |row| row.get(0))
                    .unwrap()
                    .collect::<Result<_, _>>()
                    .unwrap();
                for index in equal {
                    let given = canonical(affinity, collation, values[index as usize].clone());
                    assert_eq!(
                        given, asked,
                        "{:?} stored in {declared} {collate} equals {value:?}",
                        values[index as usize]
                    );
                }
            }
        }
    }
}

fn to_sqlite(value: &Value) -> rusqlite::types::ToSqlOutput<'_> {
    use rusqlite::types::ValueRef as Ref;
    rusqlite::types::ToSqlOutput::Borrowed(match value {
        Value::Null => Ref::Null,
        Value::Integer(value) => Ref::Integer(*value),
        Value::Real(value) => Ref::Real(*value),
        Value::Text(bytes) => Ref::Text(bytes),
        Value::Blob(bytes) => Ref::Blob(bytes),
    })
}

fn edge_values() -> Vec<Value> {
    let texts: Vec<&str> = TEXTS
        .split('|')
        .chain(["", "a\0", "a\0b", "A\0B", "1\n"])
        .collect();
    INTEGERS
        .iter()
        .map(|&value| Value::from(value))
        .chain(REALS.iter().map(|&value| Value::from(value)))
        .chain(texts.iter().map(|&text| Value::from(text)))
        .chain(
            texts
                .iter()
                .map(|text| Value::Blob(text.as_bytes().to_vec())),
        )
        .chain([
            Value::Null,
            Value::Text(vec![0xff]),
            Value::Text(vec![b'1', 0xff]),
        ])
        .collect()
}

#[rustfmt::skip]
const INTEGERS: &[i64] = &[
    0, 1, -1, 12, 1 << 53, (1 << 53) + 1, -(1 << 53) - 1, i64::MAX, i64::MAX - 1, i64::MIN, i64::MIN + 1,
    1_000_000_000_000_000_000,
];

#[rustfmt::skip]
const REALS: &[f64] = &[
    0.0, -0.0, 1.0, -1.0, 0.1, 12.0, 1e15, 1e18, 1e300, -1e300, 5e-324, 9_007_199_254_740_992.0,
    9_223_372_036_854_775_808.0, -9_223_372_036_854_775_808.0, f64::INFINITY, f64::NEG_INFINITY,
];

/// Texts, between bars.
const TEXTS: &str = "\
 |a|A|a |A  |é|É|0|-0|+0|00|0.0|-0.0|1|+1|01|1.0|1.|.1e1|1e0|1E0| 1|1 |1_0|0x1|1a|12|12.0|1.2e1\
|9007199254740993|9007199254740992|9007199254740993.0|9223372036854775807|9223372036854775808\
|-9223372036854775808|-9223372036854775809|9223372036854775807.0|1e18|1000000000000000000|1e300|1.0e+300|1e400\
|-1e400|inf|Inf|nan|0.1|0.10|0.1000000000000000055|1e-400|4.9e-324|５|\t1";
