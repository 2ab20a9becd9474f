//! The form of values in JSON, in which each of SQLite's five kinds is kept apart from the others.
//!
//! | value | JSON |
//! | --- | --- |
//! | NULL | `null` |
//! | INTEGER | a number without point and exponent, to 64 bits |
//! | REAL | a number with a point or an exponent; `{"real":"inf"}` and `{"real":"-inf"}` |
//! | TEXT | a string; `{"text_base64":"..."}` if it is not UTF-8 |
//! | BLOB | `{"base64":"..."}` |
//!
//! ```
//! use shardwright_sql::{Value, json};
//!
//! let row = [Value::from(1), Value::from(1.0), Value::from("a"), Value::from(vec![0])];
//! let text = serde_json::to_string(&row.each_ref().map(json::Json))?;
//! assert_eq!(text, r#"[1,1.0,"a",{"base64":"AA=="}]"#);
//! let back: Vec<serde_json::Value> = serde_json::from_str(&text)?;
//! let back: Result<Vec<Value>, _> = back.iter().map(json::from_json).collect();
//! assert_eq!(back?, row);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Serialize, Serializer, ser::SerializeMap};
use shardwright_store::Value;

const REAL: &str = "real";
const BLOB: &str = "base64";
const TEXT: &str = "text_base64";

/// A value that is written in its JSON form.
#[derive(Debug, Clone, Copy)]
pub struct Json<'a>(pub &'a Value);

/// JSON that is no value.
#[derive(Debug, thiserror::Error)]
#[error("{found} is no value: {expected}")]
pub struct InvalidValue {
    /// The JSON, cut where it is long.
    found: String,
    /// What would be one.
    expected: &'static str,
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Integer(integer) => serializer.serialize_i64(*integer),
            Value::Real(real) if real.is_infinite() => tagged(serializer, REAL, &real.to_string()),
            // SQLite stores NaN as NULL.
            Value::Real(real) if real.is_nan() => serializer.serialize_unit(),
            Value::Real(real) => serializer.serialize_f64(*real),
            Value::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => tagged(serializer, TEXT, &BASE64_STANDARD.encode(bytes)),
            },
            Value::Blob(bytes) => tagged(serializer, BLOB, &BASE64_STANDARD.encode(bytes)),
        }
    }
}

fn tagged<S: Serializer>(serializer: S, tag: &str, value: &str) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(tag, value)?;
    map.end()
}

/// The JSON of a value.
#[must_use]
pub fn to_json(value: &Value) -> serde_json::Value {
    serde_json::to_value(Json(value)).expect("the form of a value is JSON")
}

/// The value of JSON. Besides what [`to_json`] gives, `true` is 1 and `false` is 0, as in SQL.
///
/// # Errors
/// If there is no such value: a number of more than 64 bits, an array, or an object of another form.
pub fn from_json(json: &serde_json::Value) -> Result<Value, InvalidValue> {
    use serde_json::Value as Found;
    match json {
        Found::Null => Ok(Value::Null),
        Found::Bool(is) => Ok(Value::from(*is)),
        Found::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Ok(Value::Integer(integer)),
            (None, Some(real)) if !number.is_u64() => Ok(Value::Real(real)),
            (None, _) => Err(invalid(json, "an integer has 64 bits at most")),
        },
        Found::String(text) => Ok(Value::from(text.as_str())),
        Found::Object(members) => {
            let mut members = members.iter();
            match (members.next(), members.next()) {
                (Some((tag, Found::String(text))), None) => of_tagged(json, tag, text),
                _ => Err(invalid(json, FORMS)),
            }
        }
        Found::Array(_) => Err(invalid(json, FORMS)),
    }
}

const FORMS: &str =
    r#"write null, a number, a string, {"base64":"..."}, {"text_base64":"..."} or {"real":"inf"}"#;

fn of_tagged(json: &serde_json::Value, tag: &str, text: &str) -> Result<Value, InvalidValue> {
    let bytes = || {
        let decoded = BASE64_STANDARD.decode(text);
        decoded.map_err(|_| invalid(json, "its text is not base64 with padding"))
    };
    match (tag, text) {
        (BLOB, _) => bytes().map(Value::Blob),
        (TEXT, _) => bytes().map(Value::Text),
        (REAL, "inf") => Ok(Value::Real(f64::INFINITY)),
        (REAL, "-inf") => Ok(Value::Real(f64::NEG_INFINITY)),
        _ => Err(invalid(json, FORMS)),
    }
}

fn invalid(json: &serde_json::Value, expected: &'static str) -> InvalidValue {
    const SHOWN: usize = 60;
    let text = json.to_string();
    let found = match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    };
    InvalidValue { found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &Value, expect: &str) {
        let text = serde_json::to_string(&Json(value)).unwrap();
        assert_eq!(text, expect);
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed, to_json(value));
        assert_eq!(from_json(&parsed).unwrap(), *value);
    }

    #[test]
    fn integers_keep_all_64_bits() {
        check(&Value::Integer(0), "0");
        check(&Value::Integer(i64::MAX), "9223372036854775807");
        check(&Value::Integer(i64::MIN), "-9223372036854775808");
    }

    #[test]
    fn a_real_always_has_a_point_or_an_exponent() {
        check(&Value::Real(1.0), "1.0");
        check(&Value::Real(-0.0), "-0.0");
        check(&Value::Real(0.1), "0.1");
        check(&Value::Real(2.5e-7), "2.5e-7");
        for real in [
            1e15,
            1e16,
            1e21,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            123_456_789_012_345_680.0,
            0.1 + 0.2,
            1.797_693_134_862_315e308,
            7.038_531e-26,
        ] {
            let text = serde_json::to_string(&Json(&Value::Real(real))).unwrap();
            assert!(text.contains(['.', 'e']), "{text} reads as an integer");
            check(&Value::Real(real), &text);
        }
    }

    #[test]
    fn infinities_are_objects_and_nan_is_null() {
        check(&Value::Real(f64::INFINITY), r#"{"real":"inf"}"#);
        check(&Value::Real(f64::NEG_INFINITY), r#"{"real":"-inf"}"#);
        assert_eq!(to_json(&Value::Real(f64::NAN)), serde_json::Value::Null);
    }

    #[test]
    fn blobs_and_malformed_text_are_base64_under_different_names() {
        check(&Value::Blob(vec![0, 255, 16]), r#"{"base64":"AP8Q"}"#);
        check(&Value::Blob(Vec::new()), r#"{"base64":""}"#);
        check(&Value::Text(vec![0xff, b'a']), r#"{"text_base64":"/2E="}"#);
    }

    #[test]
    fn text_is_escaped() {
        check(
            &Value::Text(b"a\"b\\c\n\0".to_vec()),
            r#""a\"b\\c\n\u0000""#,
        );
        check(
            &Value::Text("\u{e9}\u{1f980}".into()),
            "\"\u{e9}\u{1f980}\"",
        );
        check(&Value::Null, "null");
    }

    #[test]
    fn json_that_is_no_value_is_refused() {
        for text in [
            "[1]",
            "{}",
            r#"{"base64":"AP8"}"#,
            r#"{"base64":1}"#,
            r#"{"real":"nan"}"#,
            r#"{"blob":""}"#,
            r#"{"base64":"","real":"inf"}"#,
            "9223372036854775808",
        ] {
            let json = serde_json::from_str(text).unwrap();
            let error = from_json(&json).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
        let long = serde_json::Value::from(vec!["\u{e9}"; 100]);
        assert!(from_json(&long).unwrap_err().to_string().contains("..."));
        assert_eq!(
            from_json(&serde_json::Value::Bool(true)).unwrap(),
            Value::from(1)
        );
    }
}
