//! A shard file and its connections.

use std::{fs::File, io, path::Path, sync::Arc, time::Duration};

use crate::{
    Access, Config, Error, Holder, Identity, Reader, Result, Snapshot, Value, Writer,
    commits::Commits,
    connection::{Connection, Purpose},
    create, identity,
    pool::{Loan, Pool},
    reader::Pooled,
    session::Session,
    writer::WriterSlot,
};

/// An open shard file: one writer and several readers.
///
/// Cheap to clone; all clones share the connections, and the last one closes them. Readers see a
/// commit of this process as soon as the call that made it returns.
#[derive(Clone, Debug)]
pub struct ShardFile {
    pub(crate) shared: Arc<Shared>,
}

/// What the handles of a file share. Fields drop in this order: readers close before the writer,
/// which then moves the write-ahead log into the file and removes it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) readers: Pool<Pooled>,
    pub(crate) writer: WriterSlot,
    pub(crate) path: Arc<Path>,
    pub(crate) config: Config,
    identity: Identity,
    pub(crate) commits: Arc<Commits>,
}

impl ShardFile {
    /// Creates the file and opens it.
    ///
    /// The file appears under its name only when it is complete, and never replaces another.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] if something has that name, [`Error::Full`], [`Error::CannotOpen`] or
    /// [`Error::Io`] if it cannot be written. Nothing remains then.
    pub fn create(path: impl AsRef<Path>, identity: &Identity, config: &Config) -> Result<Self> {
        create::create(path.as_ref(), identity, config)?;
        Self::open(path, config)
    }

    /// Opens an existing file.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::NotADatabase`], [`Error::Corrupt`], [`Error::NotAShardFile`],
    /// [`Error::UnknownFormat`], [`Error::WrongIdentity`] if `config.expect` names another one,
    /// [`Error::ReadOnly`] if it should be writable and is not, and [`Error::CannotOpen`] for
    /// everything else that SQLite cannot open.
    pub fn open(path: impl AsRef<Path>, config: &Config) -> Result<Self> {
        let path: Arc<Path> = Arc::from(path.as_ref());
        match std::fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing {
                    path: path.to_path_buf(),
                });
            }
            Err(source) => {
                return Err(Error::Io {
                    action: "read",
                    path: path.to_path_buf(),
                    source,
                });
            }
        }
        let commits = Arc::new(Commits::default());
        let (writer, identity) = match config.access {
            Access::ReadWrite => {
                let connection = Connection::open(&path, config, Purpose::Write)?;
                let identity = Identity::read(&connection, &config.expect)?;
                (
                    WriterSlot::open(connection, Arc::clone(&commits))?,
                    identity,
                )
            }
            Access::ReadOnly | Access::Immutable => {
                let connection = Connection::open(&path, config, Purpose::Read)?;
                (
                    WriterSlot::none(),
                    Identity::read(&connection, &config.expect)?,
                )
            }
        };
        Ok(Self {
            shared: Arc::new(Shared {
                readers: Pool::new(config.readers),
                writer,
                path,
                config: config.clone(),
                identity,
                commits,
            }),
        })
    }

    /// Returns the path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Returns what the file says about itself.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// Lends a reader for a few reads. It goes back when it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if `config.readers` are in use for longer than `config.busy_timeout`.
    #[inline]
    pub fn reader(&self) -> Result<Reader<'_>> {
        self.shared
            .lend()
            .map(|loan| Reader::new(&self.shared, loan))
    }

    /// Begins a snapshot: everything read through it is the state of this moment.
    ///
    /// # Errors
    ///
    /// As [`ShardFile::reader`]; a snapshot counts as a reader.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::begin(Arc::clone(&self.shared))
    }

    /// Begins a snapshot as [`ShardFile::snapshot`] does, and waits for no reader.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if all readers are in use, and as [`ShardFile::snapshot`].
    pub fn snapshot_now(&self) -> Result<Snapshot> {
        let loan = self.shared.lend_within(Duration::ZERO)?;
        Snapshot::of(loan, Arc::clone(&self.shared))
    }

    /// Begins a snapshot as [`ShardFile::snapshot`] does, and waits for a reader for no longer than that.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if all readers are in use for that long, and as [`ShardFile::snapshot`].
    pub fn snapshot_within(&self, patience: Duration) -> Result<Snapshot> {
        let loan = self.shared.lend_within(patience)?;
        Snapshot::of(loan, Arc::clone(&self.shared))
    }

    /// Waits for the writer and takes it until it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`] if the file was not opened for writing, [`Error::Busy`] if somebody else
    /// has the writer for longer than `config.busy_timeout`.
    pub fn writer(&self) -> Result<Writer> {
        Writer::take(Arc::clone(&self.shared))
    }

    /// Reads one row of the file's `_meta` table.
    ///
    /// # Errors
    ///
    /// As [`ShardFile::reader`].
    pub fn meta(&self, key: &str) -> Result<Option<Value>> {
        let key = Value::from(key);
        self.reader()?
            .query_row(identity::META_SQL, std::slice::from_ref(&key), |row| {
                row.get(0).to_value()
            })
    }

    /// Closes the connections of readers that nobody uses at this moment: each takes some hundred kilobytes. The next reader opens another.
    pub fn close_idle_readers(&self) {
        self.shared.readers.clear();
    }

    /// Makes durable what was committed, where [`Config::synchronous`] is less than full.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]. What is durable is unknown then, and asking again would not tell: open the file anew.
    pub fn sync(&self) -> Result<()> {
        // SQLite locks nothing of the log itself, so opening and closing it here releases no lock of its own. What has moved from
        // the log into the file was synced before the log was used again.
        let mut path = self.shared.path.as_os_str().to_owned();
        path.push("-wal");
        match File::open(path).and_then(|log| log.sync_data()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Io {
                action: "sync the write-ahead log of",
                path: self.path().to_owned(),
                source: error,
            }),
            _ => Ok(()),
        }
    }

    /// Closes the file and removes its write-ahead log.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if clones, snapshots or the writer are still around; the file then closes when
    /// the last of them is dropped.
    pub fn close(self) -> Result<()> {
        let shared = Arc::try_unwrap(self.shared).map_err(|shared| Error::InUse {
            path: Arc::clone(&shared.path),
            handles: Arc::strong_count(&shared) - 1,
        })?;
        shared.readers.clear();
        shared.writer.close()
    }
}

impl Shared {
    /// Lends a pooled connection.
    #[inline]
    pub(crate) fn lend(&self) -> Result<Loan<Pooled>> {
        self.lend_within(self.config.busy_timeout)
    }

    fn lend_within(&self, patience: Duration) -> Result<Loan<Pooled>> {
        self.readers
            .take(patience, || self.open_reader())?
            .ok_or_else(|| self.busy(Holder::Readers))
    }

    #[cold]
    fn open_reader(&self) -> Result<Pooled> {
        let connection = Connection::open(&self.path, &self.config, Purpose::Read)?;
        Ok(Pooled::new(Session::new(
            connection,
            self.config.statement_cache,
        )))
    }

    pub(crate) fn busy(&self, holder: Holder) -> Error {
        Error::Busy {
            path: Arc::clone(&self.path),
            holder,
        }
    }

    /// Ends the kept transactions of readers that nobody uses.
    pub(crate) fn release_idle_readers(&self) {
        if self.config.snapshot_reads {
            self.readers.for_each_idle(Pooled::release);
        }
    }
}
