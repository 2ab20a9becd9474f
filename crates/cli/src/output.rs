//! How answers and listings are printed: as a table for people, as JSON or CSV for programs.

mod csv;
mod json;
mod table;

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;
use shardwright_sql::Value;

pub(crate) use self::table::grid;

/// The form in which `sql` prints what a statement answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns with a header, for reading.
    #[default]
    Table,
    /// One line of JSON per statement: {"columns": [...], "rows": [[...]]}.
    Json,
    /// A header line and one line per row, as RFC 4180 has it.
    Csv,
}

/// The form in which a command prints a listing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum ListingFormat {
    /// Aligned columns with a header, for reading.
    #[default]
    Table,
    /// A JSON array with one object per line.
    Json,
}

/// Named columns and the rows under them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sheet {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Sheet {
    /// An empty sheet with these columns.
    pub(crate) fn with_columns(columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self {
            columns,
            rows: Vec::new(),
        }
    }
}

/// Prints the answer of one statement. One without columns has none to print: its `changes` are.
pub(crate) fn write_answer(
    out: &mut dyn Write,
    format: Format,
    sheet: &Sheet,
    changes: u64,
) -> io::Result<()> {
    match format {
        Format::Json => json::write_answer(out, sheet, changes),
        Format::Csv => csv::write_answer(out, sheet),
        Format::Table if sheet.columns.is_empty() => Ok(()),
        Format::Table => table::write_answer(out, sheet),
    }
}

/// Prints a listing of a command of its own, such as `shards`.
pub(crate) fn write_listing(
    out: &mut dyn Write,
    format: ListingFormat,
    sheet: &Sheet,
) -> io::Result<()> {
    match format {
        ListingFormat::Table => table::write_answer(out, sheet),
        ListingFormat::Json => json::write_objects(out, sheet),
    }
}

/// Prints what an API answered: a list with one entry a line, anything else on one line.
pub(crate) fn write_json(out: &mut dyn Write, answer: &impl Serialize) -> io::Result<()> {
    match serde_json::to_value(answer)? {
        serde_json::Value::Array(entries) => {
            let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
            writeln!(out, "[{}]", entries.join(",\n "))
        }
        answer => writeln!(out, "{answer}"),
    }
}

/// `1 row`, `2 rows`, `27,004 rows`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// The number with a comma between each three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A whole value from text, for listings.
pub(crate) fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into().into_bytes())
}

/// Text for listings that may be absent.
pub(crate) fn optional(text: Option<&str>) -> Value {
    text.map_or(Value::Null, self::text)
}

/// A count for listings. One that no file can reach is shown as the largest integer.
pub(crate) fn number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped_and_nouns_counted() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(count(1, "row"), "1 row");
        assert_eq!(count(27_004, "row"), "27,004 rows");
    }
}
