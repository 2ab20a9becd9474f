//! A part of a file's rows as a file of its own.
//!
//! The whole is copied page by page, and of this copy what belongs to a part is written into a file of its own. Rowids stay as they are, those
//! that no column shows too: later changes of the whole name rows by them.

mod cut;

use std::{
    fs::{self, File},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::cut::cut;
use crate::{
    Config, Determinism, Digest, Entry, Function, Result, Scrub, ShardFile, Snapshot, Value,
    ValueRef,
    aside::{remove, sync},
    create::{LEFT_BESIDE, beside, failed},
    flush::while_written,
};

/// Which rows are a part.
pub struct Part<'p> {
    /// The place that the new file holds.
    pub place: &'p str,
    /// The tables whose rows are divided, each with the column that decides. Of other tables the part has all rows.
    pub divided: &'p [DividedTable],
    /// Says of a value in the column of a table, which is given by its place among those, whether the row belongs to the part.
    pub keeps: Arc<Keeps>,
    /// What the keys of notes begin with that it does not have: any of these.
    pub without_notes: &'p [&'p str],
    /// Says what it remembers of a request of which the whole remembers that outcome; `None` for nothing.
    pub remembers: &'p dyn Fn(&[u8]) -> Option<Vec<u8>>,
    /// Outcomes that it remembers besides.
    pub entries: &'p [Entry<'p>],
}

/// Whether the row of a table that has that value in the column that decides belongs to a part.
pub type Keeps = dyn Fn(usize, ValueRef<'_>) -> bool + Send + Sync;

/// The function that SQL calls it by.
const KEEPS: &str = "shardwright_keeps";

/// A table whose rows are divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DividedTable {
    /// Its name.
    pub name: String,
    /// The column that decides.
    pub column: String,
}

/// A part that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartCopy {
    /// What it holds. Parts that were made alike of equal files have the same.
    pub digest: Digest,
    /// How many rows that are.
    pub rows: u64,
}

impl std::fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part")
            .field("place", &self.place)
            .field("divided", &self.divided)
            .finish_non_exhaustive()
    }
}

/// A whole file, parts of which are to be written. It is removed with this.
#[derive(Debug)]
pub struct Whole {
    path: PathBuf,
}

impl Snapshot {
    /// Writes what this snapshot shows into a new file, for parts to be made of. The snapshot is not needed any more then: to make them takes
    /// long, and meanwhile the write-ahead log would grow.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::copy_to`].
    pub fn whole_to(
        &self,
        path: &Path,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Whole> {
        // It does not outlive the process, so it is not synced: most of it never has to reach the disk.
        self.copy_aside(path, progress)?;
        let path = path.to_owned();
        Ok(Whole { path })
    }
}

impl Whole {
    /// Writes a part into a new file, which is no copy of anything yet: [`ShardFile::install_at`] makes it one.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::copy_to`]: also if a divided table is not there. No file remains then.
    pub fn part_to(&self, path: &Path, part: &Part<'_>) -> Result<PartCopy> {
        File::create_new(path).map_err(|source| failed("create", path, source))?;
        let made = while_written(path, || cut(&self.path, path, part))
            .and_then(|()| sync(path))
            .and_then(|()| digest(path));
        made.inspect_err(|_| remove(path))
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// The function of SQL that picks the rows of a part.
fn keeps_function(part: &Part<'_>) -> Function {
    let keeps = Arc::clone(&part.keeps);
    Function::new(KEEPS, 2, Determinism::Deterministic, move |arguments| {
        let table = arguments[0]
            .as_i64()
            .and_then(|table| usize::try_from(table).ok());
        let table = table.ok_or("the first argument is the number of a table")?;
        Ok(Value::Integer(i64::from(keeps(table, arguments[1]))))
    })
}

fn digest(path: &Path) -> Result<PartCopy> {
    let file = ShardFile::open(path, &Config::default())?;
    let mut scrub = Scrub::new(file.snapshot()?)?;
    loop {
        if let Some(scrubbed) = scrub.slice(u64::MAX)? {
            drop(scrub);
            file.close()?;
            // Readers alone remove nothing when they close, and nothing was written.
            for suffix in LEFT_BESIDE.iter().filter(|suffix| !suffix.is_empty()) {
                let _removed = fs::remove_file(beside(path, suffix));
            }
            return Ok(PartCopy {
                digest: scrubbed.digest,
                rows: scrubbed.rows,
            });
        }
    }
}
