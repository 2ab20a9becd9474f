//! Copying a file while it is written to.
//!
//! The copy is made by SQLite's backup within the read transaction of a snapshot, so it is the state of
//! one moment with the position of that moment in it, whatever is committed meanwhile. A backup without a
//! read transaction would begin again with each commit, and under a load of writes never end. VACUUM INTO
//! holds a read transaction too, and for longer, because it builds every table and index anew. Until the
//! copy is complete the write-ahead log grows by what is committed; then the next checkpoint shrinks it.

use std::{
    fs::{self, File},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
};

use rusqlite::backup::{Backup, StepResult};

use crate::{
    Error, Replica, ReplicaError, Result, Snapshot,
    aside::{remove, sync},
    create::failed,
    flush::while_written,
};

/// How many pages are copied between two looks at whether to go on.
const STEP_PAGES: i32 = 1024;

/// A copy of a file, complete and on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCopy {
    /// The copy that it was made from. It has to get an id of its own, which
    /// [`ShardFile::install`](crate::ShardFile::install) gives it.
    pub source: Replica,
    /// Its size.
    pub bytes: u64,
}

impl Snapshot {
    /// Writes the state of this snapshot into a new file. `progress` is told how many pages are copied,
    /// and how many there are, and may break the copying off.
    ///
    /// # Errors
    ///
    /// [`ReplicaError::NotReplicated`], [`Error::Io`] if the file exists or cannot be made,
    /// [`Error::Interrupted`] if `progress` broke it off, and what SQLite reports. No file remains then.
    pub fn copy_to(
        &self,
        path: &Path,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<FileCopy> {
        let copy = while_written(path, || self.copy_aside(path, progress))?;
        let synced = sync(path).inspect_err(|_| remove(path));
        synced.map(|()| copy)
    }

    /// As [`Snapshot::copy_to`], for what is gone before it matters that a power failure may take it.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::copy_to`].
    pub fn copy_aside(
        &self,
        path: &Path,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<FileCopy> {
        let source = self.replica()?.ok_or(ReplicaError::NotReplicated)?;
        File::create_new(path).map_err(|source| failed("create", path, source))?;
        let copied = self.copy_pages(path, progress).and_then(|()| {
            let metadata = fs::metadata(path);
            metadata.map_err(|source| failed("read the size of", path, source))
        });
        let bytes = copied.inspect_err(|_| remove(path))?.len();
        Ok(FileCopy { source, bytes })
    }

    fn copy_pages(
        &self,
        path: &Path,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<()> {
        let shared: Arc<Path> = Arc::from(path);
        let failed = |error| Error::from_sqlite(error, &shared);
        let mut target = rusqlite::Connection::open(path).map_err(failed)?;
        // Nothing of an unfinished copy is used, so it needs neither a journal nor to be synced on the way.
        target
            .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
            .map_err(failed)?;
        let backup = Backup::new(self.connection().raw(), &mut target).map_err(failed)?;
        loop {
            let step = backup.step(STEP_PAGES).map_err(failed)?;
            let pages = backup.progress();
            let total = u64::try_from(pages.pagecount).unwrap_or(0);
            let left = u64::try_from(pages.remaining).unwrap_or(0);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(self.busy()),
            }
            if progress(total - left, total).is_break() {
                return Err(Error::Interrupted);
            }
        }
        drop(backup);
        target.close().map_err(|(_, error)| failed(error))
    }
}
