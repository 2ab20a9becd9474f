//! `backup restore`: a backup as a directory, or as the content of a new cluster.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use shardwright_sql::adopt::AdoptOptions;

use super::Chosen;
use crate::{
    backup::{BackupError, restore},
    client::Writing,
    cluster::Cluster,
    output,
    transfer::{Bringing, Source, journal_path},
};

/// Restore a backup into a directory, or into a cluster that is empty.
///
/// Everything of the backup is compared with its manifest first. In a directory it is a database that `sql` and `export` open, with the shards
/// that the cluster had. A cluster gets its tables, rows, indexes, views and triggers by statements, as `import` brings them, whatever shards
/// it has; it must have no table. What has been acknowledged stands in a journal, from which --resume goes on after an interruption.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright backup restore backups --into shop
  shardwright backup restore backups --name before-upgrade --node http://10.0.0.7:7561")]
pub(crate) struct Restore {
    #[command(flatten)]
    chosen: Chosen,

    /// The directory of the database, which must be empty or not exist.
    #[arg(
        long,
        value_name = "TARGET",
        required_unless_present = "node",
        conflicts_with = "node"
    )]
    into: Option<PathBuf>,

    #[command(flatten)]
    cluster: Cluster,

    /// Go on with what was interrupted.
    #[arg(long, requires = "node")]
    resume: bool,

    /// Where it is noted what the cluster has acknowledged, until everything is; by default NAME.import-journal in the current directory.
    #[arg(long, value_name = "FILE", requires = "node")]
    journal: Option<PathBuf>,
}

impl Restore {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let (path, manifest) = self.chosen.open()?;
        if let Some(into) = &self.into {
            restore(&path, &manifest, into)?;
            let name = &manifest.name;
            writeln!(out, "{name} is now in {}.", into.display())?;
            return Ok(());
        }
        if !self.resume {
            self.refuse_filled()?;
        }
        // Who opens a database leaves files beside it, which do not belong to the backup.
        let directory = tempfile::tempdir().context("make a temporary directory")?;
        let whole = directory.path().join("database");
        restore(&path, &manifest, &whole)?;
        let source = Source::open(&whole, &AdoptOptions::default())?;
        source.check()?;
        let bringing = Bringing {
            cluster: &self.cluster,
            journal: journal_path(self.journal.as_deref(), Path::new(&manifest.name)),
            resume: self.resume,
        };
        bringing.bring(&source)?;
        let rows = output::count(source.rows(), "row");
        let tables = output::count(source.tables().count() as u64, "table");
        writeln!(
            out,
            "{rows} in {tables} of {} are now in the cluster.",
            manifest.name
        )?;
        Ok(())
    }

    /// Fails if the cluster has something already.
    fn refuse_filled(&self) -> anyhow::Result<()> {
        let client = self.cluster.client()?;
        let sql = "SELECT type || ' ' || name FROM sqlite_schema ORDER BY 1 LIMIT 1";
        let reply = client.execute(sql, &[], Writing::Single)?;
        match reply.texts().next() {
            Some(mut found) => {
                let found = found.pop().unwrap_or_default();
                Err(BackupError::ClusterNotEmpty { found }.into())
            }
            None => Ok(()),
        }
    }
}
