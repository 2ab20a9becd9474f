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
        assert_eq!(
            key(Value::from("9223372036854775807")),
            CanonicalKey::Integer(i64::MAX)
        );
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
