//! The keys of all files, and the file of each. They are kept in a temporary file of SQLite's, so that any number fits.

use rusqlite::{Connection, params};
use shardwright_store::Value;

use super::{Problem, ShardSource};
use crate::{
    database::{own_value, sqlite_value},
    error::Error,
    key::CanonicalKey,
    plan::HomeKey,
};

const TABLES: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
    CREATE TABLE keys(space TEXT, key, home INTEGER, owner INTEGER, PRIMARY KEY(space, key)) WITHOUT ROWID;
    CREATE TABLE twins(space TEXT, key, first INTEGER, second INTEGER)";

/// The keys of all files.
#[derive(Debug)]
pub(super) struct KeySet {
    sqlite: Connection,
    shards: u32,
}

impl KeySet {
    pub(super) fn new(shards: usize) -> Result<Self, Error> {
        let sqlite = Connection::open("").map_err(Error::from_sqlite)?;
        sqlite.execute_batch(TABLES).map_err(Error::from_sqlite)?;
        Ok(Self {
            sqlite,
            shards: u32::try_from(shards).unwrap_or(u32::MAX),
        })
    }

    /// Notes that rows of a key are in the file of a shard.
    pub(super) fn add(&self, key: &HomeKey, home: usize) -> rusqlite::Result<()> {
        let (space, value) = (&*key.space, sqlite_value(&key.key));
        let owner = key.position().equal_range(self.shards);
        let put = "INSERT INTO keys VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        let mut put = self.sqlite.prepare_cached(put)?;
        if put.execute(params![space, value, home as i64, owner])? == 0 {
            let twin = "INSERT INTO twins SELECT space, key, home, ?3 FROM keys
                WHERE space = ?1 AND key = ?2 AND home <> ?3";
            let mut twin = self.sqlite.prepare_cached(twin)?;
            twin.execute(params![space, value, home as i64])?;
        }
        Ok(())
    }

    /// How many keys are elsewhere than their hash says.
    pub(super) fn entries(&self) -> Result<u64, Error> {
        let count = "SELECT count(*) FROM keys WHERE home <> owner";
        self.sqlite
            .query_row(count, (), |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
            .map_err(Error::from_sqlite)
    }

    /// Visits the keys whose hash says this shard and whose rows are in another.
    pub(super) fn visit_entries(
        &self,
        owner: usize,
        mut visit: impl FnMut(&str, &Value, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let sql = "SELECT space, key, home FROM keys WHERE owner = ?1 AND home <> ?1";
        let mut statement = self.sqlite.prepare(sql).map_err(Error::from_sqlite)?;
        let mut rows = statement
            .query([owner as i64])
            .map_err(Error::from_sqlite)?;
        while let Some(row) = rows.next().map_err(Error::from_sqlite)? {
            let read = || {
                let key = own_value(row.get_ref(1)?);
                Ok((row.get::<_, String>(0)?, key, row.get::<_, i64>(2)?))
            };
            let (space, key, home) = read().map_err(Error::from_sqlite)?;
            visit(&space, &key, usize::try_from(home).unwrap_or_default())?;
        }
        Ok(())
    }

    /// The keys that are in several files, by key space and files.
    pub(super) fn twins(&self, shards: &[ShardSource]) -> Result<Vec<Problem>, Error> {
        let sql = "SELECT space, first, second, count(DISTINCT key), min(key) FROM twins GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
        let name = |index: i64| {
            let index = usize::try_from(index).unwrap_or_default();
            shards[index].name.clone()
        };
        let read = || {
            let mut statement = self.sqlite.prepare(sql)?;
            let twins = statement.query_map((), |row| {
                let example: Value = own_value(row.get_ref(4)?);
                Ok(Problem::SameKeys {
                    space: row.get(0)?,
                    first: name(row.get(1)?),
                    second: name(row.get(2)?),
                    keys: row.get::<_, i64>(3)?.unsigned_abs(),
                    example: CanonicalKey::of_canonical(example.as_ref()).to_string(),
                })
            })?;
            twins.collect::<rusqlite::Result<_>>()
        };
        read().map_err(Error::from_sqlite)
    }
}
