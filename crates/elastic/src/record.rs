//! Records: all that is written down of one operation.

use serde::{Deserialize, Serialize};
use shardwright_topology::{
    InvalidOperation, KeyspaceName, Operation, OperationId, OperationKind, Phase, ShardId,
};

use crate::{Extent, Part};

/// What an operation is to do: the shards that end, and those that follow. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Split, merge or migrate.
    pub kind: OperationKind,
    /// The shards that own the keys before.
    pub sources: Vec<Part>,
    /// The shards that own them after.
    pub targets: Vec<Part>,
    /// Why it was begun.
    pub reason: String,
}

/// An operation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its phase, which is also its decision, and the names of its shards.
    pub operation: Operation,
    /// What it is to do.
    pub work: Work,
}

/// Work that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWork {
    /// The numbers or names of the shards do not fit.
    #[error(transparent)]
    Operation(#[from] InvalidOperation),
    /// The targets do not own what the sources own.
    #[error("the targets do not own what the sources own")]
    Keys,
}

/// Data on its way from one shard to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The place of the source among the sources.
    pub source: usize,
    /// The place of the target among the targets.
    pub target: usize,
    /// The keys that go this way.
    pub extent: Extent,
}

impl Record {
    /// Returns the record of an operation that is about to begin.
    ///
    /// # Errors
    /// [`InvalidWork`], if the targets would not own exactly the keys of the sources.
    pub fn planned(
        id: OperationId,
        keyspace: KeyspaceName,
        work: Work,
    ) -> Result<Self, InvalidWork> {
        let names = |parts: &[Part]| parts.iter().map(|part| part.shard.clone()).collect();
        let operation = Operation {
            id,
            keyspace,
            kind: work.kind,
            sources: names(&work.sources),
            targets: names(&work.targets),
            phase: Phase::Planned,
            error: None,
            paused: false,
            members: None,
        };
        let record = Self { operation, work };
        record.check()?;
        Ok(record)
    }

    /// Returns the name of the operation.
    #[must_use]
    pub fn id(&self) -> &OperationId {
        &self.operation.id
    }

    /// Returns how far the operation is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.operation.phase
    }

    /// Returns whether somebody asked it to wait where it is. It does so until the sources are sealed.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.operation.paused
    }

    /// Returns the record one phase on.
    ///
    /// # Errors
    /// [`InvalidOperation`] unless the phase may follow.
    pub fn advance(&self, to: Phase) -> Result<Self, InvalidOperation> {
        Ok(Self {
            operation: self.operation.advance(to)?,
            ..self.clone()
        })
    }

    /// Returns the ways that data takes.
    #[must_use]
    pub fn lanes(&self) -> Vec<Lane> {
        let Work {
            sources, targets, ..
        } = &self.work;
        let lane = |source: usize, target: usize| {
            let narrow = if targets.len() > 1 {
                &targets[target]
            } else {
                &sources[source]
            };
            Lane {
                source,
                target,
                extent: narrow.extent.clone(),
            }
        };
        (0..sources.len())
            .flat_map(|source| (0..targets.len()).map(move |target| (source, target)))
            .map(|(source, target)| lane(source, target))
            .collect()
    }

    /// Returns whether a shard takes part.
    #[must_use]
    pub fn involves(&self, shard: &ShardId) -> bool {
        let mut parts = self.work.sources.iter().chain(&self.work.targets);
        parts.any(|part| part.shard == *shard)
    }

    /// Checks what holds of every record.
    ///
    /// # Errors
    /// [`InvalidWork`] with the first rule that is broken.
    pub fn check(&self) -> Result<(), InvalidWork> {
        self.operation.check_invariants()?;
        let union = |parts: &[Part]| match parts {
            [one] => Some(one.extent.clone()),
            many => Extent::join(many.iter().map(|part| &part.extent)),
        };
        let (sources, targets) = (union(&self.work.sources), union(&self.work.targets));
        let named = |parts: &[Part], names: &[ShardId]| {
            parts.len() == names.len()
                && parts
                    .iter()
                    .zip(names)
                    .all(|(part, name)| part.shard == *name)
        };
        let fits = sources.is_some()
            && sources == targets
            && named(&self.work.sources, &self.operation.sources)
            && named(&self.work.targets, &self.operation.targets);
        if fits { Ok(()) } else { Err(InvalidWork::Keys) }
    }
}

impl Work {
    /// Returns the work that undoes this one, for new shards with the given names: merges what was split, divides what was merged
    /// where it was joined, moves back what was moved.
    ///
    /// `None` if there are fewer names than there were sources.
    #[must_use]
    pub fn reversed(&self, names: &[ShardId]) -> Option<Self> {
        let targets = self.sources.iter().zip(names).map(|(part, name)| Part {
            shard: name.clone(),
            ..part.clone()
        });
        let targets: Vec<Part> = targets.collect();
        let kind = match self.kind {
            OperationKind::Split => OperationKind::Merge,
            OperationKind::Merge => OperationKind::Split,
            OperationKind::Migrate => OperationKind::Migrate,
        };
        (targets.len() == self.sources.len()).then(|| Self {
            kind,
            sources: self.targets.clone(),
            targets,
            reason: format!("reverses: {}", self.reason),
        })
    }
}
