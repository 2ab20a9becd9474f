//! CSV as RFC 4180 has it, except that lines end in a line feed alone.
//!
//! NULL is an empty field and the empty text is `""`, so the two stay apart; only where NULL is a
//! line's one field is it written as `""` too, because readers skip an empty line. A blob is its
//! base64. Text that is not UTF-8 is written byte for byte.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use shardwright_sql::Value;

use super::Sheet;

/// A header line and the rows; nothing for a statement without columns.
pub(super) fn write_answer(out: &mut dyn Write, sheet: &Sheet) -> io::Result<()> {
    if sheet.columns.is_empty() {
        return Ok(());
    }
    for (index, column) in sheet.columns.iter().enumerate() {
        separator(out, index)?;
        write_text(out, column.as_bytes())?;
    }
    out.write_all(b"\n")?;
    for row in &sheet.rows {
        write_row(out, row)?;
    }
    Ok(())
}

fn write_row(out: &mut dyn Write, row: &[Value]) -> io::Result<()> {
    if let [Value::Null] = row {
        return out.write_all(b"\"\"\n");
    }
    for (index, value) in row.iter().enumerate() {
        separator(out, index)?;
        match value {
            Value::Null => {}
            Value::Integer(integer) => write!(out, "{integer}")?,
            Value::Real(real) => write!(out, "{real:?}")?,
            Value::Text(bytes) => write_text(out, bytes)?,
            Value::Blob(bytes) => write_text(out, STANDARD.encode(bytes).as_bytes())?,
        }
    }
    out.write_all(b"\n")
}

fn separator(out: &mut dyn Write, index: usize) -> io::Result<()> {
    if index > 0 {
        out.write_all(b",")
    } else {
        Ok(())
    }
}

fn write_text(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    let plain = |byte: &u8| !matches!(byte, b'"' | b',' | b'\n' | b'\r');
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return out.write_all(bytes);
    }
    out.write_all(b"\"")?;
    for (index, part) in bytes.split(|&byte| byte == b'"').enumerate() {
        if index > 0 {
            out.write_all(b"\"\"")?;
        }
        out.write_all(part)?;
    }
    out.write_all(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(row: Vec<Value>, expect: &[u8]) {
        let mut out = Vec::new();
        write_row(&mut out, &row).unwrap();
        assert_eq!(out, expect);
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let text = |text: &str| Value::Text(text.into());
        check(vec![text("a b"), text("a,b")], b"a b,\"a,b\"\n");
        check(
            vec![text("say \"hi\""), text("two\nlines")],
            b"\"say \"\"hi\"\"\",\"two\nlines\"\n",
        );
    }

    #[test]
    fn null_and_the_empty_text_stay_apart() {
        check(vec![Value::Null, Value::Text(Vec::new())], b",\"\"\n");
        check(vec![Value::Null], b"\"\"\n");
    }

    #[test]
    fn numbers_blobs_and_malformed_text_have_a_form() {
        check(
            vec![Value::Integer(-1), Value::Real(2.0), Value::Blob(vec![255])],
            b"-1,2.0,/w==\n",
        );
        check(
            vec![Value::Text(vec![0xff]), Value::Real(f64::INFINITY)],
            b"\xff,inf\n",
        );
    }

    #[test]
    fn a_reader_gets_back_what_was_written() {
        let sheet = Sheet {
            columns: vec!["a".to_owned(), "b,c".to_owned()],
            rows: vec![vec![Value::Text(b"x\r\n\"y\"".to_vec()), Value::Integer(1)]],
        };
        let mut out = Vec::new();
        write_answer(&mut out, &sheet).unwrap();
        let mut reader = ::csv::Reader::from_reader(out.as_slice());
        assert_eq!(reader.headers().unwrap(), vec!["a", "b,c"]);
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record, vec!["x\r\n\"y\"", "1"]);
    }
}
