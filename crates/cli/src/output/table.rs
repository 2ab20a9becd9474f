//! Tables for people: aligned columns, numbers to the right, control characters made visible.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use shardwright_sql::Value;

use super::Sheet;

/// On a terminal that is narrower than this, lines are left to the terminal to wrap.
const WIDTH_MIN: u16 = 20;

/// More of a blob than this many bytes is cut off with an ellipsis.
const BLOB_BYTES_MAX: usize = 32;

/// The sheet as a table, as wide as the terminal at most.
pub(super) fn write_answer(out: &mut dyn Write, sheet: &Sheet) -> io::Result<()> {
    let mut table = grid(sheet);
    wrap_to_terminal(&mut table);
    writeln!(out, "{table}")
}

/// The sheet as a table of its natural width.
pub(crate) fn grid(sheet: &Sheet) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(
        sheet
            .columns
            .iter()
            .map(|column| Cell::new(visible(column))),
    );
    for row in &sheet.rows {
        table.add_row(row.iter().map(cell));
    }
    table
}

/// Wraps long cells so that the table fits the terminal. Elsewhere a row stays on its line.
fn wrap_to_terminal(table: &mut Table) {
    // Some terminals do not say how wide they are, or say 0.
    let is_known = table.width().is_some_and(|width| width >= WIDTH_MIN);
    if is_known && io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
}

fn cell(value: &Value) -> Cell {
    let number = matches!(value, Value::Integer(_) | Value::Real(_));
    let alignment = if number {
        CellAlignment::Right
    } else {
        CellAlignment::Left
    };
    Cell::new(shown(value)).set_alignment(alignment)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(integer) => integer.to_string(),
        Value::Real(real) => format!("{real:?}"),
        Value::Text(bytes) => visible(&String::from_utf8_lossy(bytes)).into_owned(),
        Value::Blob(bytes) => blob(bytes),
    }
}

/// A blob as SQL writes one.
fn blob(bytes: &[u8]) -> String {
    let mut text = String::from("x'");
    for byte in bytes.iter().take(BLOB_BYTES_MAX) {
        write!(text, "{byte:02x}").expect("because writing to a String cannot fail");
    }
    text.push_str(if bytes.len() > BLOB_BYTES_MAX {
        "..."
    } else {
        "'"
    });
    text
}

/// The text without characters that would move the cursor or command the terminal. A line feed
/// stays, since a cell may have several lines.
fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |character: char| character.is_control() && character != '\n';
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if hidden(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_null_is_named() {
        let sheet = Sheet {
            columns: vec!["name".to_owned(), "n".to_owned()],
            rows: vec![
                vec![Value::Text("carrier".into()), Value::Integer(5)],
                vec![Value::Null, Value::Real(1200.0)],
            ],
        };
        let expected = expect![[r#"
            ┌─────────┬────────┐
            │ name    ┆ n      │
            ╞═════════╪════════╡
            │ carrier ┆      5 │
            │ NULL    ┆ 1200.0 │
            └─────────┴────────┘"#]];
        expected.assert_eq(&grid(&sheet).to_string());
    }

    #[test]
    fn a_terminal_is_never_commanded_by_data() {
        assert_eq!(
            shown(&Value::Text(b"\x1b[2Jred\t1".to_vec())),
            r"\u{1b}[2Jred\t1"
        );
        assert_eq!(visible("two\nlines"), "two\nlines");
    }

    #[test]
    fn a_long_blob_is_cut() {
        assert_eq!(shown(&Value::Blob(vec![0, 171])), "x'00ab'");
        let long = shown(&Value::Blob(vec![1; 33]));
        assert_eq!(long, format!("x'{}...", "01".repeat(32)));
    }
}
