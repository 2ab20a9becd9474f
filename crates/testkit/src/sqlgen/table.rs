//! A table: keys, constraints, and how it spreads over shards.

use crate::sqlgen::{column::Column, name::ident};

/// A generated table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The name, not quoted.
    pub name: String,
    /// The columns in order.
    pub columns: Vec<Column>,
    /// The primary key.
    pub primary_key: PrimaryKey,
    /// Whether it is a WITHOUT ROWID table.
    pub without_rowid: bool,
    /// Whether it is a STRICT table.
    pub strict: bool,
    /// Sets of columns that are unique besides the primary key.
    pub uniques: Vec<Vec<usize>>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// How the table spreads over shards.
    pub placement: Placement,
}

/// The primary key of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrimaryKey {
    /// None is declared.
    None,
    /// One INTEGER PRIMARY KEY column, the alias of the rowid.
    Rowid(usize),
    /// Any other columns, in the order of the key.
    Columns(Vec<usize>),
}

/// A reference to the primary key of an earlier table, or of the same one.
#[derive(Clone, Debug)]
pub struct ForeignKey {
    /// The referring columns, in the order of the parent's key.
    pub columns: Vec<usize>,
    /// The parent's index in the schema.
    pub parent: usize,
    /// The parent's name, not quoted.
    pub parent_name: String,
}

/// What the sharding comment of a table says; plain SQLite ignores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Nothing: the database decides.
    Undeclared,
    /// `shard_key=` a column, by its index, with the name of the table to share shards with. Rows without a key are
    /// kept if the column may be NULL.
    ShardKey(usize, Option<String>),
    /// `reference`: a copy on every shard.
    Reference,
    /// `global`: one place.
    Global,
}

impl Table {
    /// The columns of the primary key, in its order.
    pub fn key_columns(&self) -> Vec<usize> {
        match &self.primary_key {
            PrimaryKey::None => Vec::new(),
            PrimaryKey::Rowid(column) => vec![*column],
            PrimaryKey::Columns(columns) => columns.clone(),
        }
    }

    /// The columns that an INSERT may name, in order.
    pub fn stored_columns(&self) -> Vec<usize> {
        (0..self.columns.len())
            .filter(|&column| self.columns[column].generated.is_none())
            .collect()
    }

    /// CREATE TABLE, with the sharding comment at its end.
    pub fn create(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let rowid = self.primary_key == PrimaryKey::Rowid(index);
            let key = if rowid { " PRIMARY KEY" } else { "" };
            parts.push(format!("{}{key}", column.declaration()));
        }
        if let PrimaryKey::Columns(columns) = &self.primary_key {
            parts.push(format!("PRIMARY KEY ({})", self.names(columns)));
        }
        for unique in &self.uniques {
            parts.push(format!("UNIQUE ({})", self.names(unique)));
        }
        for key in &self.foreign_keys {
            let parent = ident(&key.parent_name);
            parts.push(format!(
                "FOREIGN KEY ({}) REFERENCES {parent}",
                self.names(&key.columns)
            ));
        }
        let options = match (self.without_rowid, self.strict) {
            (true, true) => " WITHOUT ROWID, STRICT",
            (true, false) => " WITHOUT ROWID",
            (false, true) => " STRICT",
            (false, false) => "",
        };
        let comment = self.comment();
        format!(
            "CREATE TABLE {} ({}){options}{comment}",
            ident(&self.name),
            parts.join(", ")
        )
    }

    /// The names of `columns`, quoted and separated by commas.
    pub(super) fn names(&self, columns: &[usize]) -> String {
        let names: Vec<String> = columns
            .iter()
            .map(|&c| ident(&self.columns[c].name))
            .collect();
        names.join(", ")
    }

    fn comment(&self) -> String {
        match &self.placement {
            Placement::Undeclared => String::new(),
            Placement::Reference => " /* shardwright: reference */".to_owned(),
            Placement::Global => " /* shardwright: global */".to_owned(),
            Placement::ShardKey(column, with) => {
                let column = &self.columns[*column];
                let key = ident(&column.name);
                let with = with
                    .as_ref()
                    .map(|with| format!(" colocate_with={}", ident(with)));
                let nulls = if column.not_null {
                    ""
                } else {
                    " null_keys=keep"
                };
                format!(
                    " /* shardwright: shard_key={key}{}{nulls} */",
                    with.unwrap_or_default()
                )
            }
        }
    }
}
