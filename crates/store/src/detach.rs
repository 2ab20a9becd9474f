//! A copy of a shard that leaves the shard: a file of its own, such as a backup keeps.

use std::{fs, ops::ControlFlow, path::Path, sync::Arc};

use crate::{
    Config, Params, Result, Snapshot, Synchronous, Value,
    aside::remove,
    connection::{Connection, Purpose},
    create::failed,
    identity,
    replica::LAYOUT_KEY,
};

impl Snapshot {
    /// Writes the state of this snapshot into a new file that is no copy of the shard: it has no place in the log, remembers no requests, and
    /// has no notes whose keys begin with one of `without_notes`. Returns its size in bytes. It is not synced.
    ///
    /// `progress` is as in [`Snapshot::copy_to`].
    ///
    /// # Errors
    ///
    /// As [`Snapshot::copy_aside`]. No file remains then.
    pub fn copy_detached(
        &self,
        path: &Path,
        without_notes: &[&str],
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<u64> {
        self.copy_aside(path, progress)?;
        let detached = detach(path, without_notes).and_then(|()| {
            let metadata = fs::metadata(path);
            metadata.map_err(|source| failed("read the size of", path, source))
        });
        let metadata = detached.inspect_err(|_| remove(path))?;
        Ok(metadata.len())
    }
}

fn detach(path: &Path, without_notes: &[&str]) -> Result<()> {
    let config = Config {
        foreign_keys: false,
        // Nothing of an unfinished file is used.
        synchronous: Synchronous::Off,
        ..Config::default()
    };
    let connection = Connection::open(&Arc::from(path), &config, Purpose::Write)?;
    connection.run_script("BEGIN IMMEDIATE; DROP TABLE main._repl; DROP TABLE main._dedup")?;
    let layout = [Value::from(LAYOUT_KEY)];
    let forget = "DELETE FROM main._meta WHERE key = ?1";
    connection.execute(forget, Params::from(&layout))?;
    identity::remove_notes(&connection, without_notes)?;
    connection.run_script("COMMIT")?;
    connection.close()
}
