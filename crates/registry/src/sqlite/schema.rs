//! The tables of the file, and how a file is recognised.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// Marks the file as a registry, in SQLite's header: the letters `SWrg`.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"SWrg");

/// The format of the tables.
pub(super) const FORMAT: u32 = 1;

/// `change` holds the latest changes in the order of their revisions, a NULL value for a deleted key; `trimmed` is the last
/// one that it no longer holds.
const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE entry (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE change (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB) STRICT;
    INSERT INTO meta VALUES ('revision', 0), ('trimmed', 0);
";

/// What a file turned out to be.
pub(super) enum Recognised {
    /// Nothing was ever written to it.
    Empty,
    /// A registry of this format.
    Registry,
    /// A registry of another format.
    Version(String),
    /// Something else.
    Other,
}

/// Says what a file is, as of one moment: another process may be making it a registry.
pub(super) fn recognise(connection: &Connection) -> rusqlite::Result<Recognised> {
    if !connection.is_autocommit() {
        return recognise_within(connection);
    }
    let moment = connection.unchecked_transaction()?;
    let recognised = recognise_within(&moment)?;
    moment.commit()?;
    Ok(recognised)
}

fn recognise_within(connection: &Connection) -> rusqlite::Result<Recognised> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id == 0 && objects == 0 {
        return Ok(Recognised::Empty);
    }
    let has_meta = connection.table_exists(None, "meta")?;
    if id != APPLICATION_ID || !has_meta {
        return Ok(Recognised::Other);
    }
    let read = |row: &rusqlite::Row<'_>| row.get(0);
    let format: Option<String> = connection
        .query_row(
            "SELECT CAST(value AS TEXT) FROM meta WHERE name = 'format'",
            [],
            read,
        )
        .optional()?;
    Ok(match format {
        Some(format) if format == FORMAT.to_string() => Recognised::Registry,
        Some(format) => Recognised::Version(format),
        None => Recognised::Other,
    })
}

/// Makes an empty file a registry, unless another process was faster, and says what the file is afterwards.
pub(super) fn create(connection: &mut Connection) -> rusqlite::Result<Recognised> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Recognised::Empty = recognise(&transaction)? {
        transaction.execute_batch(TABLES)?;
        transaction.execute("INSERT INTO meta VALUES ('format', ?1)", [FORMAT])?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    let recognised = recognise(&transaction)?;
    transaction.commit()?;
    Ok(recognised)
}
