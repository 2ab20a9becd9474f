//! JSON, with each of SQLite's values in the form of [`shardwright_sql::json`].

use std::io::{self, Write};

use serde::Serialize as _;
use serde_json::ser::{Formatter, Serializer};
use shardwright_sql::{Value, json::Json};

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
    Ok(Json(value).serialize(&mut Serializer::with_formatter(out, Spaced))?)
}

/// Writes a blank behind each colon, as the rest of what is printed has it.
struct Spaced;

impl Formatter for Spaced {
    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

fn write_text(out: &mut dyn Write, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line() {
        let sheet = Sheet {
            columns: vec!["n".to_owned(), "n".to_owned()],
            rows: vec![
                vec![Value::Integer(1), Value::Null],
                vec![Value::Real(2.0), Value::Blob(vec![0])],
            ],
        };
        let mut out = Vec::new();
        write_answer(&mut out, &sheet, 0).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"columns\": [\"n\", \"n\"], \"rows\": [[1, null], [2.0, {\"base64\": \"AA==\"}]]}\n"
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
