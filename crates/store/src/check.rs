//! Whether a file is sound, and how large it is.

use std::{fs, io, ops::ControlFlow, path::PathBuf};

use crate::{Error, Result, ShardFile, Snapshot, Writer, checkpoint::run_checkpoint};

/// How thoroughly a file is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughness {
    /// Reads every page once: structure, NOT NULL and CHECK.
    Quick,
    /// Compares each index with its table and each UNIQUE constraint too.
    Full,
}

/// How far a checkpoint goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Moves the pages that nobody needs in the log any more, and waits for nobody.
    Passive,
    /// Waits for readers of old states, moves all pages, and cuts the log to nothing.
    Truncate,
}

/// What a checkpoint did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointed {
    /// Whether it went as far as it should have. If not, readers were in the way; try again.
    pub complete: bool,
    /// The pages that are still in the log.
    pub pages_left: u64,
}

/// A row whose foreign key has no parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The table of the row.
    pub table: String,
    /// Its rowid, unless the table has none.
    pub rowid: Option<i64>,
    /// The table that lacks the parent.
    pub parent: String,
}

impl Snapshot {
    /// Checks the file and returns SQLite's description of each problem; none if it is sound.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the file is too damaged to be checked.
    pub fn check(&self, thoroughness: Thoroughness) -> Result<Vec<String>> {
        let sql = match thoroughness {
            Thoroughness::Quick => "PRAGMA main.quick_check",
            Thoroughness::Full => "PRAGMA main.integrity_check",
        };
        let mut problems = Vec::new();
        let _all = self.query(sql, (), |row| {
            let problem = row.get(0).as_bytes().unwrap_or_default();
            problems.push(String::from_utf8_lossy(problem).into_owned());
            ControlFlow::<()>::Continue(())
        })?;
        problems.retain(|problem| problem != "ok");
        Ok(problems)
    }

    /// Finds the rows whose foreign keys have no parent.
    ///
    /// # Errors
    ///
    /// What SQLite reports, such as a parent table that does not exist.
    pub fn orphans(&self) -> Result<Vec<Orphan>> {
        let mut orphans = Vec::new();
        let _all = self.query("PRAGMA main.foreign_key_check", (), |row| {
            orphans.push(Orphan {
                table: row.get(0).as_str().unwrap_or_default().to_owned(),
                rowid: row.get(1).as_i64(),
                parent: row.get(2).as_str().unwrap_or_default().to_owned(),
            });
            ControlFlow::<()>::Continue(())
        })?;
        Ok(orphans)
    }
}

impl Writer {
    /// Moves pages of the write-ahead log into the file.
    ///
    /// # Errors
    ///
    /// What SQLite reports, and [`Error::Sql`] inside a transaction.
    pub fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<Checkpointed> {
        self.release_idle_readers();
        let logged = run_checkpoint(self.connection(), checkpoint)?;
        let [log, moved] = [logged.pages, logged.moved].map(Option::unwrap_or_default);
        let pages_left = u64::from(log.saturating_sub(moved));
        Ok(Checkpointed {
            complete: !logged.busy && pages_left == 0,
            pages_left,
        })
    }
}

impl ShardFile {
    /// Moves pages of the write-ahead log into the file, once the writer is free.
    ///
    /// # Errors
    ///
    /// As [`ShardFile::writer`] and [`Writer::checkpoint`].
    pub fn checkpoint(&self, checkpoint: Checkpoint) -> Result<Checkpointed> {
        self.writer()?.checkpoint(checkpoint)
    }

    /// Returns the bytes that the file and its write-ahead log take on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the operating system does not tell.
    pub fn size_bytes(&self) -> Result<u64> {
        let size = |path: PathBuf| match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(Error::Io {
                action: "read the size of",
                path,
                source,
            }),
        };
        let mut log = self.path().as_os_str().to_owned();
        log.push("-wal");
        Ok(size(self.path().to_path_buf())? + size(PathBuf::from(log))?)
    }
}
