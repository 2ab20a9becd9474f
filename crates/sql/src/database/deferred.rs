//! Foreign keys that a place checks no sooner than it commits: too late for a write that reaches every place or none.
//!
//! No statement asks SQLite what its COMMIT would say. So the rows that violate such keys are counted before the write
//! and after it, in its transaction.

use super::atomic::Commit;
use crate::{
    error::Error,
    schema::{Schema, TableKind},
    shards::{Call, Place, PlaceTransaction},
};

/// The tables of a schema with deferred foreign keys.
#[derive(Debug, Default, Clone)]
pub(super) struct Deferred {
    shards: Vec<String>,
    catalog: Vec<String>,
}

impl Deferred {
    pub(super) fn of(schema: &Schema) -> Self {
        let mut deferred = Self::default();
        for table in schema
            .tables()
            .filter(|table| !table.foreign_keys.is_empty())
        {
            let is_it = |name: &str| name.eq_ignore_ascii_case(&table.name);
            let objects = schema.stored().objects.iter();
            let mut of_table =
                objects.filter(|object| object.kind == "table" && is_it(&object.name));
            // A comment with the word costs the counting, and no more.
            if !of_table.any(|object| object.sql.to_ascii_lowercase().contains("deferred")) {
                continue;
            }
            let count = format!(
                "SELECT count(*) FROM pragma_foreign_key_check('{}')",
                table.name.replace('\'', "''")
            );
            if !matches!(table.kind, TableKind::Global) {
                deferred.shards.push(count.clone());
            }
            if !matches!(table.kind, TableKind::Sharded(_)) {
                deferred.catalog.push(count);
            }
        }
        deferred
    }

    /// The number of rows at each place that violate a deferred foreign key now.
    pub(super) fn violations_of(
        &self,
        commit: &mut Commit,
        places: &[Place],
    ) -> Result<Vec<(Place, i64)>, Error> {
        let count = |place: &Place| {
            let violations = commit.within(*place, |open| self.violations(*place, open))?;
            Ok((*place, violations))
        };
        places.iter().map(count).collect()
    }

    /// Says what COMMIT would say of deferred foreign keys, where there were so many violations before.
    pub(super) fn check(&self, commit: &mut Commit, before: &[(Place, i64)]) -> Result<(), Error> {
        for (place, before) in before {
            let after = commit.within(*place, |open| self.violations(*place, open))?;
            if *before < after {
                return Err(Error::Constraint {
                    message: "FOREIGN KEY constraint failed".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The number of rows at a place that violate a deferred foreign key now.
    pub(super) fn violations(
        &self,
        place: Place,
        transaction: &mut dyn PlaceTransaction,
    ) -> Result<i64, Error> {
        let counts = match place {
            Place::Shard(_) => &self.shards,
            Place::Catalog => &self.catalog,
        };
        let mut violations = 0;
        for count in counts {
            let found = transaction.aside(Call::new(count, ()))?.rows;
            violations += found.first().and_then(|row| row[0].as_i64()).unwrap_or(0);
        }
        Ok(violations)
    }
}
