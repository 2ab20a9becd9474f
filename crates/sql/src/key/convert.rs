//! Conversions between text and numbers, exactly as SQLite makes them.
//!
//! The common cases are decided here; the rest are put to SQLite itself, whose rules for what looks like a number,
//! and whose rounding, are its own.

use std::cell::OnceCell;

use rusqlite::{Connection, types::Value};
use shardwright_hashing::TypedKey;

thread_local! {
    static SQLITE: OnceCell<Connection> = const { OnceCell::new() };
}

/// Returns the number that a text becomes in a column of numeric affinity, or `None` if it stays text.
pub(super) fn text_to_number(text: &[u8]) -> Option<TypedKey<'static>> {
    if let Some(value) = plain_integer(text) {
        return Some(TypedKey::Integer(value));
    }
    // What looks like a number holds a digit, and begins with a space, sign, point or digit.
    let first = *text.first()?;
    if !(first.is_ascii_digit() || b" \t\n\x0b\x0c\r+-.".contains(&first)) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    match ask(
        "INSERT INTO number(value) VALUES (?1) RETURNING value",
        &text,
    ) {
        Value::Integer(value) => Some(TypedKey::Integer(value)),
        Value::Real(value) => Some(TypedKey::real(value)),
        Value::Null | Value::Text(_) | Value::Blob(_) => None,
    }
}

/// Returns the text that a number becomes in a column of text affinity.
pub(super) fn real_to_text(value: f64) -> Vec<u8> {
    match ask(
        "INSERT INTO text(value) VALUES (?1) RETURNING value",
        &value,
    ) {
        Value::Text(text) => text.into_bytes(),
        // Not-a-number is stored as NULL.
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => Vec::new(),
    }
}

/// Returns the value of a numeric literal, by SQLite's reading of it.
pub(crate) fn literal_number(digits: &str) -> shardwright_store::Value {
    let is_number = digits
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte));
    let value = SQLITE.with(|connection| {
        let connection = connection.get_or_init(open);
        is_number.then(|| connection.query_row(&format!("SELECT {digits}"), [], |row| row.get(0)))
    });
    match value {
        Some(Ok(Value::Integer(value))) => shardwright_store::Value::Integer(value),
        Some(Ok(Value::Real(value))) => shardwright_store::Value::Real(value),
        _ => shardwright_store::Value::Null,
    }
}

/// Digits alone, with or without a minus, few enough to fit.
fn plain_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(if digits.len() < text.len() {
        -value
    } else {
        value
    })
}

fn ask(sql: &str, value: &dyn rusqlite::ToSql) -> Value {
    SQLITE.with(|connection| {
        let connection = connection.get_or_init(open);
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([value], |row| row.get(0)))
            .expect("a conversion cannot fail")
    })
}

fn open() -> Connection {
    let connection = Connection::open_in_memory().expect("an empty database needs only memory");
    // The triggers keep the tables empty; RETURNING has seen the row by then.
    connection
        .execute_batch(
            "CREATE TABLE number(value NUMERIC); CREATE TABLE text(value TEXT);
             CREATE TRIGGER a AFTER INSERT ON number BEGIN DELETE FROM number; END;
             CREATE TRIGGER b AFTER INSERT ON text BEGIN DELETE FROM text; END;",
        )
        .expect("the statements are well-formed");
    connection
}
