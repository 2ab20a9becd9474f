//! Named partitions: shards without ranges, which users create and delete.

use futures_util::{StreamExt, TryStreamExt, stream};
use shardwright_topology::{ShardId, ShardRecord};

use super::Registry;
use crate::{Error, Partitioning, Stored};

/// How many changes are on their way at once.
const PIPELINED_MAX: usize = 64;

impl Registry {
    /// Creates shards by name, which nobody holds, and returns their records. One that exists stays as it is; one that was
    /// deleted comes back, its epochs going on where they were.
    ///
    /// # Errors
    /// [`Error::NotNamed`] or [`Error::UnknownKeyspace`]: nothing changed. After any other error some may exist: call again.
    pub async fn create_partitions(
        &self,
        shards: impl IntoIterator<Item = ShardId, IntoIter: Send> + Send,
    ) -> Result<Vec<Stored<ShardRecord>>, Error> {
        self.check_named().await?;
        stream::iter(shards)
            .map(|shard| self.create_partition(shard))
            .buffered(PIPELINED_MAX)
            .try_collect()
            .await
    }

    async fn create_partition(&self, id: ShardId) -> Result<Stored<ShardRecord>, Error> {
        let new = ShardRecord::new(self.keyspace.clone(), id.clone(), None);
        let (found, created) = self.shards().create_if_absent(&id, new).await?;
        if created || found.value.revive()? == found.value {
            return Ok(found);
        }
        self.update_shard(&id, |record| Ok(record.revive()?)).await
    }

    /// Deletes shards by name, and returns their records: retired, with who has to let go of them. Again changes nothing.
    ///
    /// # Errors
    /// [`Error::NotNamed`] or [`Error::UnknownKeyspace`]: nothing changed. [`Error::UnknownShard`] if one never existed: others may be
    /// deleted.
    pub async fn delete_partitions(
        &self,
        shards: impl IntoIterator<Item = ShardId, IntoIter: Send> + Send,
    ) -> Result<Vec<Stored<ShardRecord>>, Error> {
        self.check_named().await?;
        stream::iter(shards)
            .map(async |shard| {
                self.update_shard(&shard, |record| Ok(record.retire()?))
                    .await
            })
            .buffered(PIPELINED_MAX)
            .try_collect()
            .await
    }

    async fn check_named(&self) -> Result<(), Error> {
        let keyspace = self.keyspace.clone();
        match self.keyspace().await? {
            None => Err(Error::UnknownKeyspace { keyspace }),
            Some(found) if found.value.partitioning == Partitioning::Named => Ok(()),
            Some(_) => Err(Error::NotNamed { keyspace }),
        }
    }
}
