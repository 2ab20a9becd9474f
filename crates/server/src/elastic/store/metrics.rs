//! What shards have and do, asked of each node once for all that it has the primaries of.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_elastic::{ShardMetrics, StoreError};
use shardwright_topology::{NodeId, ShardId};

use super::{ClusterStore, Failure, unexpected};
use crate::elastic::wire::{Answer, Refusal, Said};

impl ClusterStore {
    /// Asks every node once. A shard whose primary has moved is told of as unavailable: the next question goes to the right node.
    pub(super) async fn metrics_by_node(
        &self,
        shards: &[ShardId],
    ) -> Vec<Result<ShardMetrics, StoreError>> {
        self.find_primaries(shards).await;
        let mut by_node: BTreeMap<NodeId, Vec<ShardId>> = BTreeMap::new();
        for shard in shards {
            if let Some(node) = self.known().get(shard).cloned() {
                by_node.entry(node).or_default().push(shard.clone());
            }
        }
        let asked = by_node.into_iter().map(async |(node, shards)| {
            let answers = self.ask_node(&node, &shards).await;
            shards.into_iter().zip(answers)
        });
        let answers = join_all(asked).await.into_iter().flatten();
        let mut answers: BTreeMap<ShardId, Result<Said, Failure>> = answers.collect();
        let metrics = shards.iter().map(|shard| {
            let nobody = || Err(Failure::Lost("nobody is the primary of the shard".into()));
            let said = answers.remove(shard).unwrap_or_else(nobody);
            said.and_then(metrics_in)
                .map_err(|error| error.of(shard, None))
        });
        metrics.collect()
    }

    /// Reads the records of all shards at once, if of some it is not known who has their primaries.
    async fn find_primaries(&self, shards: &[ShardId]) {
        let is_known = {
            let known = self.known();
            shards.iter().all(|shard| known.contains_key(shard))
        };
        if is_known {
            return;
        }
        // Whatever is not found now is the next time.
        let Ok(records) = self.members.registry().shards().list().await else {
            return;
        };
        for record in records.into_iter().map(|stored| stored.value) {
            let primary = record.primary().cloned();
            self.remember(&record.id, primary);
        }
    }

    async fn ask_node(&self, node: &NodeId, shards: &[ShardId]) -> Vec<Result<Said, Failure>> {
        let keyspace = &self.keyspace;
        let ids = shards.iter();
        let ids = ids.map(|shard| PartitionId::new(keyspace.clone(), shard.clone()));
        let ids: Vec<_> = ids.collect();
        match self.members.metrics_of(node, &ids).await {
            Ok(answers) if answers.len() == shards.len() => {
                let answers = shards.iter().zip(answers);
                let taken = answers.map(|(shard, answer)| self.taken(node, shard, answer));
                taken.collect()
            }
            Ok(_) => shards.iter().map(|_| Err(not_said(node))).collect(),
            Err(error) => {
                let error = Arc::new(error);
                let failed = shards.iter().map(|shard| {
                    self.remember(shard, None);
                    Err(Failure::Lost(error.to_string().into()))
                });
                failed.collect()
            }
        }
    }

    fn taken(&self, node: &NodeId, shard: &ShardId, answer: Answer) -> Result<Said, Failure> {
        if let Err(Refusal::NotPrimary { hint }) = &answer {
            self.remember(shard, hint.clone().filter(|hint| hint != node));
        }
        answer.map_err(Failure::Refused)
    }
}

fn not_said(node: &NodeId) -> Failure {
    Failure::Lost(format!("{node} does not say what its shards do").into())
}

/// Returns what a node has measured.
pub(super) fn metrics_in(said: Said) -> Result<ShardMetrics, Failure> {
    match said {
        Said::Metrics {
            bytes,
            rows,
            reads,
            writes,
            cpu,
        } => Ok(ShardMetrics {
            cpu_usage: cpu,
            storage_bytes: bytes,
            request_rate: reads + writes,
            key_count: usize::try_from(rows).unwrap_or(usize::MAX),
            read_rate: reads,
            write_rate: writes,
            // What SQLite and the system keep in memory of a file is not told apart from that of others.
            memory_usage: 0.0,
        }),
        said => Err(unexpected(&said)),
    }
}
