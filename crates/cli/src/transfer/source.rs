//! What is brought into a cluster: an SQLite file, or a directory of files.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags};
use shardwright_sql::{
    adopt::{self, AdoptOptions, Proposal},
    schema::{Schema, Table},
};
use tempfile::TempDir;

use super::{
    batches::Sending,
    survey::{self, Survey},
};
use crate::{commands::open_for_reading, failure::Failure};

/// For how many shards a file is looked at: only its small tables depend on it.
const SHARDS: usize = 8;

/// An SQLite file as it is at one moment, and what its tables become.
pub(crate) struct Source {
    connection: Connection,
    schema: Schema,
    survey: Survey,
    counts: BTreeMap<String, u64>,
    /// What became of the tables of a plain file, and why.
    proposal: Option<Proposal>,
    /// Where a directory was put together into one file.
    _directory: Option<TempDir>,
}

impl Source {
    /// Opens a file, whose tables become what the options and its own comments say, or a directory, whose tables stay what they are.
    ///
    /// # Errors
    /// When it cannot be read, or the options do not fit it.
    pub(crate) fn open(path: &Path, options: &AdoptOptions) -> anyhow::Result<Self> {
        if !path.is_dir() {
            let proposal = adopt::inspect(path, SHARDS, options)?;
            let schema = Schema::derive(proposal.to_schema())?;
            return Self::of(path, schema, Some(proposal), None);
        }
        if *options != AdoptOptions::default() {
            return Err(Failure::DirectoryIsDeclared.into());
        }
        let database = open_for_reading(path)?;
        let directory = tempfile::tempdir().context("make a temporary directory")?;
        let file = directory.path().join("whole.db");
        database.export(&file, &mut |_| {})?;
        let schema = Schema::clone(&database.schema());
        Self::of(&file, schema, None, Some(directory))
    }

    fn of(
        path: &Path,
        schema: Schema,
        proposal: Option<Proposal>,
        directory: Option<TempDir>,
    ) -> anyhow::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(path, flags)?;
            // All that is read is of one moment.
            connection.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")?;
            Ok(connection)
        };
        let connection = open().with_context(|| format!("read {}", path.display()))?;
        let survey = survey::survey(&connection, &schema)?;
        Ok(Self {
            connection,
            counts: survey::counts(&survey.tables),
            schema,
            survey,
            proposal,
            _directory: directory,
        })
    }

    /// Fails if there is something that cannot be brought into a cluster.
    ///
    /// # Errors
    /// [`Failure::Unfit`] with all of it.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let unfit = self.survey.unfit.clone();
        if unfit.is_empty() {
            Ok(())
        } else {
            Err(Failure::Unfit { unfit })
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What became of the tables of a plain file, and why.
    pub(crate) fn proposal(&self) -> Option<&Proposal> {
        self.proposal.as_ref()
    }

    /// The tables that can be brought into a cluster, in the order in which they are filled.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.sendings().map(|(sending, _)| sending.table)
    }

    /// What is sent of each table, in the order in which they are filled, and how many statements that is.
    pub(super) fn sendings(&self) -> impl Iterator<Item = (Sending<'_>, u64)> {
        let tables = self.survey.tables.iter();
        tables.filter_map(|surveyed| {
            let table = self.schema.table(&surveyed.name)?;
            Some((surveyed.sending(table), surveyed.batches))
        })
    }

    /// The same for a source that says the same.
    pub(super) fn digest(&self) -> &str {
        &self.survey.digest
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: &str) -> u64 {
        self.counts.get(table).copied().unwrap_or_default()
    }

    /// How many rows all tables have.
    pub(crate) fn rows(&self) -> u64 {
        self.counts.values().sum()
    }
}
