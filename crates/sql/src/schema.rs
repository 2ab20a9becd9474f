//! The logical schema: what one SQLite file would contain, and where each table's rows live.
//!
//! [`Schema::derive`] reads it from the statements that create it, through SQLite itself, so that types, collations,
//! keys and constraints are what SQLite says they are.

mod affinity;
mod declaration;
mod derive;
mod locality;
pub mod physical;
mod stored;
mod table;

use std::collections::BTreeMap;

pub use self::{
    affinity::{Affinity, Collation},
    declaration::{Declaration, NullKeys, Undeclared, is_bookkeeping},
    locality::{Reached, trigger_reach},
    stored::{SchemaObject, StoredSchema},
    table::{Column, ForeignKey, Generated, ShardKey, Table, TableKind, UniqueConstraint},
};
pub(crate) use self::{derive::open_copy, table::is_rowid_name};

/// The tables and other objects of one keyspace at one schema version.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    stored: StoredSchema,
    tables: BTreeMap<String, Table>,
    /// Views that no place has, and that are not stored.
    temporary_views: Vec<SchemaObject>,
}

impl Schema {
    /// The stored form: statements and declarations.
    #[must_use]
    pub fn stored(&self) -> &StoredSchema {
        &self.stored
    }

    /// Returns the table of that name; SQLite's names do not distinguish ASCII case.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.tables.get(&fold(name))
        } else {
            self.tables.get(name)
        }
    }

    /// All tables, ordered by folded name.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    /// The statement that creates a view, if `name` is one.
    #[must_use]
    pub fn view(&self, name: &str) -> Option<&str> {
        self.temporary_views
            .iter()
            .chain(&self.stored.objects)
            .find(|object| object.kind == "view" && object.name.eq_ignore_ascii_case(name))
            .map(|object| object.sql.as_str())
    }

    /// The views that only this process has, while it has the database open.
    #[must_use]
    pub fn temporary_views(&self) -> &[SchemaObject] {
        &self.temporary_views
    }

    /// The same schema with these temporary views.
    #[must_use]
    pub fn with_temporary_views(self, temporary_views: Vec<SchemaObject>) -> Self {
        Self {
            temporary_views,
            ..self
        }
    }

    /// The triggers on a table or view.
    pub fn triggers<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a SchemaObject> {
        self.stored.objects.iter().filter(move |object| {
            object.kind == "trigger" && object.table.eq_ignore_ascii_case(table)
        })
    }

    /// The colocation groups: tables whose equal keys share a shard, by group name.
    #[must_use]
    pub fn groups(&self) -> BTreeMap<&str, Vec<&Table>> {
        let mut groups: BTreeMap<&str, Vec<&Table>> = BTreeMap::new();
        for table in self.tables.values() {
            if let TableKind::Sharded(key) = &table.kind {
                groups.entry(&key.group).or_default().push(table);
            }
        }
        groups
    }
}

/// Folds a name as SQLite compares names: ASCII case only.
pub(crate) fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Quotes an identifier for use in a statement.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
