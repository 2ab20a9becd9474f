//! What a file's tables would become.

use std::fmt;

use crate::schema::{Declaration, Schema, StoredSchema, fold};

/// What each table of a file would become, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The tables in the order of their creation.
    pub tables: Vec<TableProposal>,
    /// What does not concern one table alone, such as triggers on views.
    pub warnings: Vec<String>,
    pub(super) stored: StoredSchema,
}

/// What one table would become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableProposal {
    /// The table's name as declared.
    pub name: String,
    /// Where its rows would live.
    pub declaration: Declaration,
    /// The table that gives the key space its name: itself, or the one that it is colocated with. `None` unless sharded.
    pub group: Option<String>,
    /// How many rows it has.
    pub rows: u64,
    /// How many different keys they have, where that was counted.
    pub distinct_keys: Option<u64>,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// What the owner should know before going on.
    pub warnings: Vec<String>,
}

impl Proposal {
    /// The schema that the sharded database would have.
    #[must_use]
    pub fn to_schema(&self) -> StoredSchema {
        self.stored.clone()
    }

    /// The proposal for one table; names ignore ASCII case.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&TableProposal> {
        self.tables
            .iter()
            .find(|table| table.name.eq_ignore_ascii_case(name))
    }

    /// The rows of all tables.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    pub(super) fn new(
        schema: &Schema,
        mut tables: Vec<TableProposal>,
        warnings: Vec<String>,
    ) -> Self {
        for proposal in &mut tables {
            proposal.group = schema
                .table(&proposal.name)
                .and_then(|table| table.shard_key())
                .and_then(|key| schema.table(&key.group))
                .map(|root| root.name.clone());
        }
        Self {
            tables,
            warnings,
            stored: schema.stored().clone(),
        }
    }
}

impl TableProposal {
    /// `sharded`, `reference` or `global`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.declaration {
            Declaration::Sharded { .. } => "sharded",
            Declaration::Reference => "reference",
            Declaration::Global => "global",
        }
    }

    /// The column of the shard key, if the table would be sharded.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match &self.declaration {
            Declaration::Sharded { shard_key, .. } => Some(shard_key),
            Declaration::Reference | Declaration::Global => None,
        }
    }

    /// The other table with whose rows these would live, if there is one.
    #[must_use]
    pub fn colocated_with(&self) -> Option<&str> {
        self.group
            .as_deref()
            .filter(|group| fold(group) != fold(&self.name))
    }
}

impl fmt::Display for TableProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.kind())?;
        if let Some(key) = self.key() {
            write!(f, " by {key}")?;
        }
        if let Some(with) = self.colocated_with() {
            write!(f, " with {with}")?;
        }
        write!(f, ", {} rows", self.rows)?;
        for reason in &self.reasons {
            write!(f, "; {reason}")?;
        }
        for warning in &self.warnings {
            write!(f, "; warning: {warning}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            writeln!(f, "{table}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}
