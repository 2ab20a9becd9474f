//! Nodes that vouch for their copies of shards.

use shardwright_topology::{Incarnation, Member, RegisteredCopies, ShardId, ShardState};

use super::Registry;
use crate::Error;

impl Registry {
    /// Notes that a node has opened a copy of a shard, in place of any other one that it had, and returns the number of this opening: no
    /// opening on that node ever had it. Call it once the copy is durable, and before it takes part in anything.
    ///
    /// # Errors
    /// [`Error::Store`] if the store could not be reached: it is not known whether that is noted. Call it again.
    pub async fn register_copy(
        &self,
        shard: &ShardId,
        copy: &Member,
    ) -> Result<Incarnation, Error> {
        let next = |known: &RegisteredCopies| known.with_opened(shard.clone(), copy.replica_id);
        let first = next(&RegisteredCopies::none(copy.node.clone()));
        let (stored, is_first) = self.copies().create_if_absent(&copy.node, first).await?;
        if is_first {
            return Ok(stored.value.opened);
        }
        let stored = self
            .copies()
            .update(&copy.node, |known| Ok(next(known)))
            .await?;
        Ok(stored.value.opened)
    }

    /// As [`Registry::register_copy`], for a copy that was just made and holds nothing yet. `None` if its shard is no more, or owns nothing:
    /// then remove the copy, and [forget](Registry::forget_copy) it.
    ///
    /// Whoever removes the record of a shard has seen before that no copy of it is registered. So either that one is shown this copy, or
    /// the record is looked for here after it has gone: no copy is left that nobody knows of.
    ///
    /// # Errors
    /// As [`Registry::register_copy`].
    pub async fn register_new_copy(
        &self,
        shard: &ShardId,
        copy: &Member,
    ) -> Result<Option<Incarnation>, Error> {
        let opened = self.register_copy(shard, copy).await?;
        let stored = self.shards().get(shard).await?;
        let is_needed = stored.is_some_and(|stored| stored.value.state != ShardState::Retired);
        Ok(is_needed.then_some(opened))
    }

    /// Notes that a node is about to delete a copy. Call it before anything is deleted, unless the shard owns nothing any more.
    ///
    /// # Errors
    /// [`Error::Store`] if the store could not be reached: delete nothing, and call it again.
    pub async fn forget_copy(&self, shard: &ShardId, copy: &Member) -> Result<(), Error> {
        if self.copies().get(&copy.node).await?.is_none() {
            return Ok(());
        }
        let next = |known: &RegisteredCopies| Ok(known.without(shard, copy.replica_id));
        self.copies().update(&copy.node, next).await?;
        Ok(())
    }
}
