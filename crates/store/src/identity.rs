//! Who a shard file is: the rows of its `_meta` table.

use std::{fmt, path::Path, sync::Arc};

use crate::{Error, Expect, Params, Result, Value, connection::Connection};

/// The table that makes an SQLite file a shard file. Its rows are (key, value) pairs. Those whose key has a dot in it are
/// notes of whoever uses the file: they may be written like rows of any table, and copies have them too. The others belong
/// to the file format.
pub const META_TABLE: &str = "_meta";

/// The statement that creates [`META_TABLE`].
pub const META_TABLE_SQL: &str =
    "CREATE TABLE _meta (key TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID";

/// The tables that a shard file keeps for itself. Clients may read them but not write to them, except for the notes in
/// [`META_TABLE`], and they are not listed among a file's tables.
pub const SYSTEM_TABLES: [&str; 3] = [META_TABLE, "_repl", "_dedup"];

/// Returns whether a table is one of the file's own.
pub(crate) fn is_system(table: &[u8]) -> bool {
    table.starts_with(b"_")
        && SYSTEM_TABLES
            .iter()
            .any(|system| table.eq_ignore_ascii_case(system.as_bytes()))
}

/// Returns whether the rows of a table are for clients, in part at least.
#[cfg(feature = "capture")]
pub(crate) fn has_client_rows(table: &[u8]) -> bool {
    !is_system(table) || table.eq_ignore_ascii_case(META_TABLE.as_bytes())
}

/// Returns whether a key of `_meta` is that of a note: of a row that belongs to whoever uses the file.
#[cfg(feature = "capture")]
pub(crate) fn is_note(key: crate::ValueRef<'_>) -> bool {
    key.as_bytes().is_some_and(|key| key.contains(&b'.'))
}

/// Removes the notes whose keys begin with one of these.
#[cfg(feature = "capture")]
pub(crate) fn remove_notes(connection: &Connection, begins: &[&str]) -> Result<()> {
    for begins in begins {
        let notes = [Value::from(format!("{begins}*"))];
        let sql = "DELETE FROM main._meta WHERE key GLOB ?1";
        connection.execute(sql, Params::from(&notes))?;
    }
    Ok(())
}

/// Finds the notes among the rows of `_meta`.
pub(crate) const IS_NOTE: &str = "instr(key, '.') > 0";

/// The version of the file format that this release reads and writes.
pub const FORMAT: u32 = 1;

/// What a shard file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The database that the file belongs to, usually a UUID.
    pub database: String,
    /// What the file holds of it: the name of a shard, or `catalog`.
    pub place: String,
    /// How SQLite stores text in the file. It decides the order and the length of text, so all files
    /// of a database have the same.
    pub encoding: Encoding,
    /// The page size in bytes, a power of two from 512 to 65536.
    pub page_size: u32,
}

/// How SQLite stores text in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// UTF-16, least significant byte first.
    Utf16le,
    /// UTF-16, most significant byte first.
    Utf16be,
}

impl Encoding {
    /// Returns SQLite's name of the encoding.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16le => "UTF-16le",
            Self::Utf16be => "UTF-16be",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Utf8, Self::Utf16le, Self::Utf16be]
            .into_iter()
            .find(|encoding| encoding.as_str() == name)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Identity {
    /// An identity with UTF-8 text and pages of 4096 bytes.
    #[must_use]
    pub fn new(database: impl Into<String>, place: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            place: place.into(),
            encoding: Encoding::Utf8,
            page_size: 4096,
        }
    }

    /// Writes the identity into a new, empty file, whose encoding and page size are set already.
    pub(crate) fn write(&self, connection: &Connection) -> Result<()> {
        connection.run_script(META_TABLE_SQL)?;
        for (key, value) in self.rows() {
            set_meta(connection, key, &value)?;
        }
        Ok(())
    }

    /// The rows of [`META_TABLE`] that say this of a file, for who makes a shard file of an SQLite file that exists. Encoding and
    /// page size are those of the file.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, Value); 3] {
        [
            ("format", Value::from(FORMAT)),
            ("database", Value::from(self.database.as_str())),
            ("place", Value::from(self.place.as_str())),
        ]
    }

    /// Reads the identity, or says why the file is none of ours.
    pub(crate) fn read(connection: &Connection, expect: &Expect) -> Result<Self> {
        let path = connection.path();
        if !has_meta_table(connection)? {
            return Err(Error::NotAShardFile {
                path: Arc::clone(path),
            });
        }
        match meta(connection, "format")? {
            Some(Value::Integer(format)) if format == i64::from(FORMAT) => {}
            Some(other) => return Err(unknown_format(path, &other)),
            None => {
                return Err(Error::NotAShardFile {
                    path: Arc::clone(path),
                });
            }
        }
        let identity = Self {
            database: text(connection, "database")?,
            place: text(connection, "place")?,
            encoding: encoding(connection)?,
            page_size: page_size(connection)?,
        };
        check(
            path,
            "database",
            expect.database.as_ref(),
            &identity.database,
        )?;
        check(path, "place", expect.place.as_ref(), &identity.place)?;
        Ok(identity)
    }
}

fn check(
    path: &Arc<Path>,
    field: &'static str,
    expected: Option<&String>,
    found: &str,
) -> Result<()> {
    match expected {
        Some(expected) if expected != found => Err(Error::WrongIdentity {
            path: Arc::clone(path),
            field,
            expected: expected.clone(),
            found: found.to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

fn has_meta_table(connection: &Connection) -> Result<bool> {
    let columns = connection.query_row(
        "SELECT count(*) FROM pragma_table_info(?1) WHERE name IN ('key', 'value')",
        Params::from(&[Value::from(META_TABLE)]),
        |row| row.get(0).as_i64(),
    )?;
    Ok(columns == Some(Some(2)))
}

fn unknown_format(path: &Arc<Path>, found: &Value) -> Error {
    let found = match found {
        Value::Integer(integer) => integer.to_string(),
        other => other.as_bytes().map_or_else(
            || format!("{other:?}"),
            |bytes| String::from_utf8_lossy(bytes).into_owned(),
        ),
    };
    Error::UnknownFormat {
        path: Arc::clone(path),
        found,
        supported: FORMAT,
    }
}

fn text(connection: &Connection, key: &str) -> Result<String> {
    match meta(connection, key)? {
        Some(value) if value.as_str().is_some() => Ok(value.as_str().unwrap_or("").to_owned()),
        Some(_) | None => Err(Error::NotAShardFile {
            path: Arc::clone(connection.path()),
        }),
    }
}

fn encoding(connection: &Connection) -> Result<Encoding> {
    let name =
        connection.query_row("PRAGMA encoding", Params::NONE, |row| row.get(0).to_value())?;
    name.as_ref()
        .and_then(Value::as_str)
        .and_then(Encoding::from_name)
        .ok_or_else(|| connection.corrupt("unknown text encoding"))
}

fn page_size(connection: &Connection) -> Result<u32> {
    connection
        .query_row("PRAGMA page_size", Params::NONE, |row| row.get(0).as_i64())?
        .flatten()
        .and_then(|bytes| u32::try_from(bytes).ok())
        .ok_or_else(|| connection.corrupt("impossible page size"))
}

/// Reads the value of one key of the `_meta` table.
pub(crate) const META_SQL: &str = "SELECT value FROM main._meta WHERE key = ?1";

pub(crate) fn meta(connection: &Connection, key: &str) -> Result<Option<Value>> {
    connection.query_row(META_SQL, Params::from(&[Value::from(key)]), |row| {
        row.get(0).to_value()
    })
}

/// Writes one row of the `_meta` table.
pub(crate) fn set_meta(connection: &Connection, key: &str, value: &Value) -> Result<()> {
    connection
        .execute(
            "/* shardwright */ INSERT INTO main._meta (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            Params::from(&[Value::from(key), value.clone()]),
        )
        .map(drop)
}
