//! Entries of the directory, as rows.

use serde::{Deserialize, Serialize};
use shardwright_store::{Row, Value};

use super::super::{journal::Step, lookup_keys};
use crate::{
    error::Error,
    plan::{HomeKey, NewHome},
    shards::{Call, Fragment, Place, Places},
};

/// The table of entries, on every shard. No type, so that keys stay as they are.
pub(super) const TABLE: &str = "_directory";

/// What a shard has for the directory.
pub(crate) const TABLES: [&str; 3] = {
    let [lookup, lookup_of] = lookup_keys::TABLES;
    [CREATE, lookup, lookup_of]
};

const CREATE: &str =
    "CREATE TABLE IF NOT EXISTS _directory(space TEXT NOT NULL, key NOT NULL, shard TEXT NOT NULL,
    version INTEGER NOT NULL, PRIMARY KEY(space, key)) WITHOUT ROWID";

const FIND: &str = "SELECT shard FROM main._directory WHERE space = ?1 AND key = ?2";

/// Makes an entry, unless there is one.
pub(crate) const PUT: &str =
    "INSERT INTO main._directory(space, key, shard, version) VALUES (?1, ?2, ?3, 1)
    ON CONFLICT DO NOTHING";

const SET: &str = "INSERT INTO main._directory(space, key, shard, version) VALUES (?1, ?2, ?3, 1)
    ON CONFLICT DO UPDATE SET shard = excluded.shard, version = version + 1";

const REMOVE: &str = "DELETE FROM main._directory WHERE space = ?1 AND key = ?2";

const COUNTS: &str = "SELECT shard, count(*) FROM main._directory GROUP BY shard";

const ALL: &str = "SELECT space, key, shard, version FROM main._directory ORDER BY space, key";

/// An entry of the directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// The key space: the name of its root table.
    pub space: String,
    /// The key, in its canonical form: equal keys look the same.
    pub key: Value,
    /// The shard of the key's rows.
    pub shard: String,
    /// How often the entry has been written, from 1.
    pub version: u64,
}

/// Makes the table on every shard. It is on the first shard once it is on all.
pub(super) fn create(places: &dyn Places) -> Result<(), Error> {
    if are_in(places)? {
        return Ok(());
    }
    for shard in (0..places.count()).rev() {
        let unit = TABLES.map(|sql| Call::new(sql, ()));
        places.write(Place::Shard(shard), &unit)?;
    }
    Ok(())
}

/// Whether there are tables of entries.
pub(super) fn are_in(places: &dyn Places) -> Result<bool, Error> {
    let look = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_directory'";
    let found = places.query_row(Place::Shard(0), Call::new(look, ()), |_| ())?;
    Ok(found.is_some())
}

fn of_key(key: &HomeKey) -> [Value; 2] {
    [Value::from(&*key.space), key.key.clone()]
}

/// Reads the name of a key's home.
pub(super) fn find(
    places: &dyn Places,
    entry: usize,
    key: &HomeKey,
) -> Result<Option<String>, Error> {
    let params = of_key(key);
    let name = |row: &Row<'_>| row.get(0).as_str().map(str::to_owned);
    let found = places.query_row(Place::Shard(entry), Call::new(FIND, &params), name)?;
    Ok(found.flatten())
}

/// The statement that reads the name of a key's home.
pub(super) fn question(key: &HomeKey) -> Fragment {
    Fragment::new(FIND, of_key(key).to_vec())
}

/// The statement that makes an entry, unless there is one.
pub(super) fn put(new: &NewHome, shard: &str) -> Step {
    let [space, key] = of_key(&new.key);
    Step::bound(&Fragment::new(PUT, vec![space, key, Value::from(shard)]))
}

/// The statement that makes or changes an entry.
pub(super) fn set(key: &HomeKey, shard: &str) -> Fragment {
    let [space, key] = of_key(key);
    Fragment::new(SET, vec![space, key, Value::from(shard)])
}

/// The statement that removes an entry.
pub(super) fn remove(key: &HomeKey) -> Step {
    Step::bound(&Fragment::new(REMOVE, of_key(key).to_vec()))
}

/// The statement that counts the entries of a shard by the homes that they name.
pub(super) fn counts() -> Call<'static> {
    Call::new(COUNTS, ())
}

/// The statement that reads all entries of a shard.
pub(super) fn all() -> Call<'static> {
    Call::new(ALL, ())
}

/// The entry that a row of that statement is.
pub(super) fn entry_of(row: &Row<'_>) -> DirectoryEntry {
    let text = |column: usize| row.get(column).as_str().unwrap_or_default().to_owned();
    DirectoryEntry {
        space: text(0),
        key: row.get(1).to_value(),
        shard: text(2),
        version: row.get(3).as_i64().map_or(0, i64::unsigned_abs),
    }
}
