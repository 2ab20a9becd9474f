//! Putting a received copy in the place of a file.

use std::{
    fs::{self, File},
    io::{self, BufWriter, IntoInnerError, Read},
    path::Path,
    sync::Arc,
};

use crate::{
    Access, Config, Error, Holder, Params, Replica, ReplicaError, Result, ShardFile, Synchronous,
    Thoroughness, Writer,
    connection::{Connection, Purpose},
    create::{LEFT_BESIDE, beside, failed, sync_directory},
    flush::while_written,
};

/// How much of what is received is written at once, in bytes.
const RECEIVED_AT_ONCE: usize = 1 << 18;

impl ShardFile {
    /// Writes a copy that is received into a file, in place of what may be there, for [`ShardFile::install`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: what is there is not complete.
    pub fn receive(content: &mut dyn Read, path: &Path) -> Result<()> {
        let mut write = || {
            let mut file = BufWriter::with_capacity(RECEIVED_AT_ONCE, File::create(path)?);
            io::copy(content, &mut file)?;
            file.into_inner()
                .map(drop)
                .map_err(IntoInnerError::into_error)
        };
        let failed = |source| failed("write the copy", path, source);
        while_written(path, || write().map_err(failed))
    }

    /// Gives the file at `received` an id of its own as a copy, puts it in the place of the file at
    /// `path`, if there is one, and opens it there.
    ///
    /// The received file is checked first. Whenever the process dies, `path` has either the old file or
    /// the new one afterwards, complete. Only if the old one was too damaged to be closed in good order,
    /// there may be none. Close the old file before; `received` must be on the same file system.
    ///
    /// # Errors
    ///
    /// As [`ShardFile::open`] for the received file, [`Error::Corrupt`] if it is damaged,
    /// [`ReplicaError::NotReplicated`] if it is no copy of a shard, [`Error::Busy`] if the old file is in
    /// use, and [`Error::Io`]. The old file stays then, unless only the last sync failed.
    pub fn install(
        received: impl AsRef<Path>,
        path: impl AsRef<Path>,
        id: &[u8; 16],
        config: &Config,
    ) -> Result<Self> {
        let set_id = |writer: &mut Writer| writer.set_replica_id(id);
        put_in_place(received.as_ref(), path.as_ref(), config, set_id)
    }

    /// As [`ShardFile::install`], and has the file stand at another place, in the log of another shard.
    ///
    /// # Errors
    ///
    /// As [`ShardFile::install`].
    pub fn install_at(
        received: impl AsRef<Path>,
        path: impl AsRef<Path>,
        replica: &Replica,
        config: &Config,
    ) -> Result<Self> {
        let start = |writer: &mut Writer| writer.start_replica(replica);
        put_in_place(received.as_ref(), path.as_ref(), config, start)
    }
}

fn put_in_place(
    received: &Path,
    path: &Path,
    config: &Config,
    become_copy: impl FnOnce(&mut Writer) -> Result<()>,
) -> Result<ShardFile> {
    prepare(received, config, become_copy)?;
    retire(path, config)?;
    fs::rename(received, path).map_err(|source| failed("rename", received, source))?;
    sync_directory(path)?;
    ShardFile::open(path, config)
}

/// Checks a received file, makes it the copy that it is to be, and puts it on disk as one file.
fn prepare(
    received: &Path,
    config: &Config,
    become_copy: impl FnOnce(&mut Writer) -> Result<()>,
) -> Result<()> {
    let config = Config {
        access: Access::ReadWrite,
        synchronous: Synchronous::Full,
        setup_sql: String::new(),
        ..config.clone()
    };
    let file = ShardFile::open(received, &config)?;
    if file.replica()?.is_none() {
        return Err(ReplicaError::NotReplicated.into());
    }
    if let Some(problem) = file.snapshot()?.check(Thoroughness::Quick)?.pop() {
        return Err(Error::Corrupt {
            path: Arc::from(received),
            message: problem,
        });
    }
    become_copy(&mut file.writer()?)?;
    file.close()?;
    in_use_if_logged(received)?;
    File::open(received)
        .and_then(|file| file.sync_all())
        .map_err(|source| failed("sync", received, source))
}

/// Makes the old file one whose name can be taken: no write-ahead log may remain that SQLite would play
/// into the new file.
fn retire(path: &Path, config: &Config) -> Result<()> {
    if !path.exists() {
        return remove_beside(path);
    }
    match settle(path, config) {
        Ok(()) => in_use_if_logged(path)?,
        Err(Error::Corrupt { .. } | Error::NotADatabase { .. } | Error::Disk { .. }) => {
            // Its log cannot be moved into it, so without its log it must not stay.
            remove(path)?;
            sync_directory(path)?;
        }
        Err(error) => return Err(error),
    }
    remove_beside(path)
}

/// Moves the write-ahead log into the file and removes it.
fn settle(path: &Path, config: &Config) -> Result<()> {
    let config = Config {
        access: Access::ReadWrite,
        synchronous: Synchronous::Full,
        functions: Vec::new(),
        setup_sql: String::new(),
        ..config.clone()
    };
    let connection = Connection::open(&Arc::from(path), &config, Purpose::Write)?;
    let _moved = connection.query("PRAGMA main.wal_checkpoint(TRUNCATE)", Params::NONE, |_| {
        std::ops::ControlFlow::<()>::Continue(())
    })?;
    connection.close()
}

/// The last connection to close a file removes its log. A log that remains belongs to another one.
fn in_use_if_logged(path: &Path) -> Result<()> {
    match beside(path, "-wal").exists() {
        true => Err(Error::Busy {
            path: Arc::from(path),
            holder: Holder::Lock,
        }),
        false => Ok(()),
    }
}

fn remove_beside(path: &Path) -> Result<()> {
    for suffix in &LEFT_BESIDE[1..] {
        remove(&beside(path, suffix))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", path, source))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
