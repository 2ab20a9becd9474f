//! Reading by key in a process that only reads, while another one may move keys.
//!
//! What such a process read of an entry may be out of date when it comes to the rows. So it reads both from snapshots of
//! all places that show each move everywhere or nowhere, which costs two small reads of each shard.

use std::ops::ControlFlow;

use shardwright_store::{Batch, Row};
use shardwright_topology::ShardMap;

use super::{
    super::{Access, ReadLevel, ShardedDatabase, state::State},
    entries,
};
use crate::{
    error::Error,
    plan::{HomeKey, Homes, Purpose, Routing},
    shards::{Fragment, Place, Shards},
};

/// The home that an entry names, by its number.
pub(crate) fn home_in(
    shards: &dyn Shards,
    map: &ShardMap,
    key: &HomeKey,
) -> Result<Option<usize>, Error> {
    let entry = Place::Shard(map.index_at(key.position()));
    let mut source = shards.run(entry, &entries::question(key))?;
    let mut batch = Batch::new();
    source.next_batch(&mut batch)?;
    let Some(row) = batch.rows().next() else {
        return Ok(None);
    };
    let name = row.get(0).as_str().unwrap_or_default();
    match (0..shards.count()).find(|shard| shards.name(Place::Shard(*shard)) == name) {
        Some(shard) => Ok(Some(shard)),
        None => Err(Error::UnknownShard {
            shard: name.to_owned(),
        }),
    }
}

impl ShardedDatabase {
    /// Whether another process may move keys meanwhile.
    pub(in crate::database) fn keys_may_move(&self) -> bool {
        self.has_directory() && self.inner.shared.options.access == Access::ReadOnly
    }

    /// The level at which rows of several shards are read, where they may be read at this one.
    pub(in crate::database) fn level_of_rows(&self, level: ReadLevel) -> ReadLevel {
        if self.keys_may_move() {
            ReadLevel::Consistent
        } else {
            level
        }
    }

    /// Runs a read on the place that `place` finds, with the entries and the rows of one moment. Returns the place, and what
    /// `visit` breaks with.
    pub(in crate::database) fn visit_in_snapshots<B>(
        &self,
        state: &State,
        statement: &Fragment,
        place: impl Fn(Routing<'_>) -> Result<Place, Error>,
        mut visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Place, ControlFlow<B>), Error> {
        let shards = self.snapshots_at(ReadLevel::Consistent)?;
        let homes = Homes::new(Some(Purpose::Find));
        let look = |key: &HomeKey| home_in(&*shards, &state.map, key);
        let place = homes.plan(&state.schema, &state.map, look, place)?;
        let mut source = shards.run(place, statement)?;
        let mut batch = Batch::new();
        while source.next_batch(&mut batch)? {
            for row in batch.rows() {
                let flow = visit(&row);
                if flow.is_break() {
                    return Ok((place, flow));
                }
            }
        }
        Ok((place, ControlFlow::Continue(())))
    }
}
