//! A table of the logical schema.

use super::{Affinity, Collation, NullKeys, quote_identifier};
use crate::error::Error;

/// A table, its columns and constraints, and where its rows live.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The name as declared.
    pub name: String,
    /// Where the rows live.
    pub kind: TableKind,
    /// The columns, in declaration order, generated ones included.
    pub columns: Vec<Column>,
    /// Indexes into `columns` of the primary key, in key order; empty without one.
    pub primary_key: Vec<usize>,
    /// Whether the table is WITHOUT ROWID.
    pub without_rowid: bool,
    /// The column that is an alias of the rowid (`INTEGER PRIMARY KEY`).
    pub rowid_alias: Option<usize>,
    /// Whether the rowid alias is AUTOINCREMENT.
    pub autoincrement: bool,
    /// Whether the table is STRICT.
    pub strict: bool,
    /// UNIQUE and PRIMARY KEY constraints and unique indexes, the rowid alias included.
    pub unique: Vec<UniqueConstraint>,
    /// Foreign keys, in declaration order.
    pub foreign_keys: Vec<ForeignKey>,
    /// The module of a virtual table.
    pub module: Option<String>,
}

/// Where the rows of a table live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableKind {
    /// Each row lives on the shard that owns its key.
    Sharded(ShardKey),
    /// A full copy on every shard and on the catalog shard.
    Reference,
    /// All rows live on the catalog shard.
    Global,
}

/// How the rows of a sharded table find their shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardKey {
    /// Index of the column whose value is the key.
    pub column: usize,
    /// The colocation group: tables of one group put equal keys on one shard. It is the folded name of the group's root.
    pub group: String,
    /// What becomes of a row whose key is NULL.
    pub nulls: NullKeys,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The name as declared.
    pub name: String,
    /// The declared type, empty if none.
    pub declared_type: String,
    /// The affinity that follows from it.
    pub affinity: Affinity,
    /// The collation of comparisons.
    pub collation: Collation,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// The DEFAULT expression, as text.
    pub default: Option<String>,
    /// Whether and how the value is generated.
    pub generated: Generated,
}

/// Whether a column's value is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generated {
    /// An ordinary column.
    Ordinary,
    /// A hidden column of a virtual table.
    Hidden,
    /// GENERATED ALWAYS ... VIRTUAL.
    Virtual,
    /// GENERATED ALWAYS ... STORED.
    Stored,
}

/// A constraint that two rows may not agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueConstraint {
    /// The index that keeps it; `None` for the rowid alias.
    pub index: Option<String>,
    /// Indexes into the table's columns; `None` for an expression.
    pub columns: Vec<Option<usize>>,
    /// The collation of each column in the index.
    pub collations: Vec<Collation>,
    /// Whether the index has a WHERE clause.
    pub partial: bool,
    /// Whether it is the primary key.
    pub primary: bool,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The table referred to, as written.
    pub parent: String,
    /// Indexes into the child's columns.
    pub columns: Vec<usize>,
    /// The parent's columns, as written; empty where its primary key is meant.
    pub parent_columns: Vec<String>,
    /// The ON DELETE action, `NO ACTION` if none.
    pub on_delete: String,
    /// The ON UPDATE action, `NO ACTION` if none.
    pub on_update: String,
}

impl Table {
    /// Index of the column of that name, ignoring ASCII case.
    #[must_use]
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Index of the column that `name` means, the names of the rowid included where no column hides them.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<usize> {
        self.column_index(name)
            .or_else(|| self.rowid_alias.filter(|_| is_rowid_name(name)))
    }

    /// The shard key, if the table is sharded.
    #[must_use]
    pub fn shard_key(&self) -> Option<&ShardKey> {
        match &self.kind {
            TableKind::Sharded(key) => Some(key),
            TableKind::Reference | TableKind::Global => None,
        }
    }

    /// The column of the shard key, if the table is sharded.
    #[must_use]
    pub fn key_column(&self) -> Option<&Column> {
        self.shard_key().map(|key| &self.columns[key.column])
    }

    /// A name by which the rowid can be read: one that no column hides.
    #[must_use]
    pub fn rowid_name(&self) -> Option<&'static str> {
        if self.without_rowid {
            return None;
        }
        ["rowid", "_rowid_", "oid"]
            .into_iter()
            .find(|name| self.column_index(name).is_none())
    }

    /// The unique constraints that one shard alone cannot keep, because they do not contain the shard key.
    pub fn global_constraints(&self) -> impl Iterator<Item = &UniqueConstraint> {
        let key = self.shard_key().map(|key| key.column);
        self.unique
            .iter()
            .filter(move |unique| key.is_some_and(|key| !self.is_kept_by(unique, key)))
    }

    /// A shard keeps a constraint that contains the key under a comparison at least as fine as the key's own:
    /// rows equal under the constraint are then rows of one key, hence of one shard.
    fn is_kept_by(&self, unique: &UniqueConstraint, key: usize) -> bool {
        unique
            .columns
            .iter()
            .zip(&unique.collations)
            .any(|(column, collation)| {
                *column == Some(key)
                    && (*collation == Collation::Binary
                        || *collation == self.columns[key].collation)
            })
    }
}

impl Table {
    /// The error for a table without a primary key, with statements that give it one.
    pub(crate) fn without_primary_key(&self) -> Error {
        Error::NoPrimaryKey {
            table: self.name.clone(),
            remedy: self.rebuilt_with_key(),
        }
    }

    /// SQLite cannot add a primary key to a table, so the rows move to a new one.
    fn rebuilt_with_key(&self) -> String {
        let is_free = |name: &String| self.column_index(name).is_none();
        let key = std::iter::once("id".to_owned())
            .chain((0..).map(|number| format!("id_{number}")))
            .find(is_free)
            .unwrap_or_default();
        let stored = || {
            self.columns
                .iter()
                .filter(|column| column.generated == Generated::Ordinary)
        };
        let definitions: String = stored()
            .map(Column::definition)
            .map(|text| format!(", {text}"))
            .collect();
        let names: String = stored()
            .map(|column| format!(", {}", quote_identifier(&column.name)))
            .collect();
        let (old, new) = (
            quote_identifier(&self.name),
            quote_identifier(&format!("{}_new", self.name)),
        );
        let rowid = self.rowid_name().unwrap_or("NULL");
        format!(
            "CREATE TABLE {new}({key} INTEGER PRIMARY KEY{definitions}); \
             INSERT INTO {new}({key}{names}) SELECT {rowid}{names} FROM {old}; \
             DROP TABLE {old}; ALTER TABLE {new} RENAME TO {old};"
        )
    }
}

impl Column {
    fn definition(&self) -> String {
        let mut text = format!("{} {}", quote_identifier(&self.name), self.declared_type);
        if self.collation != Collation::Binary {
            text.push_str(&format!(" COLLATE {}", self.collation.name()));
        }
        if self.not_null {
            text.push_str(" NOT NULL");
        }
        if let Some(default) = &self.default {
            text.push_str(&format!(" DEFAULT ({default})"));
        }
        text.trim_end().to_owned()
    }
}

/// Whether `name` is one of SQLite's names of the rowid.
pub(crate) fn is_rowid_name(name: &str) -> bool {
    ["rowid", "_rowid_", "oid"]
        .iter()
        .any(|alias| alias.eq_ignore_ascii_case(name))
}
