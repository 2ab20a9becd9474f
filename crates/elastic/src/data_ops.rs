//! The simple contract: a store of one's own that can read a whole shard, add to one, and delete one.

mod adapter;
mod gate;

use std::collections::HashMap;

use async_trait::async_trait;
use shardwright_registry::BoxError;
use shardwright_topology::ShardId;

pub(crate) use self::adapter::DataOpsStore;
pub use self::gate::WriteGuard;
use crate::ShardMetrics;

/// What a store of keys and values offers for shards to be split, merged and moved.
///
/// There is no method to write: users write as they always do, under a guard of the
/// [manager](crate::ElasticShardManager::write), which keeps a write from falling between the old shard and the new one. A write without a guard
/// makes the operation that is under way end without effect, if it happened before the shard was read for the last time, under the seal.
///
/// While an operation runs, what the shard holds is also held in memory.
#[async_trait]
pub trait ShardDataOps: Send + Sync {
    /// Returns all keys of a shard.
    async fn get_keys(&self, shard_id: &str) -> Result<Vec<String>, SplitError>;

    /// Returns all keys of a shard with their values. A shard that was never written to is empty, and no error.
    async fn get_data(&self, shard_id: &str) -> Result<HashMap<String, Vec<u8>>, SplitError>;

    /// Adds keys with their values to a shard, which is new if it has none, and replaces those that it has.
    async fn copy_data(
        &self,
        target_shard: &str,
        data: HashMap<String, Vec<u8>>,
    ) -> Result<(), SplitError>;

    /// Deletes a shard with all that it holds. One that does not exist is no error.
    async fn delete_shard(&self, shard_id: &str) -> Result<(), SplitError>;

    /// Returns how much a shard has and does.
    async fn get_metrics(&self, shard_id: &str) -> Result<ShardMetrics, SplitError>;

    /// Deletes keys of a shard, and returns whether this store can do that; it need not. If it cannot, a target from which a key has to go is
    /// deleted and filled again.
    async fn delete_keys(&self, shard_id: &str, keys: &[String]) -> Result<bool, SplitError> {
        let _ = (shard_id, keys);
        Ok(false)
    }
}

/// A store of one's own that did not do what an operation asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// There is no such shard.
    #[error("there is no shard {shard}")]
    UnknownShard {
        /// The shard.
        shard: String,
    },
    /// The store cannot be reached: the operation tries again.
    #[error("the store is not available")]
    Unavailable(#[source] BoxError),
    /// The store failed: the operation ends without effect, or tries again once it has committed.
    #[error("the store failed")]
    Failed(#[source] BoxError),
}

impl SplitError {
    /// Returns the error of a store that failed for good.
    pub fn failed(error: impl Into<BoxError>) -> Self {
        Self::Failed(error.into())
    }

    pub(crate) fn into_store_error(self, shard: &ShardId) -> crate::StoreError {
        use crate::StoreError;
        match self {
            Self::UnknownShard { .. } => StoreError::Unknown {
                shard: shard.clone(),
            },
            Self::Unavailable(source) => StoreError::Unavailable(std::sync::Arc::new(source)),
            Self::Failed(source) => StoreError::Failed(std::sync::Arc::new(source)),
        }
    }
}

#[cfg(test)]
mod tests;
