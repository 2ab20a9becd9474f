//! What is inserted, on both sides.

/// The table.
pub(super) const CREATE: &str = "CREATE TABLE events(id INTEGER PRIMARY KEY, body BLOB NOT NULL)";

/// One row of it.
pub(super) const INSERT: &str = "INSERT INTO events(body) VALUES (?1)";

/// What a row carries.
pub(super) const BODY: [u8; 100] = [0x5a; 100];
