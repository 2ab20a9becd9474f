//! A transfer from its beginning, or from where it was interrupted, to its end.

use std::path::{Path, PathBuf};

use super::{Journal, Progress, Source, Transfer};
use crate::{cluster::Cluster, interrupt::Interrupt, progress};

/// How a database is brought into a cluster.
pub(crate) struct Bringing<'a> {
    pub(crate) cluster: &'a Cluster,
    /// Where it is noted what the cluster has acknowledged, until everything is.
    pub(crate) journal: PathBuf,
    /// Whether it goes on with one that was interrupted.
    pub(crate) resume: bool,
}

impl Bringing<'_> {
    /// Brings all of it, and shows how far that is.
    ///
    /// # Errors
    /// As [`Transfer::run`], and when the journal says that there is another one.
    pub(crate) fn bring(self, source: &Source) -> anyhow::Result<()> {
        let interrupt = Interrupt::catch()?;
        let client = self.cluster.client()?;
        let mut journal = if self.resume {
            Journal::resume(self.journal, source)?
        } else {
            Journal::check_absent(&self.journal)?;
            let transfer = Transfer {
                source,
                client: &client,
                rows: &client,
                interrupt: &interrupt,
            };
            transfer.check_absent()?;
            Journal::begin(self.journal, source)?
        };
        let rows = self.cluster.client_named(journal.client().to_owned())?;
        let transfer = Transfer {
            source,
            client: &client,
            rows: &rows,
            interrupt: &interrupt,
        };
        let bar = progress::rows(source.rows());
        let done = transfer.run(&mut journal, &mut |Progress { doing, rows }| {
            bar.set_message(doing.to_owned());
            bar.set_position(rows);
        });
        bar.finish_and_clear();
        done?;
        Ok(journal.finish()?)
    }
}

/// Where it is written what has been acknowledged, unless said otherwise: in the current directory.
pub(crate) fn journal_path(given: Option<&Path>, source: &Path) -> PathBuf {
    given.map_or_else(
        || {
            let name = source.file_name();
            let name = name.map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_else(|| "database".to_owned());
            Path::new(".").join(format!("{name}.import-journal"))
        },
        Path::to_owned,
    )
}
