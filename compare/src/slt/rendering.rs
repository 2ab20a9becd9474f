//! Values as the lines of a script.

use md5::{Digest, Md5};
use rusqlite::{Connection, types::ToSqlOutput, types::ValueRef};
use shardwright_testkit::Value;

use super::script::SortMode;

/// Writes values as the C program does for which the format was made. SQLite itself makes numbers of texts and texts of numbers.
#[derive(Debug)]
pub(super) struct Renderer {
    connection: Connection,
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As SQLite does.
    Now,
    /// As in scripts of old: 32 bits of an integer, and 15 digits of a real number as text.
    Classic,
}

impl Renderer {
    pub(super) fn new() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        Ok(Self { connection })
    }

    /// The lines of all values, row by row, before they are sorted.
    pub(super) fn rows(
        &self,
        types: &[char],
        rows: &[Vec<Value>],
        style: Style,
    ) -> rusqlite::Result<Vec<Vec<String>>> {
        let row = |row: &Vec<Value>| {
            let values = row.iter().zip(types);
            values
                .map(|(value, kind)| self.value(*kind, value, style))
                .collect()
        };
        rows.iter().map(row).collect()
    }

    fn value(&self, kind: char, value: &Value, style: Style) -> rusqlite::Result<String> {
        Ok(match (kind, value) {
            (_, Value::Null) => "NULL".to_owned(),
            ('T', Value::Text(bytes) | Value::Blob(bytes)) => printable(bytes),
            ('T', Value::Integer(integer)) => integer.to_string(),
            ('T', value) => {
                let sql = match style {
                    Style::Now => "SELECT CAST(?1 AS TEXT)",
                    Style::Classic => "SELECT printf('%!.15g', ?1)",
                };
                self.ask(sql, value, |row| row.get(0))?
            }
            ('R', value) => self.ask("SELECT printf('%.3f', ?1)", value, |row| row.get(0))?,
            (_, value) => {
                let integer = match value {
                    Value::Integer(integer) => *integer,
                    value => self.ask("SELECT CAST(?1 AS INTEGER)", value, |row| row.get(0))?,
                };
                match style {
                    Style::Now => integer.to_string(),
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "that is what the C program did"
                    )]
                    Style::Classic => (integer as i32).to_string(),
                }
            }
        })
    }

    fn ask<T>(
        &self,
        sql: &str,
        value: &Value,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.raw_bind_parameter(1, ToSqlOutput::Borrowed(sqlite_value(value)))?;
        let mut rows = statement.raw_query();
        let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        read(row)
    }
}

fn sqlite_value(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Null => ValueRef::Null,
        Value::Integer(integer) => ValueRef::Integer(*integer),
        Value::Real(real) => ValueRef::Real(*real),
        Value::Text(bytes) => ValueRef::Text(bytes),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    }
}

/// Text up to a NUL, at which C ends it, with a mark for each byte that a terminal would not show.
fn printable(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    let shown = text.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '@',
    });
    shown.collect()
}

/// The lines in the order in which they are compared.
pub(super) fn sorted(mut rows: Vec<Vec<String>>, sort: SortMode) -> Vec<String> {
    if sort == SortMode::Rows {
        rows.sort();
    }
    let mut values: Vec<String> = rows.into_iter().flatten().collect();
    if sort == SortMode::Values {
        values.sort();
    }
    values
}

/// The line that stands for many values.
pub(super) fn hash_line(values: &[String]) -> String {
    let mut digest = Md5::new();
    for value in values {
        digest.update(value);
        digest.update("\n");
    }
    let hash: String = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{} values hashing to {hash}", values.len())
}

/// Whether a line stands for many values.
pub(super) fn is_hash_line(line: &str) -> bool {
    line.split_once(" values hashing to ")
        .is_some_and(|(count, hash)| {
            count.parse::<usize>().is_ok()
                && hash.len() == 32
                && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: char, value: &Value) -> String {
        let renderer = Renderer::new().unwrap();
        renderer.value(kind, value, Style::Now).unwrap()
    }

    #[test]
    fn values_are_written_as_their_column_says() {
        let cases = [
            ('T', Value::Null, "NULL"),
            ('T', Value::text(""), "(empty)"),
            ('T', Value::text("a\tß"), "a@@@"),
            ('T', Value::Blob(b"a\0b".to_vec()), "a"),
            ('T', Value::Real(0.25), "0.25"),
            ('T', Value::Integer(-7), "-7"),
            ('I', Value::Real(-1.9), "-1"),
            ('I', Value::text("12abc"), "12"),
            ('I', Value::text("abc"), "0"),
            ('I', Value::Integer(1 << 40), "1099511627776"),
            ('R', Value::Integer(3), "3.000"),
            ('R', Value::Real(2.0 / 3.0), "0.667"),
            ('R', Value::text("1.5x"), "1.500"),
        ];
        for (kind, value, expected) in cases {
            assert_eq!(shown(kind, &value), expected, "{kind} {value}");
        }
        let classic = |kind, value: &Value| {
            let renderer = Renderer::new().unwrap();
            renderer.value(kind, value, Style::Classic).unwrap()
        };
        assert_eq!(classic('I', &Value::Integer((1 << 40) + 5)), "5");
        assert_eq!(classic('T', &Value::Real(0.1 + 0.2)), "0.3");
    }

    #[test]
    fn the_hash_is_that_of_the_lines() {
        let values = ["1", "2"].map(str::to_owned);
        let line = hash_line(&values);
        assert_eq!(line, "2 values hashing to 6ddb4095eb719e2a9f0a3f95677d24e0");
        assert!(is_hash_line(&line));
        assert!(!is_hash_line("2 values hashing to 6d"));
    }

    #[test]
    fn rows_are_sorted_by_their_lines() {
        let rows = || {
            vec![
                vec!["b".to_owned(), "1".to_owned()],
                vec!["a".to_owned(), "2".to_owned()],
            ]
        };
        assert_eq!(sorted(rows(), SortMode::AsTheyCome), ["b", "1", "a", "2"]);
        assert_eq!(sorted(rows(), SortMode::Rows), ["a", "2", "b", "1"]);
        assert_eq!(sorted(rows(), SortMode::Values), ["1", "2", "a", "b"]);
    }
}
