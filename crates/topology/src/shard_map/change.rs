//! Changes of a map: the only edits that one accepts.

use super::{InvalidMap, Shard, ShardMap};
use crate::{Epoch, InvalidRecord, KeyRange, OperationId, ShardId, ShardRecord, ShardState};

/// An edit of a shard map. The result tiles the space again, or the edit is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardMapChange {
    /// Several new shards take the range of one over.
    Split {
        /// The shard that ends.
        source: ShardId,
        /// The new shards, whose ranges tile its range.
        targets: Vec<ShardRecord>,
    },
    /// One new shard takes the ranges of several neighbours over.
    Merge {
        /// The shards that end.
        sources: Vec<ShardId>,
        /// The new shard, whose range is the union of theirs.
        target: ShardRecord,
    },
    /// One new shard takes the range of another over.
    Migrate {
        /// The shard that ends.
        source: ShardId,
        /// The new shard, of the same range.
        target: ShardRecord,
    },
    /// A shard changes in place: its configuration, its state, the operation that holds it.
    Update {
        /// The shard as it is from now on, of the same range and of no lower epoch.
        record: ShardRecord,
    },
}

/// A change that a map does not accept. The map stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// The map has no such shard: it may have been split or merged since. Use the newest map.
    #[error("the map has no shard {shard}")]
    UnknownShard {
        /// The shard.
        shard: ShardId,
    },
    /// A new shard has the name of one that exists.
    #[error("shard {shard} exists already")]
    NameTaken {
        /// The name.
        shard: ShardId,
    },
    /// The shards that begin do not own exactly what the shards that end owned.
    #[error("the new ranges do not tile the ranges that they replace")]
    Ranges,
    /// A split makes at least two shards of one, a merge one of at least two.
    #[error("{sources} shards cannot become {targets} by this change")]
    Shape {
        /// How many end.
        sources: usize,
        /// How many begin.
        targets: usize,
    },
    /// A new shard still waits for its operation.
    #[error("shard {shard} is held by operation {operation}")]
    Held {
        /// The shard.
        shard: ShardId,
        /// The operation.
        operation: OperationId,
    },
    /// A shard that changes in place, or begins to own a range, must be serving or sealed.
    #[error("shard {shard} owns no range as {state:?}")]
    NotOwner {
        /// The shard.
        shard: ShardId,
        /// Its state.
        state: ShardState,
    },
    /// An update would take the shard back to an earlier epoch.
    #[error("shard {shard} is at {current}, the update carries {presented}")]
    StaleEpoch {
        /// The shard.
        shard: ShardId,
        /// The epoch in the map.
        current: Epoch,
        /// The epoch of the update.
        presented: Epoch,
    },
    /// A record contradicts itself.
    #[error(transparent)]
    Record(#[from] InvalidRecord),
    /// The result would be no map.
    #[error(transparent)]
    Map(#[from] InvalidMap),
}

impl ShardMap {
    /// Returns the map after a change, at the next revision.
    ///
    /// # Errors
    /// [`ChangeRefused`] says which rule the change breaks.
    pub fn apply(&self, change: ShardMapChange) -> Result<Self, ChangeRefused> {
        match change {
            ShardMapChange::Split { source, targets } => {
                shape(targets.len() >= 2, 1, targets.len())?;
                self.replace(&[source], targets)
            }
            ShardMapChange::Merge { sources, target } => {
                shape(sources.len() >= 2, sources.len(), 1)?;
                self.replace(&sources, vec![target])
            }
            ShardMapChange::Migrate { source, target } => self.replace(&[source], vec![target]),
            ShardMapChange::Update { record } => self.update(record),
        }
    }

    fn replace(
        &self,
        sources: &[ShardId],
        targets: Vec<ShardRecord>,
    ) -> Result<Self, ChangeRefused> {
        let mut before = Vec::new();
        for source in sources {
            let at = self.layout.by_id.get(source);
            let at = at.ok_or_else(|| ChangeRefused::UnknownShard {
                shard: source.clone(),
            })?;
            before.push(self.shards[*at].range);
        }
        for target in &targets {
            owner(target)?;
            if let Some(hold) = &target.hold {
                let (shard, operation) = (target.id.clone(), hold.operation.clone());
                return Err(ChangeRefused::Held { shard, operation });
            }
            if target.keyspace != *self.keyspace() {
                let (shard, found) = (target.id.clone(), target.keyspace.clone());
                return Err(InvalidMap::Keyspace {
                    shard,
                    expected: self.keyspace().clone(),
                    found,
                }
                .into());
            }
            if self.shard(&target.id).is_some() || self.layout.idle.contains(&target.id) {
                return Err(ChangeRefused::NameTaken {
                    shard: target.id.clone(),
                });
            }
        }
        let after = targets.iter().filter_map(|target| target.range).collect();
        if union(before).is_none_or(|range| union(after) != Some(range)) {
            return Err(ChangeRefused::Ranges);
        }
        let kept = self
            .shards
            .iter()
            .filter(|shard| !sources.contains(shard.id()))
            .cloned();
        let begun = targets.into_iter().filter_map(Shard::own);
        let owners = kept.chain(begun).collect();
        let mut idle = self.layout.idle.clone();
        idle.extend(sources.iter().cloned());
        let (keyspace, revision) = (self.keyspace().clone(), self.revision + 1);
        Ok(Self::assemble(
            keyspace,
            revision,
            owners,
            self.catalog.clone(),
            idle,
        )?)
    }

    fn update(&self, record: ShardRecord) -> Result<Self, ChangeRefused> {
        owner(&record)?;
        let Some(shard) = self.shard(&record.id) else {
            return Err(ChangeRefused::UnknownShard { shard: record.id });
        };
        if shard.record.range != record.range {
            return Err(ChangeRefused::Ranges);
        }
        let (current, presented) = (shard.record.epoch, record.epoch);
        if presented < current || record.active_epoch() < shard.epoch() {
            return Err(ChangeRefused::StaleEpoch {
                shard: record.id,
                current,
                presented,
            });
        }
        let state = record.state;
        let next = Shard::new(record, shard.range, state);
        let mut map = self.clone();
        map.revision += 1;
        match self.layout.by_id.get(next.id()) {
            Some(place) => map.shards = self.shards.with(*place, next),
            None => map.catalog = Some(next),
        }
        Ok(map)
    }
}

impl Shard {
    fn own(record: ShardRecord) -> Option<Self> {
        let (range, state) = (record.range?, record.state);
        Some(Self::new(record, range, state))
    }
}

fn shape(fits: bool, sources: usize, targets: usize) -> Result<(), ChangeRefused> {
    if fits {
        Ok(())
    } else {
        Err(ChangeRefused::Shape { sources, targets })
    }
}

fn owner(record: &ShardRecord) -> Result<(), ChangeRefused> {
    record.check_invariants()?;
    match record.state {
        ShardState::Serving | ShardState::Sealed => Ok(()),
        state @ (ShardState::Importing | ShardState::Retired) => Err(ChangeRefused::NotOwner {
            shard: record.id.clone(),
            state,
        }),
    }
}

/// Returns the one range that `ranges` tile, in whatever order they come.
fn union(mut ranges: Vec<KeyRange>) -> Option<KeyRange> {
    ranges.sort_unstable();
    let mut ranges = ranges.into_iter();
    let first = ranges.next()?;
    ranges.try_fold(first, |joined, next| {
        // `join` takes a neighbour on either side; sorted, only the right one can be meant.
        joined
            .join(&next)
            .filter(|range| range.start() == first.start())
    })
}
