//! Homes for keys that have none.

use shardwright_hashing::allocation::{AllocationStrategy, Candidate};
use shardwright_store::Value;

use super::super::{ShardedDatabase, state::State};
use crate::{
    error::Error,
    plan::{HomeKey, Homes, NewHome},
    schema::quote_identifier,
    shards::{Call, Place},
};

impl ShardedDatabase {
    /// Chooses the home of a key that has no entry, if new keys get entries. The entry is made with the statement.
    ///
    /// Rows of the key that were inserted when new keys got no entries keep their home.
    pub(super) fn allocate(
        &self,
        state: &State,
        homes: &Homes,
        key: &HomeKey,
        entry: usize,
    ) -> Result<Option<usize>, Error> {
        if !self.key_directory().allocation.makes_entries() {
            return Ok(None);
        }
        let shard = if self.has_rows(state, key, entry)? {
            entry
        } else {
            self.choose(key, entry)?
        };
        homes.add(NewHome {
            key: key.clone(),
            entry,
            shard,
        });
        Ok(Some(shard))
    }

    /// Whether any table of its key space has rows of a key on a shard.
    pub(super) fn has_rows(
        &self,
        state: &State,
        key: &HomeKey,
        shard: usize,
    ) -> Result<bool, Error> {
        let tables = state
            .schema
            .groups()
            .remove(&*key.space)
            .unwrap_or_default();
        let params = [key.key.clone()];
        for table in tables {
            let Some(column) = table.key_column() else {
                continue;
            };
            let sql = format!(
                "SELECT 1 FROM main.{} WHERE {} = ?1 LIMIT 1",
                quote_identifier(&table.name),
                quote_identifier(&column.name)
            );
            let places = &self.inner.places;
            let found = places.query_row(Place::Shard(shard), Call::new(&sql, &params), |_| ())?;
            if found.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn choose(&self, key: &HomeKey, by_hash: usize) -> Result<usize, Error> {
        let directory = self.key_directory();
        let allocation = &directory.allocation;
        let shards = self.shards_with_room()?;
        let strategy = allocation.strategy.for_writes();
        if strategy == AllocationStrategy::Hash && shards.contains(&by_hash) {
            return Ok(by_hash);
        }
        let candidate = |shard: &usize| {
            let name = self.inner.places.name(Place::Shard(*shard));
            Candidate {
                location: allocation.shard_locations.get(name).copied(),
            }
        };
        let candidates: Vec<Candidate> = shards.iter().map(candidate).collect();
        let mut allocator = directory.allocator.lock();
        let chosen = allocator.choose(strategy, &text_of(&key.key), &candidates);
        match chosen {
            Some(chosen) => Ok(shards[chosen]),
            None => Err(Error::NoRoom {
                shards: self.shard_count(),
                limit: allocation.max_database_size.unwrap_or_default(),
            }),
        }
    }

    /// The shards that are smaller than the limit.
    fn shards_with_room(&self) -> Result<Vec<usize>, Error> {
        let all = 0..self.shard_count();
        let Some(limit) = self.key_directory().allocation.max_database_size else {
            return Ok(all.collect());
        };
        let mut shards = Vec::new();
        for shard in all {
            if self.inner.places.size_bytes(Place::Shard(shard))? < limit {
                shards.push(shard);
            }
        }
        Ok(shards)
    }
}

/// What strategies hash of a key.
fn text_of(key: &Value) -> String {
    match key {
        Value::Null => String::new(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => format!("{value:?}"),
        Value::Text(bytes) | Value::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
