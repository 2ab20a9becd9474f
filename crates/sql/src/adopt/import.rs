//! Filling a directory with the rows of a file.
//!
//! The order makes every moment safe to be killed in. The marker is written first and removed last, and while it is
//! there the directory is no database. A table counts as copied only when its rows are on disk; a later run of the
//! same import removes what it finds of other tables and copies those again.

use std::{collections::BTreeMap, path::Path};

use shardwright_hashing::Position;
use shardwright_store::{Encoding, META_TABLE};

use super::{
    AdoptOptions, Proposal, infer,
    journal::{self, Journal, Task},
    load::Targets,
    shadow,
    source::Source,
    target::Target,
};
use crate::{
    database::{CATALOG, CreateOptions, Layout, create_files},
    error::Error,
    plan,
    schema::{Schema, SchemaObject, Table, TableKind, fold, physical, quote_identifier},
    shards::Place,
};

/// After so many rows the files are synced and the journal says which tables are done.
const ROWS_PER_SYNC: u64 = 200_000;

/// The key of the catalog's `_meta` table that says whether the file had statistics for SQLite's planner.
pub(crate) const ANALYZED: &str = "sql.analyzed";

/// What an import is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading the source to check it and to decide what its tables become.
    Reading,
    /// Copying rows.
    Loading,
    /// Making indexes, triggers and views.
    Indexing,
    /// Counting the rows of all files.
    Verifying,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What it is doing.
    pub step: Step,
    /// The table that it is at, if it is at one.
    pub table: Option<&'a str>,
    /// The rows copied so far, of all tables, those of an interrupted run included.
    pub rows: u64,
    /// The rows of all tables.
    pub total: u64,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// What the tables became, and why.
    pub proposal: Proposal,
    /// The tables with rows of their own, in the order of their creation.
    pub tables: Vec<LoadedTable>,
    /// Whether it continued one that was interrupted.
    pub resumed: bool,
}

/// Where the rows of a table are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedTable {
    /// The table's name as declared.
    pub name: String,
    /// The rows of each place: of each shard in the order of their ranges for a sharded table, the same with the
    /// catalog for a reference table, of the catalog for a global one.
    pub rows_by_place: Vec<u64>,
}

/// Imports a SQLite file into a new sharded database of so many shards. Called again after it was interrupted, it
/// continues; if the file or the options are different by then, it starts clean. The file itself is only read.
///
/// # Errors
/// As [`inspect`](super::inspect). [`Error::Exists`] and [`Error::NotEmpty`] if the directory holds something else;
/// [`Error::Locked`] if another process imports into it. A full disk is an [`Error::Store`] or [`Error::Io`] and the
/// next run continues.
pub fn import(
    source: &Path,
    directory: &Path,
    shards: usize,
    options: &AdoptOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<ImportReport, Error> {
    super::check_shards(shards)?;
    journal::check_directory(directory)?;
    let source = Source::open(source)?;
    progress(Progress {
        step: Step::Reading,
        table: None,
        rows: 0,
        total: 0,
    });
    source.check()?;
    let proposal = infer::propose(&source, shards, options)?;
    let schema = Schema::derive(proposal.to_schema())?;
    let task = Task::new(source.fingerprint(), shards, options);
    let journal = Journal::begin(directory, task)?;
    let mut import = Import {
        resumed: journal.is_created(),
        source: &source,
        directory,
        proposal: &proposal,
        schema: &schema,
        journal,
        progress,
        rows: 0,
    };
    if !import.resumed {
        import.create(shards)?;
    }
    let targets = import.targets(shards)?;
    let tables = import.load(&targets)?;
    import.define(&targets)?;
    import.verify(&targets)?;
    for target in targets.shards.into_iter().chain([targets.catalog]) {
        target.checkpoint()?;
        target.close()?;
    }
    source.check_unchanged()?;
    let resumed = import.resumed;
    import.journal.finish()?;
    Ok(ImportReport {
        tables,
        resumed,
        proposal,
    })
}

struct Import<'a> {
    source: &'a Source,
    directory: &'a Path,
    proposal: &'a Proposal,
    schema: &'a Schema,
    journal: Journal,
    resumed: bool,
    progress: &'a mut dyn FnMut(Progress<'_>),
    rows: u64,
}

impl Import<'_> {
    fn report(&mut self, step: Step, table: Option<&str>, more: u64) {
        (self.progress)(Progress {
            step,
            table,
            rows: self.rows + more,
            total: self.proposal.rows(),
        });
    }

    /// Makes the files and their empty tables.
    fn create(&mut self, shards: usize) -> Result<(), Error> {
        let stored = self.schema.stored();
        let encoding = [Encoding::Utf16le, Encoding::Utf16be]
            .into_iter()
            .find(|encoding| encoding.as_str() == stored.encoding)
            .unwrap_or_default();
        let create = CreateOptions {
            shards,
            encoding,
            ..CreateOptions::default()
        };
        create_files(&Layout::of(self.directory), &create, stored)?;
        let targets = self.targets(shards)?;
        let places = (0..shards).map(Place::Shard).chain([Place::Catalog]);
        for (target, place) in targets.all().zip(places) {
            target.transaction(|target| {
                for object in self
                    .objects_at(place)
                    .filter(|object| object.kind == "table")
                {
                    target.run(&physical::create_statement(self.schema, &object.name)?)?;
                }
                Ok(())
            })?;
            target.checkpoint()?;
        }
        self.journal.set_created()
    }

    fn targets(&self, shards: usize) -> Result<Targets, Error> {
        let layout = Layout::of(self.directory);
        let open = |name: &str| Target::open(name, layout.shard(name));
        Ok(Targets {
            shards: (0..shards)
                .map(|shard| open(&format!("shard-{shard}")))
                .collect::<Result<_, _>>()?,
            catalog: open(CATALOG)?,
        })
    }

    /// The objects that a place has, in the order of their creation: its tables with what belongs to them, and the
    /// views that it can answer.
    fn objects_at(&self, place: Place) -> impl Iterator<Item = &SchemaObject> {
        self.schema.stored().objects.iter().filter(move |object| {
            if object.kind == "view" {
                let places = plan::view_places(self.schema, &object.name);
                return match place {
                    Place::Shard(_) => places.shards,
                    Place::Catalog => places.catalog,
                };
            }
            match self.schema.table(&object.table).map(|table| &table.kind) {
                Some(TableKind::Sharded(_)) => place != Place::Catalog,
                Some(TableKind::Reference) => true,
                Some(TableKind::Global) => place == Place::Catalog,
                // Nothing is written through a view.
                None => false,
            }
        })
    }

    /// Copies the rows of every table that is not done.
    fn load(&mut self, targets: &Targets) -> Result<Vec<LoadedTable>, Error> {
        let shards = u32::try_from(targets.shards.len()).unwrap_or(u32::MAX);
        let shard_of = |position: Position| position.equal_range(shards) as usize;
        let (schema, source) = (self.schema, self.source);
        let mut loaded = Vec::new();
        let mut fresh = BTreeMap::new();
        let mut unsynced = 0;
        for proposed in &self.proposal.tables {
            let Some(table) = schema.table(&proposed.name) else {
                continue;
            };
            if table.module.is_some() {
                continue;
            }
            let name = fold(&table.name);
            self.report(Step::Loading, Some(&table.name), 0);
            let rows_by_place = match self.journal.done(&name) {
                Some(rows) => rows.to_vec(),
                None => {
                    if self.resumed {
                        empty(table, targets)?;
                    }
                    let mut report = |copied| self.report(Step::Loading, Some(&table.name), copied);
                    let rows = targets.load(source, table, &shard_of, &mut report)?;
                    unsynced += rows.iter().sum::<u64>();
                    fresh.insert(name, rows.clone());
                    rows
                }
            };
            self.rows += proposed.rows;
            if unsynced >= ROWS_PER_SYNC {
                self.sync(targets, &mut fresh)?;
                unsynced = 0;
            }
            loaded.push(LoadedTable {
                name: table.name.clone(),
                rows_by_place,
            });
        }
        self.sync(targets, &mut fresh)?;
        Ok(loaded)
    }

    /// Brings everything to disk, and then says so in the journal.
    fn sync(
        &mut self,
        targets: &Targets,
        fresh: &mut BTreeMap<String, Vec<u64>>,
    ) -> Result<(), Error> {
        if fresh.is_empty() {
            return Ok(());
        }
        targets.all().try_for_each(Target::checkpoint)?;
        self.journal.add_done(fresh)
    }

    /// Makes what follows the rows: what virtual tables hold, sequences, indexes, triggers and views.
    fn define(&mut self, targets: &Targets) -> Result<(), Error> {
        let sqlite = self.source.connection();
        let analyzed: bool = sqlite
            .query_row(
                "SELECT count(*) FROM main.sqlite_schema WHERE name = 'sqlite_stat1'",
                (),
                |row| row.get(0),
            )
            .map_err(|error| self.source.error(error))?;
        targets.catalog.transaction(|catalog| {
            shadow::copy(sqlite, catalog.connection()).map_err(|error| catalog.error(error))?;
            self.copy_sequences(catalog)?;
            catalog.run(&format!(
                "INSERT OR REPLACE INTO main.{META_TABLE}(key, value) VALUES ('{ANALYZED}', {})",
                u8::from(analyzed)
            ))
        })?;
        let places = (0..targets.shards.len())
            .map(Place::Shard)
            .chain([Place::Catalog]);
        for (target, place) in targets.all().zip(places) {
            self.report(Step::Indexing, None, 0);
            for object in self
                .objects_at(place)
                .filter(|object| object.kind != "table")
            {
                if !target.has(&object.kind, &object.name)? {
                    target.run(&object.sql)?;
                }
            }
            if analyzed {
                target.run("ANALYZE")?;
            }
        }
        Ok(())
    }

    /// Keeps the numbers that AUTOINCREMENT will not give out again.
    fn copy_sequences(&self, catalog: &Target) -> Result<(), Error> {
        let last = last_numbers(self.source, self.schema)?;
        catalog.run("DELETE FROM main._sequence")?;
        for (table, last) in last {
            catalog
                .connection()
                .execute(
                    "INSERT INTO main._sequence(name, last) VALUES (?1, ?2)",
                    (table, last),
                )
                .map_err(|error| catalog.error(error))?;
        }
        Ok(())
    }

    /// Counts the rows of all files.
    fn verify(&mut self, targets: &Targets) -> Result<(), Error> {
        for proposed in &self.proposal.tables {
            let Some(table) = self.schema.table(&proposed.name) else {
                continue;
            };
            if table.module.is_some() {
                continue;
            }
            self.report(Step::Verifying, Some(&table.name), 0);
            let counts = targets
                .of(table)
                .into_iter()
                .map(|target| target.count(&table.name))
                .collect::<Result<Vec<_>, _>>()?;
            let found = match &table.kind {
                TableKind::Sharded(_) => counts.iter().sum(),
                // Every copy has all rows; one that has not is the one to tell of.
                TableKind::Reference | TableKind::Global => counts
                    .into_iter()
                    .find(|count| *count != proposed.rows)
                    .unwrap_or(proposed.rows),
            };
            if found != proposed.rows {
                return Err(Error::RowsLost {
                    table: table.name.clone(),
                    expected: proposed.rows,
                    found,
                });
            }
        }
        Ok(())
    }
}

/// Removes what an interrupted run left of a table's rows.
fn empty(table: &Table, targets: &Targets) -> Result<(), Error> {
    let sql = format!("DELETE FROM main.{}", quote_identifier(&table.name));
    targets
        .of(table)
        .into_iter()
        .try_for_each(|target| target.run(&sql))
}

/// The greatest number that each AUTOINCREMENT table ever gave out, by folded name.
pub(super) fn last_numbers(source: &Source, schema: &Schema) -> Result<Vec<(String, i64)>, Error> {
    if !schema.tables().any(|table| table.autoincrement) {
        return Ok(Vec::new());
    }
    let rows = source
        .connection()
        .prepare("SELECT name, seq FROM main.sqlite_sequence WHERE typeof(seq) = 'integer'")
        .and_then(|mut statement| {
            statement
                .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<Vec<(String, i64)>>>()
        })
        .map_err(|error| source.error(error))?;
    let is_kept = |name: &str| schema.table(name).is_some_and(|table| table.autoincrement);
    Ok(rows
        .into_iter()
        .filter(|(name, _)| is_kept(name))
        .map(|(name, last)| (fold(&name), last))
        .collect())
}

#[cfg(test)]
mod tests;
