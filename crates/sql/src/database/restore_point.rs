//! Restore points: snapshots of all places that belong together.

use std::rc::Rc;

use super::{ReadLevel, ShardedDatabase};
use crate::{
    backup::{Extent, Outline},
    error::Error,
    shards::Shards,
};

impl ShardedDatabase {
    /// Snapshots of all places that show each commit everywhere or nowhere, and what they are of.
    pub(crate) fn outlined_snapshots(&self) -> Result<(Outline, Rc<dyn Shards>), Error> {
        let state = self.inner.state.load_full();
        let snapshots = self.snapshots_at(ReadLevel::Consistent)?;
        let extent = |shard: &shardwright_topology::Shard| Extent {
            id: shard.id().clone(),
            range: shard.range(),
        };
        let outline = Outline {
            shards: state.map.shards().iter().map(extent).collect(),
            schema: state.schema.stored().clone(),
            number: state.number(),
            undeclared: self.inner.shared.records.undeclared(),
        };
        Ok((outline, snapshots))
    }
}
