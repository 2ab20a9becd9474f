//! What each shard has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_store::Row;

use super::{super::ShardedDatabase, entries};
use crate::{error::Error, shards::Place};

/// What a shard has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStats {
    /// The shard.
    pub name: String,
    /// The entries of the directory that name it.
    pub keys: u64,
    /// The rows of all its tables.
    pub rows: u64,
    /// The size of its file in bytes.
    pub bytes: u64,
}

impl ShardedDatabase {
    /// What each shard has, in the order of the shards; all of it is counted.
    ///
    /// # Errors
    /// When a shard does not answer.
    #[doc(alias = "getShardStats")]
    pub fn shard_stats(&self) -> Result<Vec<ShardStats>, Error> {
        let keys = self.keys_by_shard()?;
        let listed = self
            .shards()?
            .into_iter()
            .filter(|shard| shard.start.is_some());
        let stats = listed.map(|shard| ShardStats {
            keys: keys.get(&shard.name).copied().unwrap_or(0),
            name: shard.name,
            rows: shard.rows,
            bytes: shard.bytes,
        });
        Ok(stats.collect())
    }

    /// The size of a shard in bytes.
    ///
    /// # Errors
    /// [`Error::UnknownShard`], or when it does not answer.
    #[doc(alias = "getDatabaseSizeForShard")]
    pub fn database_size_for_shard(&self, shard: &str) -> Result<u64, Error> {
        self.inner.places.size_bytes(self.place_of(shard)?)
    }

    fn keys_by_shard(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut keys = BTreeMap::new();
        if !self.has_directory() {
            return Ok(keys);
        }
        for shard in 0..self.shard_count() {
            let mut add = |row: &Row<'_>| {
                let name = row.get(0).as_str().unwrap_or_default().to_owned();
                let count = row.get(1).as_i64().map_or(0, i64::unsigned_abs);
                *keys.entry(name).or_default() += count;
                std::ops::ControlFlow::<()>::Continue(())
            };
            let places = &self.inner.places;
            let _ = places.query(Place::Shard(shard), entries::counts(), &mut add)?;
        }
        Ok(keys)
    }
}
