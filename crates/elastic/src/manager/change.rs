//! Splits, merges and moves on demand, and what is refused.

use std::collections::BTreeSet;

use rand::RngCore;
use shardwright_topology::{NodeId, OperationId, OperationKind, Phase, ShardId};

use super::{ElasticShardManager, Inner};
use crate::{Cut, Error, Extent, Part, Record, Work};

/// Where a shard is divided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SplitAt {
    /// So that each part has half of the keys.
    #[default]
    Median,
    /// So that each part owns half of the positions, or what is below and above the middle of the interval.
    Middle,
    /// At a key: it is the first of the second part.
    Key(Vec<u8>),
    /// At a cut.
    Cut(Cut),
}

/// Whether the sizes of shards are looked at. What would lose keys is refused in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gating {
    /// Shards that are too small are not split, shards that are too large or too few not merged.
    #[default]
    Sizes,
    /// Sizes do not matter.
    Force,
}

fn new_id() -> Result<OperationId, Error> {
    Ok(OperationId::new(format!(
        "op-{:016x}",
        rand::rng().next_u64()
    ))?)
}

impl ElasticShardManager {
    /// Divides a shard at its median key, and returns the new shards once they own its keys.
    ///
    /// # Errors
    /// Refused with nothing changed: [`Error::UnknownShard`], [`Error::InOperation`], [`Error::TooFewKeys`], [`Error::Indivisible`], or
    /// [`Error::Silent`] if its store does not say how much it has. [`Error::Unsettled`] if it is not known whether it was begun, by any other
    /// call that begins something as well. [`Error::Aborted`] if it ended without effect.
    pub async fn split_shard(&self, shard: &str) -> Result<(ShardId, ShardId), Error> {
        self.split_shard_at(shard, SplitAt::Median, Gating::Sizes)
            .await
    }

    /// Divides a shard where it is told.
    ///
    /// # Errors
    /// As [`ElasticShardManager::split_shard`], and [`Error::CutInGap`] for a cut between two ranges of a hash ring.
    pub async fn split_shard_at(
        &self,
        shard: &str,
        at: SplitAt,
        gating: Gating,
    ) -> Result<(ShardId, ShardId), Error> {
        let id = self.begin_split(shard, at, gating).await?;
        let record = self.inner.committed(&id).await?;
        let targets = &record.work.targets;
        Ok((targets[0].shard.clone(), targets[1].shard.clone()))
    }

    /// Begins to divide a shard, and returns the operation.
    ///
    /// # Errors
    /// As [`ElasticShardManager::split_shard`].
    pub async fn begin_split(
        &self,
        shard: &str,
        at: SplitAt,
        gating: Gating,
    ) -> Result<OperationId, Error> {
        let reason = "asked for".to_owned();
        self.inner.begin_split(shard, at, gating, reason).await
    }

    /// Returns what [`ElasticShardManager::begin_split`] would do, and does nothing. The names of the new shards are examples.
    ///
    /// # Errors
    /// As [`ElasticShardManager::split_shard`].
    pub async fn plan_split(
        &self,
        shard: &str,
        at: SplitAt,
        gating: Gating,
    ) -> Result<Work, Error> {
        let reason = "asked for".to_owned();
        self.inner
            .split(&new_id()?, shard, at, gating, reason)
            .await
    }

    /// Makes one shard of neighbours, on the node that has most of them, and returns it once it owns their keys.
    ///
    /// # Errors
    /// Refused with nothing changed: [`Error::MergeOfOne`], [`Error::UnknownShard`], [`Error::NotNeighbours`], [`Error::InOperation`],
    /// [`Error::TooLarge`], [`Error::TooFewShards`]. [`Error::Aborted`] if it ended without effect.
    pub async fn merge_shards(&self, shards: &[&str]) -> Result<ShardId, Error> {
        let id = self.begin_merge(shards, Gating::Sizes).await?;
        let record = self.inner.committed(&id).await?;
        Ok(record.work.targets[0].shard.clone())
    }

    /// Begins to make one shard of neighbours, and returns the operation.
    ///
    /// # Errors
    /// As [`ElasticShardManager::merge_shards`].
    pub async fn begin_merge(&self, shards: &[&str], gating: Gating) -> Result<OperationId, Error> {
        let reason = "asked for".to_owned();
        self.inner.begin_merge(shards, None, gating, reason).await
    }

    /// Returns what [`ElasticShardManager::begin_merge`] would do, and does nothing. The name of the new shard is an example.
    ///
    /// # Errors
    /// As [`ElasticShardManager::merge_shards`].
    pub async fn plan_merge(&self, shards: &[&str], gating: Gating) -> Result<Work, Error> {
        let reason = "asked for".to_owned();
        self.inner
            .merge(&new_id()?, shards, None, gating, reason)
            .await
    }

    /// Moves a shard to a node, where it has a new name, and returns that once it owns the keys.
    ///
    /// # Errors
    /// Refused with nothing changed: [`Error::UnknownShard`], [`Error::UnknownNode`], [`Error::AlreadyThere`], [`Error::InOperation`],
    /// [`Error::NoCapacity`], [`Error::Unsupported`]. [`Error::Aborted`] if it ended without effect.
    pub async fn migrate_shard(&self, shard: &str, node: &str) -> Result<ShardId, Error> {
        let id = self.begin_migrate(shard, node, Gating::Sizes).await?;
        let record = self.inner.committed(&id).await?;
        Ok(record.work.targets[0].shard.clone())
    }

    /// Begins to move a shard, and returns the operation.
    ///
    /// # Errors
    /// As [`ElasticShardManager::migrate_shard`].
    pub async fn begin_migrate(
        &self,
        shard: &str,
        node: &str,
        gating: Gating,
    ) -> Result<OperationId, Error> {
        let (node, reason) = (NodeId::new(node)?, "asked for".to_owned());
        self.inner.begin_migrate(shard, &node, gating, reason).await
    }

    /// Returns what [`ElasticShardManager::begin_migrate`] would do, and does nothing. The name of the new shard is an example.
    ///
    /// # Errors
    /// As [`ElasticShardManager::migrate_shard`].
    pub async fn plan_migrate(
        &self,
        shard: &str,
        node: &str,
        gating: Gating,
    ) -> Result<Work, Error> {
        let (node, reason) = (NodeId::new(node)?, "asked for".to_owned());
        self.inner
            .migrate(&new_id()?, shard, &node, gating, reason)
            .await
    }

    /// Undoes an operation that has committed by another one, and returns that: merges what was split, divides what was merged, moves back what was moved.
    /// Writes since then are kept.
    ///
    /// # Errors
    /// [`Error::UnknownOperation`] if its record was removed, [`Error::TooLate`] unless it has committed and opened its targets,
    /// [`Error::StalePlan`] if its targets were split, merged or moved since.
    pub async fn reverse(&self, id: &OperationId) -> Result<OperationId, Error> {
        let found = self.inner.driver.journal().get(id).await?;
        let unknown = || Error::UnknownOperation {
            operation: id.clone(),
        };
        let Record {
            operation, work, ..
        } = found.ok_or_else(unknown)?.record;
        if !matches!(operation.phase, Phase::CleaningUp | Phase::Done) {
            let (operation, phase) = (operation.id, operation.phase);
            return Err(Error::TooLate { operation, phase });
        }
        let new = new_id()?;
        let names = self.inner.names(&new, work.sources.len()).await?;
        let reversed = work.reversed(&names).expect("there is a name for each");
        self.inner.begin(new, reversed).await
    }
}

impl Inner {
    fn free(&self, part: &Part) -> Result<(), Error> {
        match self.operation_of(&part.shard) {
            None => Ok(()),
            Some(operation) => Err(Error::InOperation {
                shard: part.shard.clone(),
                operation,
            }),
        }
    }

    pub(super) async fn begin_split(
        self: &std::sync::Arc<Self>,
        shard: &str,
        at: SplitAt,
        gating: Gating,
        reason: String,
    ) -> Result<OperationId, Error> {
        let id = new_id()?;
        let work = self.split(&id, shard, at, gating, reason).await?;
        self.begin(id, work).await
    }

    async fn split(
        &self,
        id: &OperationId,
        shard: &str,
        at: SplitAt,
        gating: Gating,
        reason: String,
    ) -> Result<Work, Error> {
        let part = self.part(shard)?;
        self.free(&part)?;
        if gating == Gating::Sizes {
            let (keys, needed) = (
                self.size(&part).await?.key_count,
                self.policy.split.min_keys,
            );
            if keys < needed {
                let shard = part.shard;
                return Err(Error::TooFewKeys {
                    shard,
                    keys,
                    needed,
                });
            }
        }
        let cut = match at {
            SplitAt::Median => {
                let store = self.store(&part.node)?;
                self.read(&part, || store.median(&part.shard)).await?
            }
            SplitAt::Middle => part.extent.middle(),
            SplitAt::Key(key) => part
                .extent
                .contains(&key)
                .then(|| part.extent.cut_at_key(&key)),
            SplitAt::Cut(cut) => Some(cut),
        };
        let Some((low, high)) = cut.as_ref().and_then(|cut| part.extent.split_at(cut)) else {
            return Err(indivisible(part, cut.as_ref()));
        };
        let names = self.names(id, 2).await?;
        let target = |(shard, extent): (ShardId, Extent)| Part {
            shard,
            node: part.node.clone(),
            extent,
        };
        let targets = names.into_iter().zip([low, high]).map(target).collect();
        Ok(Work {
            kind: OperationKind::Split,
            targets,
            sources: vec![part],
            reason,
        })
    }

    pub(super) async fn begin_merge(
        self: &std::sync::Arc<Self>,
        shards: &[&str],
        to: Option<NodeId>,
        gating: Gating,
        reason: String,
    ) -> Result<OperationId, Error> {
        let id = new_id()?;
        let work = self.merge(&id, shards, to, gating, reason).await?;
        self.begin(id, work).await
    }

    async fn merge(
        &self,
        id: &OperationId,
        shards: &[&str],
        to: Option<NodeId>,
        gating: Gating,
        reason: String,
    ) -> Result<Work, Error> {
        let names: BTreeSet<&str> = shards.iter().copied().collect();
        if names.len() < 2 || names.len() < shards.len() {
            return Err(Error::MergeOfOne);
        }
        let mut sources = Vec::with_capacity(shards.len());
        for shard in shards {
            sources.push(self.part(shard)?);
        }
        let Some(extent) = Extent::join(sources.iter().map(|part| &part.extent)) else {
            let shard = apart(&sources);
            return Err(Error::NotNeighbours { shard });
        };
        let (left, needed) = (
            self.layout().len() + 1 - sources.len(),
            self.policy.merge.min_total_shards,
        );
        if gating == Gating::Sizes && left < needed {
            return Err(Error::TooFewShards { left, needed });
        }
        let (mut keys, mut largest) = (0, (0, sources[0].node.clone()));
        for part in &sources {
            self.free(part)?;
            let metrics = self.size(part).await?;
            keys += metrics.key_count;
            if metrics.storage_bytes > largest.0 {
                largest = (metrics.storage_bytes, part.node.clone());
            }
        }
        let allowed = self.policy.merge.max_merged_keys;
        if gating == Gating::Sizes && keys > allowed {
            return Err(Error::TooLarge { keys, allowed });
        }
        let target = Part {
            shard: self.names(id, 1).await?.remove(0),
            node: to.unwrap_or(largest.1),
            extent,
        };
        Ok(Work {
            kind: OperationKind::Merge,
            sources,
            targets: vec![target],
            reason,
        })
    }

    pub(super) async fn begin_migrate(
        self: &std::sync::Arc<Self>,
        shard: &str,
        node: &NodeId,
        gating: Gating,
        reason: String,
    ) -> Result<OperationId, Error> {
        let id = new_id()?;
        let work = self.migrate(&id, shard, node, gating, reason).await?;
        self.begin(id, work).await
    }

    async fn migrate(
        &self,
        id: &OperationId,
        shard: &str,
        node: &NodeId,
        gating: Gating,
        reason: String,
    ) -> Result<Work, Error> {
        let part = self.part(shard)?;
        if self
            .driver
            .journal()
            .is_moved_by_members(&part.shard)
            .await?
        {
            return Err(Error::Unsupported { shard: part.shard });
        }
        self.store(node)?;
        if part.node == *node {
            let (shard, node) = (part.shard, part.node);
            return Err(Error::AlreadyThere { shard, node });
        }
        self.free(&part)?;
        if gating == Gating::Sizes {
            self.check_room(&part, node).await?;
        }
        let target = Part {
            shard: self.names(id, 1).await?.remove(0),
            node: node.clone(),
            extent: part.extent.clone(),
        };
        Ok(Work {
            kind: OperationKind::Migrate,
            sources: vec![part],
            targets: vec![target],
            reason,
        })
    }

    async fn check_room(&self, part: &Part, node: &NodeId) -> Result<(), Error> {
        let Some(most) = self.policy.node_bytes_max else {
            return Ok(());
        };
        let mut there = 0;
        for other in self.layout().parts().filter(|other| other.node == *node) {
            there += self.size(other).await?.storage_bytes;
        }
        let bytes = self.size(part).await?.storage_bytes;
        let room = most.saturating_sub(there);
        if bytes <= room {
            return Ok(());
        }
        Err(Error::NoCapacity {
            node: node.clone(),
            room,
            bytes,
        })
    }
}

fn indivisible(part: Part, cut: Option<&Cut>) -> Error {
    let Part { shard, extent, .. } = part;
    let gap = cut.and_then(|cut| extent.gap_at(cut));
    match (gap, cut) {
        (Some((from, to)), Some(Cut::Position { at })) => Error::CutInGap {
            shard,
            at: *at,
            from,
            to,
        },
        _ => Error::Indivisible { shard },
    }
}

/// Returns a shard that adjoins none of the others, or the last one if all have a neighbour.
fn apart(parts: &[Part]) -> ShardId {
    let alone = |part: &&Part| {
        let mut others = parts.iter().filter(|other| other.shard != part.shard);
        !others.any(|other| other.extent.adjoins(&part.extent))
    };
    let found = parts.iter().find(alone).or(parts.last());
    found.expect("a merge has shards").shard.clone()
}
