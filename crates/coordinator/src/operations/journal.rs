//! The journal of the leader's manager: that of the registry, and before shards become one, they are brought together.

use std::sync::Arc;

use async_trait::async_trait;
use shardwright_elastic::{Entry, Journal, JournalError, Part, Record, RegistryJournal, Version};
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{Gap, Halts, OperationId, OperationKind, ShardId, Written};

use crate::{
    Handle,
    core::{Command, Refusal},
};

/// The journal in the registry, for as long as this coordinator leads.
#[derive(Debug)]
pub(super) struct LeadersJournal {
    pub(super) registry: RegistryJournal,
    pub(super) handle: Handle,
    pub(super) halts: Halts<Gap>,
}

impl LeadersJournal {
    /// Has the members of the sources of a merge move until these are together.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] as long as they are not, [`JournalError::Apart`] if they will not be.
    async fn gather(&self, record: &Record) -> Result<(), JournalError> {
        let operation = &record.operation;
        let partition =
            |shard: &ShardId| PartitionId::new(operation.keyspace.clone(), shard.clone());
        let command = Command::Gather {
            operation: Some(operation.id.clone()),
            shards: operation.sources.iter().map(partition).collect(),
        };
        let waits = |why: String| JournalError::Unavailable(why.into());
        match self.handle.command(command).await {
            Ok(done) => {
                if done.changes > 0 {
                    self.halts.reached(operation.gap(Written::Move));
                }
                match done.operation {
                    Some(moving) => Err(waits(format!("{moving} brings the shards together"))),
                    None => Ok(()),
                }
            }
            Err(refusal) if refusal.is_retryable() || refusal == Refusal::Unconfirmed => {
                Err(waits(refusal.to_string()))
            }
            Err(refusal) => Err(JournalError::Apart {
                reason: Arc::from(refusal.to_string()),
            }),
        }
    }
}

#[async_trait]
impl Journal for LeadersJournal {
    async fn list(&self) -> Result<Vec<Entry>, JournalError> {
        self.registry.list().await
    }

    async fn get(&self, id: &OperationId) -> Result<Option<Entry>, JournalError> {
        self.registry.get(id).await
    }

    async fn is_foreign(&self, id: &OperationId) -> Result<bool, JournalError> {
        self.registry.is_foreign(id).await
    }

    async fn put(
        &self,
        record: &Record,
        expected: Option<Version>,
    ) -> Result<Version, JournalError> {
        self.registry.put(record, expected).await
    }

    async fn remove(&self, id: &OperationId, expected: Version) -> Result<(), JournalError> {
        self.registry.remove(id, expected).await
    }

    async fn orphans(&self) -> Result<Vec<OperationId>, JournalError> {
        self.registry.orphans().await
    }

    async fn forget(&self, id: &OperationId) -> Result<(), JournalError> {
        self.registry.forget(id).await
    }

    async fn shards(&self) -> Result<Vec<Part>, JournalError> {
        self.registry.shards().await
    }

    async fn is_moved_by_members(&self, shard: &ShardId) -> Result<bool, JournalError> {
        self.registry.is_moved_by_members(shard).await
    }

    async fn hold(&self, record: &Record) -> Result<(), JournalError> {
        if record.work.kind == OperationKind::Merge {
            self.gather(record).await?;
        }
        self.registry.hold(record).await
    }

    async fn resolve(&self, record: &Record) -> Result<(), JournalError> {
        self.registry.resolve(record).await
    }
}
