//! JSON, with each of SQLite's values kept apart from the others.
//!
//! Integers are JSON integers to 64 bits, a REAL always has a point or an exponent, and what JSON
//! has no form for is an object with one member: `{"real":"inf"}`, `{"base64":"..."}` for a blob,
//! `{"text_base64":"..."}` for text that is not UTF-8.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use shardwright_sql::Value;

use super::Sheet;

/// One line: the columns and rows, or for a statement without rows its changes.
pub(super) fn write_answer(out: &mut dyn Write, sheet: &Sheet, changes: u64) -> io::Result<()> {
    if sheet.columns.is_empty() {
        return writeln!(
            out,
            r#"{{"columns": [], "rows": [], "changes": {changes}}}"#
        );
    }
    out.write_all(br#"{"columns": ["#)?;
    separated(out, ", ", &sheet.columns, |out, column| {
        write_text(out, column)
    })?;
    out.write_all(br#"], "rows": ["#)?;
    separated(out, ", ", &sheet.rows, |out, row| {
        out.write_all(b"[")?;
        separated(out, ", ", row, write_value)?;
        out.write_all(b"]")
    })?;
    out.write_all(b"]}\n")
}

/// An array with one object per row, a row a line.
pub(super) fn write_objects(out: &mut dyn Write, sheet: &Sheet) -> io::Result<()> {
    out.write_all(b"[")?;
    separated(out, ",\n ", &sheet.rows, |out, row| {
        let members: Vec<_> = sheet.columns.iter().zip(row).collect();
        out.write_all(b"{")?;
        separated(out, ", ", &members, |out, (column, value)| {
            write_text(out, column)?;
            out.write_all(b": ")?;
            write_value(out, value)
        })?;
        out.write_all(b"}")
    })?;
    out.write_all(b"]\n")
}

fn separated<T>(
    out: &mut dyn Write,
    separator: &str,
    items: &[T],
    mut write: impl FnMut(&mut dyn Write, &T) -> io::Result<()>,
) -> io::Result<()> {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.write_all(separator.as_bytes())?;
        }
        write(out, item)?;
    }
    Ok(())
}

fn write_value(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    match value {
        Value::Null => out.write_all(b"null"),
        Value::Integer(integer) => write!(out, "{integer}"),
        Value::Real(real) => write_real(out, *real),
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => write_text(out, text),
            Err(_) => write!(out, r#"{{"text_base64": "{}"}}"#, STANDARD.encode(bytes)),
        },
        Value::Blob(bytes) => write!(out, r#"{{"base64": "{}"}}"#, STANDARD.encode(bytes)),
    }
}

fn write_real(out: &mut dyn Write, real: f64) -> io::Result<()> {
    if real.is_infinite() {
        return write!(out, r#"{{"real": "{real}"}}"#);
    }
    // SQLite stores NaN as NULL, and so does serde_json write it.
    Ok(serde_json::to_writer(out, &real)?)
}

fn write_text(out: &mut dyn Write, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &Value, expect: &str) {
        let mut out = Vec::new();
        write_value(&mut out, value).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, expect);
        serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
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
        for real in [1e15, 1e16, 1e21, f64::MAX, 123_456_789_012_345_680.0] {
            let mut out = Vec::new();
            write_value(&mut out, &Value::Real(real)).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains(['.', 'e']), "{text} reads as an integer");
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), real.to_bits());
        }
    }

    #[test]
    fn infinities_are_objects() {
        check(&Value::Real(f64::INFINITY), r#"{"real": "inf"}"#);
        check(&Value::Real(f64::NEG_INFINITY), r#"{"real": "-inf"}"#);
    }

    #[test]
    fn blobs_and_malformed_text_are_base64_under_different_names() {
        check(&Value::Blob(vec![0, 255, 16]), r#"{"base64": "AP8Q"}"#);
        check(&Value::Blob(Vec::new()), r#"{"base64": ""}"#);
        check(&Value::Text(vec![0xff, b'a']), r#"{"text_base64": "/2E="}"#);
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
    fn an_answer_is_one_line() {
        let sheet = Sheet {
            columns: vec!["n".to_owned(), "n".to_owned()],
            rows: vec![
                vec![Value::Integer(1), Value::Null],
                vec![Value::Real(2.0), Value::Null],
            ],
        };
        let mut out = Vec::new();
        write_answer(&mut out, &sheet, 0).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"columns\": [\"n\", \"n\"], \"rows\": [[1, null], [2.0, null]]}\n"
        );
    }

    #[test]
    fn a_statement_without_rows_gives_its_changes() {
        let mut out = Vec::new();
        write_answer(&mut out, &Sheet::default(), 3).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "{\"columns\": [], \"rows\": [], \"changes\": 3}\n");
    }

    #[test]
    fn a_listing_is_an_array_of_objects() {
        let mut sheet = Sheet::with_columns(&["id", "rows"]);
        sheet
            .rows
            .push(vec![super::super::text("shard-0"), super::super::number(7)]);
        let mut out = Vec::new();
        write_objects(&mut out, &sheet).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "[{\"id\": \"shard-0\", \"rows\": 7}]\n"
        );
    }
}
