//! What is in the way of adopting files in place.

use serde::{Deserialize, Serialize};

/// What is in the way of adopting files in place. Each is mended in the files, by naming other tables or keys, or by
/// [importing](crate::adopt::import) the file instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// A table that was asked for is in no file.
    #[error("no file has a table {table}")]
    NoTable {
        /// The table.
        table: String,
    },
    /// A table has no primary key.
    #[error("table {table} of {shard} has no primary key: rebuild it with one, or leave it out")]
    NoPrimaryKey {
        /// The shard.
        shard: String,
        /// The table.
        table: String,
    },
    /// The column that was named as the key is not in the table, or is computed.
    #[error("table {table} has no column {column} that could be its key")]
    NoKeyColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Two files have a table or index of one name that are not the same.
    #[error("{name} is not the same in {first} and {second}")]
    Differs {
        /// The table or index.
        name: String,
        /// A shard.
        first: String,
        /// Another.
        second: String,
    },
    /// Two files hold rows of the same key. They are not merged.
    #[error("{first} and {second} both hold {keys} keys of {space}, such as {example}")]
    SameKeys {
        /// The key space.
        space: String,
        /// A shard.
        first: String,
        /// Another.
        second: String,
        /// How many keys are in both.
        keys: u64,
        /// One of them.
        example: String,
    },
    /// Rows have no key.
    #[error("{rows} rows of table {table} of {shard} have no key")]
    NullKeys {
        /// The shard.
        shard: String,
        /// The table.
        table: String,
        /// How many rows.
        rows: u64,
    },
    /// A trigger would see the rows of one file only.
    #[error(
        "table {table} of {shard} has the trigger {trigger}: import the file instead, or drop the trigger"
    )]
    Trigger {
        /// The shard.
        shard: String,
        /// The table.
        table: String,
        /// The trigger.
        trigger: String,
    },
    /// The table is virtual, or declared as one that is not sharded.
    #[error("table {table} of {shard} has no rows that a key could find: import the file instead")]
    NotByKey {
        /// The shard.
        shard: String,
        /// The table.
        table: String,
    },
    /// A file could not keep a foreign key, because the row that it refers to may be in another one.
    #[error(
        "the foreign key from {table} to {parent} would not hold: make the column that refers to {parent} the key of {table}, or import the file instead"
    )]
    ForeignKey {
        /// The table.
        table: String,
        /// The table that it refers to.
        parent: String,
    },
    /// A file stores text otherwise than the others do.
    #[error("the text of {shard} is stored as {encoding}, and that of the others is not")]
    Encoding {
        /// The shard.
        shard: String,
        /// Its encoding.
        encoding: String,
    },
}

impl Problem {
    /// The table that the problem is about, if it is about one.
    #[must_use]
    pub fn table(&self) -> Option<&str> {
        match self {
            Self::NoTable { table }
            | Self::NoPrimaryKey { table, .. }
            | Self::NoKeyColumn { table, .. }
            | Self::NullKeys { table, .. }
            | Self::Trigger { table, .. }
            | Self::NotByKey { table, .. }
            | Self::ForeignKey { table, .. } => Some(table),
            Self::Differs { name, .. } => Some(name),
            Self::SameKeys { space, .. } => Some(space),
            Self::Encoding { .. } => None,
        }
    }
}
