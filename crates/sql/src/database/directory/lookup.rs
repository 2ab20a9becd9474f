//! Finding the homes of keys.

use std::ops::ControlFlow;

use super::{
    super::{Access, ShardedDatabase, state::State},
    DirectoryEntry, entries,
};
use crate::{
    error::Error,
    plan::{HomeKey, Homes, Purpose, Routing},
    shards::Place,
};

impl ShardedDatabase {
    /// Plans with the homes of all keys that the plan asks about.
    pub(in crate::database) fn route<T>(
        &self,
        state: &State,
        homes: &Homes,
        make: impl Fn(Routing<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let look = |key: &HomeKey| self.home_of(state, homes, key);
        homes.plan(&state.schema, &state.map, look, make)
    }

    /// As [`ShardedDatabase::route`], for statements that insert nothing.
    pub(in crate::database) fn find_route<T>(
        &self,
        state: &State,
        make: impl Fn(Routing<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.route(state, &Homes::new(self.purpose(Purpose::Find)), make)
    }

    fn home_of(&self, state: &State, homes: &Homes, key: &HomeKey) -> Result<Option<usize>, Error> {
        let own = self.within().and_then(|own| own.lock().home_of(key));
        if own.is_some() {
            return Ok(own);
        }
        let entry = state.map.index_at(key.position());
        match self.entry_of(entry, key)? {
            None if homes.allocates() => self.allocate(state, homes, key, entry),
            home => Ok(home),
        }
    }

    /// The home that an entry names, from memory if it is known there.
    fn entry_of(&self, entry: usize, key: &HomeKey) -> Result<Option<usize>, Error> {
        let directory = self.key_directory();
        let is_writer = self.inner.shared.options.access == Access::ReadWrite;
        let mut cache = directory.cache.lock();
        if is_writer && let Some(home) = cache.find(key) {
            return Ok(home);
        }
        let version = cache.version();
        drop(cache);
        // Nobody moves a key meanwhile, so that a transaction needs not hold the shard for that.
        let name = entries::find(&*self.base().inner.places, entry, key)?;
        let home = name.map(|name| self.index_of(&name)).transpose()?;
        if is_writer {
            directory.cache.lock().keep(version, key, home);
        }
        Ok(home)
    }

    /// The number of a shard that an entry names.
    pub(super) fn index_of(&self, shard: &str) -> Result<usize, Error> {
        match self.place_of(shard)? {
            Place::Shard(index) => Ok(index),
            Place::Catalog => Err(Error::UnknownShard {
                shard: shard.to_owned(),
            }),
        }
    }

    /// Shows every entry of the directory to `visit`, until that breaks: shard by shard, each in the order of its key
    /// spaces and keys.
    ///
    /// # Errors
    /// When a shard does not answer.
    #[doc(alias = "getKeysForShard")]
    pub fn visit_directory<B>(
        &self,
        mut visit: impl FnMut(DirectoryEntry) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        if !self.has_directory() {
            return Ok(ControlFlow::Continue(()));
        }
        let places = &self.inner.places;
        for shard in 0..places.count() {
            let show = |row: &shardwright_store::Row<'_>| visit(entries::entry_of(row));
            if let ControlFlow::Break(found) =
                places.query(Place::Shard(shard), entries::all(), show)?
            {
                return Ok(ControlFlow::Break(found));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
