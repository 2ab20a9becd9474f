//! The shard map: which shard owns each position, as of one moment.

mod change;
mod index;
mod shards;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use shardwright_hashing::Position;

use self::index::Index;
pub use self::{
    change::{ChangeRefused, ShardMapChange},
    shards::Shards,
};
use crate::{
    Epoch, KeyRange, KeyspaceName, NodeId, Operation, OperationId, ShardId, ShardRecord, ShardState,
};

/// An immutable snapshot of which shard owns which range, and who holds it.
///
/// The constructor proves that the ranges tile the space, so that every position has exactly one owner and a look-up
/// cannot fail. It takes shard records and the operations that hold them together: a map shows one side of an
/// operation, the sources before its commit and the targets after, never a part of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMap {
    revision: u64,
    shards: Shards,
    catalog: Option<Shard>,
    layout: Arc<Layout>,
}

/// What stays when a shard changes in place: maps that follow each other share it.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    keyspace: KeyspaceName,
    index: Index,
    by_id: HashMap<ShardId, usize>,
    /// Names of shards that own nothing at this moment: targets before a commit, sources after it.
    idle: BTreeSet<ShardId>,
}

/// One shard of a map: an owner of a range, or the catalog shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    record: Arc<ShardRecord>,
    range: KeyRange,
    state: ShardState,
    /// What a route needs of the record, without the way to it.
    epoch: Epoch,
    primary: Option<NodeId>,
}

/// Records that make no map.
///
/// Seen by a reader that puts a map together from several reads, it means that the records were read at different moments:
/// read them again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMap {
    /// No shard owns a range.
    #[error("no shard owns a range")]
    Empty,
    /// A part of the space has no owner.
    #[error("nobody owns {range}")]
    Gap {
        /// The part.
        range: KeyRange,
    },
    /// Two shards own the same positions.
    #[error("shards {first} and {second} both own parts of {range}")]
    Overlap {
        /// The shard that begins first.
        first: ShardId,
        /// The other.
        second: ShardId,
        /// The range of the other.
        range: KeyRange,
    },
    /// A shard points at an operation that was not given.
    #[error("shard {shard} is held by operation {operation}, which is missing")]
    MissingOperation {
        /// The shard.
        shard: ShardId,
        /// The operation.
        operation: OperationId,
    },
    /// Two records have the same name.
    #[error("shard {shard} has two records")]
    Twice {
        /// The shard.
        shard: ShardId,
    },
    /// Two shards have no range: a keyspace has one catalog shard.
    #[error("shards {first} and {second} both have no range, a keyspace has one catalog shard")]
    TwoCatalogs {
        /// One of them.
        first: ShardId,
        /// The other.
        second: ShardId,
    },
    /// A record belongs to another keyspace.
    #[error("shard {shard} is of keyspace {found}, the map of {expected}")]
    Keyspace {
        /// The shard.
        shard: ShardId,
        /// The keyspace of the map.
        expected: KeyspaceName,
        /// The keyspace of the record.
        found: KeyspaceName,
    },
}

impl Shard {
    fn new(record: ShardRecord, range: KeyRange, state: ShardState) -> Self {
        Self {
            range,
            state,
            epoch: record.active_epoch(),
            primary: record.primary().cloned(),
            record: Arc::new(record),
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn id(&self) -> &ShardId {
        &self.record.id
    }

    /// Returns the range that the shard owns. The catalog shard owns none, and reports the whole space.
    #[must_use]
    pub fn range(&self) -> KeyRange {
        self.range
    }

    /// Returns the epoch that a request to this shard carries.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns whether the shard takes writes, as far as operations are concerned; [`ShardState::Serving`] or
    /// [`ShardState::Sealed`].
    #[must_use]
    pub fn state(&self) -> ShardState {
        self.state
    }

    /// Returns the node that takes the writes; `None` if the shard was never assigned.
    #[must_use]
    pub fn primary(&self) -> Option<&NodeId> {
        self.primary.as_ref()
    }

    /// Returns the nodes that hold copies besides the primary.
    pub fn replicas(&self) -> impl Iterator<Item = &NodeId> {
        let active = self.record.active.iter();
        active.flat_map(|config| config.replicas().map(|member| &member.node))
    }

    /// Returns the record as it was stored.
    #[must_use]
    pub fn record(&self) -> &ShardRecord {
        &self.record
    }
}

impl ShardMap {
    /// Builds the map of a keyspace from its shard records and the operations that they point at.
    ///
    /// `revision` grows with every change of what the map shows; 0 is before the first.
    ///
    /// # Errors
    /// [`InvalidMap`], unless the shards that own a range at this moment tile the space.
    pub fn new(
        keyspace: KeyspaceName,
        revision: u64,
        records: impl IntoIterator<Item = ShardRecord>,
        operations: impl IntoIterator<Item = Operation>,
    ) -> Result<Self, InvalidMap> {
        let operations = operations
            .into_iter()
            .map(|each| (each.id.clone(), each))
            .collect();
        let mut parts = Parts::default();
        for record in records {
            parts.add(&keyspace, record, &operations)?;
        }
        let Parts {
            owners,
            catalog,
            idle,
            ..
        } = parts;
        Self::assemble(keyspace, revision, owners, catalog, idle)
    }

    fn assemble(
        keyspace: KeyspaceName,
        revision: u64,
        mut owners: Vec<Shard>,
        catalog: Option<Shard>,
        idle: BTreeSet<ShardId>,
    ) -> Result<Self, InvalidMap> {
        owners.sort_unstable_by_key(|shard| shard.range.start());
        check_tiling(&owners)?;
        let index = Index::new(owners.iter().map(|shard| shard.range.start().0).collect());
        let by_id = owners
            .iter()
            .enumerate()
            .map(|(at, shard)| (shard.id().clone(), at))
            .collect();
        Ok(Self {
            revision,
            shards: Shards::new(&owners),
            catalog,
            layout: Arc::new(Layout {
                keyspace,
                index,
                by_id,
                idle,
            }),
        })
    }

    /// Returns the map of the keyspace `main` with `shards` unassigned shards, `shard-0` and on, of equal ranges.
    ///
    /// # Panics
    /// If `shards` is 0.
    #[must_use]
    pub fn even(shards: u32) -> Self {
        assert!(shards > 0, "a map has at least one shard");
        let keyspace = KeyspaceName::main();
        let records: Vec<_> = ShardRecord::even(&keyspace, shards).collect();
        Self::new(keyspace, 0, records, []).expect("even ranges tile the space")
    }

    /// Returns the keyspace that the map is of.
    #[must_use]
    pub fn keyspace(&self) -> &KeyspaceName {
        &self.layout.keyspace
    }

    /// Returns the revision: of two maps of one keyspace, the one with the higher revision is newer.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the map as of another revision, for who counts them otherwise than [`ShardMap::apply`].
    #[must_use]
    pub fn at_revision(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    /// Returns the shard that owns a position.
    #[must_use]
    pub fn at(&self, position: Position) -> &Shard {
        &self.shards[self.index_at(position)]
    }

    /// Returns the place, in range order from 0, of the shard that owns a position.
    #[must_use]
    pub fn index_at(&self, position: Position) -> usize {
        self.layout.index.find(position.0)
    }

    /// Returns a shard by its name, the catalog shard too; `None` if it owns nothing now or does not exist.
    #[must_use]
    pub fn shard(&self, id: &ShardId) -> Option<&Shard> {
        let owner = self.layout.by_id.get(id).map(|at| &self.shards[*at]);
        owner.or_else(|| self.catalog.as_ref().filter(|catalog| catalog.id() == id))
    }

    /// Returns the shards that own ranges, in range order.
    #[must_use]
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Returns the shard without a range that holds the keyspace's global tables.
    #[must_use]
    pub fn catalog(&self) -> Option<&Shard> {
        self.catalog.as_ref()
    }

    /// Returns the shards, the catalog shard too, whose record differs from the one in `older`; `None` if other shards own
    /// the ranges than in `older`, or they are not known to be the same.
    ///
    /// Between a map and the one after [`ShardMapChange::Update`] this compares some 150 pointers of 100,000 shards.
    pub fn changed_since<'a>(&'a self, older: &'a Self) -> Option<impl Iterator<Item = &'a Shard>> {
        if !Arc::ptr_eq(&self.layout, &older.layout) {
            return None;
        }
        let catalog = self.catalog.iter().filter(|catalog| {
            let before = older.catalog.as_ref();
            before.is_none_or(|before| !Arc::ptr_eq(&before.record, &catalog.record))
        });
        Some(self.shards.changed_since(&older.shards).chain(catalog))
    }

    /// Returns how many shards own ranges; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a map is never empty")]
    pub fn len(&self) -> usize {
        self.shards.len()
    }
}

#[derive(Default)]
struct Parts {
    owners: Vec<Shard>,
    catalog: Option<Shard>,
    idle: BTreeSet<ShardId>,
    seen: BTreeSet<ShardId>,
}

impl Parts {
    fn add(
        &mut self,
        keyspace: &KeyspaceName,
        record: ShardRecord,
        operations: &BTreeMap<OperationId, Operation>,
    ) -> Result<(), InvalidMap> {
        let id = record.id.clone();
        if record.keyspace != *keyspace {
            let (expected, found) = (keyspace.clone(), record.keyspace);
            return Err(InvalidMap::Keyspace {
                shard: id,
                expected,
                found,
            });
        }
        if !self.seen.insert(id.clone()) {
            return Err(InvalidMap::Twice { shard: id });
        }
        let state = effective_state(&record, operations)?;
        match (state, record.range) {
            (ShardState::Serving | ShardState::Sealed, Some(range)) => {
                self.owners.push(Shard::new(record, range, state));
            }
            (ShardState::Serving | ShardState::Sealed | ShardState::Importing, None) => {
                return self.add_catalog(Shard::new(record, KeyRange::ALL, state));
            }
            (ShardState::Importing, Some(_)) | (ShardState::Retired, _) => {
                self.idle.insert(id);
            }
        }
        Ok(())
    }

    fn add_catalog(&mut self, catalog: Shard) -> Result<(), InvalidMap> {
        if let Some(other) = &self.catalog {
            let (first, second) = (other.id().clone(), catalog.id().clone());
            return Err(InvalidMap::TwoCatalogs { first, second });
        }
        self.catalog = Some(catalog);
        Ok(())
    }
}

fn effective_state(
    record: &ShardRecord,
    operations: &BTreeMap<OperationId, Operation>,
) -> Result<ShardState, InvalidMap> {
    let Some(hold) = &record.hold else {
        return Ok(record.state);
    };
    match operations.get(&hold.operation) {
        Some(operation) => Ok(record.effective_state(operation)),
        None => {
            let (shard, operation) = (record.id.clone(), hold.operation.clone());
            Err(InvalidMap::MissingOperation { shard, operation })
        }
    }
}

/// `owners` are sorted by start.
fn check_tiling(owners: &[Shard]) -> Result<(), InvalidMap> {
    let mut next = Some(Position::MIN);
    let mut before: Option<&Shard> = None;
    for shard in owners {
        let start = shard.range.start();
        match next {
            Some(position) if position == start => {}
            Some(position) if position < start => {
                let range = KeyRange::new(position, Some(start)).expect("a gap is not empty");
                return Err(InvalidMap::Gap { range });
            }
            _ => {
                let first = before.map_or_else(|| shard.id().clone(), |shard| shard.id().clone());
                let (second, range) = (shard.id().clone(), shard.range);
                return Err(InvalidMap::Overlap {
                    first,
                    second,
                    range,
                });
            }
        }
        next = shard.range.end();
        before = Some(shard);
    }
    match (next, before) {
        (_, None) => Err(InvalidMap::Empty),
        (None, Some(_)) => Ok(()),
        (Some(position), Some(_)) => {
            let range = KeyRange::new(position, None).expect("up to the end is not empty");
            Err(InvalidMap::Gap { range })
        }
    }
}

#[cfg(test)]
mod tests;
