//! Files that nobody uses until they are complete: nothing of one that is not is kept.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use rusqlite::config::DbConfig;

use crate::{
    Config, Result,
    connection::{Connection, Purpose},
    create::{LEFT_BESIDE, beside, failed, sync_directory},
};

/// How much of a file is kept in memory while it is written, in KiB: indexes are written in the order of the rows, not in theirs.
const CACHE: i64 = 64 << 10;

/// Opens such a file to fill it, without a journal and without syncs. Triggers do not run, no constraint is looked at but those that an index
/// keeps, and SQLite's own tables may be written to.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    let config = Config {
        foreign_keys: false,
        ..Config::default()
    };
    let connection = Connection::open(&Arc::from(path), &config, Purpose::Write)?;
    connection.run_script(&format!(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{CACHE};
         PRAGMA ignore_check_constraints = ON"
    ))?;
    let raw = connection.raw();
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
    ] {
        let set = raw.set_db_config(setting, on);
        set.map_err(|error| connection.error(error))?;
    }
    Ok(connection)
}

/// Makes one durable that is complete.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| failed("sync", path, source))?;
    sync_directory(path)
}

/// Removes one.
pub(crate) fn remove(path: &Path) {
    for suffix in LEFT_BESIDE {
        // What remains of it says nothing, and is in nobody's way.
        let _removed = fs::remove_file(beside(path, suffix));
    }
}
