//! Adds and removes partitions: each is one change of one record.

use std::collections::BTreeSet;

use shardwright_rebalancer::PartitionId;
use shardwright_registry::{Registry, Revision};
use shardwright_topology::ShardId;

use super::{Driver, Heard};
use crate::{
    core::{Done, Refusal, Settings},
    handle::Answer,
};

/// What is done with partitions.
#[derive(Debug, Clone, Copy)]
enum Change {
    Create,
    Delete,
}

impl Driver {
    pub(super) fn add_partitions(
        &self,
        ids: Vec<ShardId>,
        replicas: Option<u32>,
        answer: Answer<Done>,
    ) {
        let known = |id: &ShardId| self.core.has_shard(&partition(id));
        let existing: Vec<_> = ids.iter().filter(|id| known(id)).cloned().collect();
        let refusal = self.refusal(&ids).or_else(|| {
            let is_other = replicas.is_some_and(|replicas| replicas != self.settings.replicas);
            let copies = self.settings.replicas;
            if is_other {
                return Some(Refusal::Copies { copies });
            }
            (!existing.is_empty()).then_some(Refusal::Exists { ids: existing })
        });
        self.change(ids, refusal, answer, Change::Create);
    }

    pub(super) fn remove_partitions(&self, ids: Vec<ShardId>, answer: Answer<Done>) {
        let known = |id: &ShardId| self.core.has_shard(&partition(id));
        let unknown: Vec<_> = ids.iter().filter(|id| !known(id)).cloned().collect();
        let refusal = self.refusal(&ids).or_else(|| {
            (!unknown.is_empty()).then_some(Refusal::UnknownPartitions { ids: unknown })
        });
        self.change(ids, refusal, answer, Change::Delete);
    }

    /// Why nobody may change partitions now, whichever they are.
    fn refusal(&self, ids: &[ShardId]) -> Option<Refusal> {
        if !self.core.is_leading(self.clock.now()) {
            let leader = self.core.leader();
            return Some(Refusal::NotLeader { leader });
        }
        let mut seen = BTreeSet::new();
        let twice = ids.iter().find(|id| !seen.insert(*id));
        twice.map(|id| Refusal::Twice { id: id.clone() })
    }

    fn change(
        &self,
        ids: Vec<ShardId>,
        refusal: Option<Refusal>,
        answer: Answer<Done>,
        change: Change,
    ) {
        if let Some(refusal) = refusal {
            // Who asked may have gone away.
            let _sent = answer.send(Err(refusal));
            return;
        }
        let registry = Registry::new(self.store.clone(), Settings::partitions());
        let heard = self.heard.clone();
        tokio::spawn(async move {
            let changed = match change {
                Change::Create => registry.create_partitions(ids).await,
                Change::Delete => registry.delete_partitions(ids).await,
            };
            match changed {
                Ok(records) => {
                    let revisions = records.iter().map(|stored| stored.revision);
                    let changes = records.len();
                    let revision = revisions.max().unwrap_or(Revision(0));
                    let done = Done::with(changes);
                    let _sent = heard.send(Heard::Partitions {
                        revision,
                        done,
                        answer,
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "partitions could not be changed");
                    let _sent = answer.send(Err(Refusal::Unconfirmed));
                }
            }
        });
    }
}

fn partition(id: &ShardId) -> PartitionId {
    PartitionId::new(Settings::partitions(), id.clone())
}
