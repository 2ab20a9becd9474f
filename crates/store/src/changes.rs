//! The net changes of one transaction, as bytes that a log carries to the copies.
//!
//! ```text
//! version u8 | item .. item | xxh3 of all before, 8 bytes, little endian
//! ```
//!
//! An item is a table (its name, what its key is, how many columns it stores), a row that was
//! inserted, deleted or updated, a statement on the schema, the sequences after it, a setting, or a border. Rows between two
//! borders belong together: each key occurs once, and a copy may apply them in any order that its
//! unique constraints allow. An update holds the whole old row, a bit for each column, and the new
//! values of the columns that changed. Numbers are varints, as `postcard` writes them.

mod decode;
mod encode;
mod filter;

use crate::{ReplicaError, Value, ValueRef};

pub use self::decode::{Changes, Values};
pub(crate) use self::encode::{Encoder, Head, Wire, put_value};

/// The version of the encoding that this release reads and writes.
pub const CHANGES_VERSION: u8 = 1;

/// The most bytes that the changes of one transaction may take while they are captured.
pub const CHANGES_BYTES_MAX: usize = 256 << 20;

/// The bytes of the check sum at the end.
const SUM_BYTES: usize = 8;

/// What an item is. The numbers are part of the format.
mod tag {
    pub(super) const TABLE: u8 = 1;
    pub(super) const INSERT: u8 = 2;
    pub(super) const DELETE: u8 = 3;
    pub(super) const UPDATE: u8 = 4;
    pub(super) const BORDER: u8 = 5;
    pub(super) const SCHEMA: u8 = 6;
    pub(super) const SETTING: u8 = 7;
    pub(super) const SEQUENCES: u8 = 8;
}

/// The net changes of one transaction.
///
/// Several updates of a row are one change, and a row that came and went is none. The same execution
/// gives the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSet {
    bytes: Vec<u8>,
    tables: Vec<ChangedTable>,
}

/// A table whose rows changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedTable {
    /// Its name, as the schema spelled it when the rows changed.
    pub name: String,
    /// What tells its rows apart.
    pub key: ChangedKey,
    /// How many columns it stores; generated columns are not among them.
    pub columns: usize,
}

/// What tells the changed rows of a table apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedKey {
    /// The rowid, which is no column of the table.
    RowId,
    /// Stored columns, counted from zero: the `INTEGER PRIMARY KEY`, or the primary key of a table
    /// WITHOUT ROWID.
    Columns(Vec<usize>),
}

/// One change of a [`ChangeSet`].
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A row came, went or changed.
    Row(RowChange<'a>),
    /// A statement on the schema.
    Schema {
        /// Its text.
        sql: &'a str,
        /// The digest of the schema after it, or `None` if it does not change the schema (ANALYZE).
        digest: Option<&'a [u8; 32]>,
    },
    /// A setting in the header of the file.
    Setting {
        /// Which one.
        setting: Setting,
        /// Its value before.
        old: i32,
        /// Its value after.
        new: i32,
    },
    /// The whole of `sqlite_sequence` after a statement on the schema: of each row the rowid, the name
    /// and the value. The statement may have run triggers where it was executed, which it does not on
    /// a copy.
    Sequences(Values<'a>),
    /// Changes before it are to be applied before changes after it.
    Border,
}

/// A setting in the header of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `PRAGMA user_version`.
    UserVersion,
    /// `PRAGMA application_id`.
    ApplicationId,
}

/// A row that came, went or changed.
#[derive(Clone, Copy, Debug)]
pub struct RowChange<'a> {
    table: &'a ChangedTable,
    rowid: Option<i64>,
    old: Option<Values<'a>>,
    new: Option<Values<'a>>,
    /// The columns that an update changed, a bit for each, the first column in the lowest bit of the
    /// first byte.
    mask: &'a [u8],
}

impl ChangeSet {
    /// Reads what [`ChangeSet::as_bytes`] gave.
    ///
    /// # Errors
    ///
    /// [`ReplicaError::UnknownVersion`] and [`ReplicaError::Damaged`].
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, ReplicaError> {
        let bytes = bytes.into();
        let tables = decode::check(&bytes)?;
        Ok(Self { bytes, tables })
    }

    /// Returns the encoded changes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the encoded changes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == 1 + SUM_BYTES
    }

    /// Returns the changes in the order in which a copy applies them.
    #[must_use]
    pub fn changes(&self) -> Changes<'_> {
        Changes::new(&self.bytes[1..self.bytes.len() - SUM_BYTES], &self.tables)
    }
}

impl Default for ChangeSet {
    /// No changes.
    fn default() -> Self {
        Encoder::new().finish()
    }
}

impl Setting {
    /// Returns the name of the PRAGMA.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UserVersion => "user_version",
            Self::ApplicationId => "application_id",
        }
    }
}

impl<'a> RowChange<'a> {
    /// Returns the table.
    #[must_use]
    pub fn table(&self) -> &'a ChangedTable {
        self.table
    }

    /// Returns the key: the rowid, or the key's columns in their order.
    #[must_use]
    pub fn key(&self) -> Vec<ValueRef<'a>> {
        match (&self.table.key, self.rowid) {
            (ChangedKey::Columns(columns), _) => {
                let row: Vec<_> = self.old.or(self.new).into_iter().flatten().collect();
                columns.iter().map(|&column| row[column]).collect()
            }
            (ChangedKey::RowId, rowid) => vec![ValueRef::Integer(rowid.unwrap_or_default())],
        }
    }

    /// Returns the rowid, unless columns are the key.
    #[must_use]
    pub fn rowid(&self) -> Option<i64> {
        self.rowid
    }

    /// Returns the stored columns before; `None` if the row did not exist.
    #[must_use]
    pub fn before(&self) -> Option<Values<'a>> {
        self.old
    }

    /// Returns the stored columns after; `None` if the row does not exist any more.
    #[must_use]
    pub fn after(&self) -> Option<Values<'a>> {
        self.new
    }

    /// Returns whether an update changed the column.
    pub(crate) fn changes_column(&self, column: usize) -> bool {
        self.mask
            .get(column / 8)
            .is_some_and(|bits| bits & 1 << (column % 8) != 0)
    }

    pub(crate) fn mask(&self) -> &'a [u8] {
        self.mask
    }

    /// Returns the error that says how a copy differs at this row.
    pub(crate) fn diverged(&self, difference: crate::Difference) -> crate::Error {
        ReplicaError::Diverged {
            table: self.table.name.clone(),
            key: self.key().into_iter().map(Value::from).collect(),
            difference,
        }
        .into()
    }
}
