//! Where a gathering statement finds the rows of a key.

use shardwright_store::ValueRef;

use super::execution::Execution;
use crate::{
    database::home_in,
    plan::{HomeKey, Routing},
    schema::Table,
};

impl Execution {
    /// The only shard that has rows with a value of the shard key. `None` if that cannot be found out, so that all have
    /// to be asked.
    ///
    /// Entries of a directory are read from the same snapshots as the rows.
    pub(super) fn shard_of(&self, table: &Table, value: ValueRef<'_>) -> Option<usize> {
        let (schema, map) = (&self.routing.schema, &self.routing.map);
        let look = |key: &HomeKey| home_in(&*self.shards, map, key);
        let shard = |routing: Routing<'_>| Ok(routing.shard_of(table, value));
        self.homes.plan(schema, map, look, shard).ok()
    }
}
