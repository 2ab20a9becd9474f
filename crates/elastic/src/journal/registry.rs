//! A journal in a registry: for many processes, with the shards of a keyspace whose shards own ranges of positions.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shardwright_registry::{
    BoxError, Error as RegistryError, Record as RegistryRecord, Records, Registry, Revision,
    StoreError, Stored,
};
use shardwright_topology::{
    Decision, Gap, Halts, NodeId, Operation, OperationId, OperationKind, Phase, Shard, ShardId,
    ShardMap, ShardRecord, ShardState, Written,
};

use super::{Entry, Journal, JournalError, Version};
use crate::{Extent, Part, Record, Work};

/// A journal in the registry of a keyspace.
///
/// All that changes of an operation is in `op/<id>`, where shard maps find its phase, and changes by one compare-and-set there: of two
/// changes that were decided on the same version, the later one has no effect whatsoever. What the operation is to do is in
/// `journal/<keyspace>/elastic/<id>`, which is written first, once. Shards follow by their own records.
///
/// It is for shards that own one range of positions each, as in a keyspace of ranges. An operation on other
/// [extents](Extent), such as those of a hash ring or of keys in their order, is refused as [`JournalError::Unsupported`] before anything is written.
///
/// A shard with a lease has a node, and is not as planned once it is on another one. A [replicated](ShardRecord::replicated) shard may have
/// another primary at every step: its node is one of those that had its copies when it was read, or
/// [`RegistryJournal::NOWHERE`]. The targets of replicated shards are made beside the first of them, and whoever looks after replicated
/// shards gives them copies and primaries.
#[derive(Debug, Clone)]
pub struct RegistryJournal {
    registry: Registry,
    details: Records<Detail>,
    halts: Halts<Gap>,
}

/// How often the shards are read before they make no map whatever happens meanwhile.
const READS_MAX: u32 = 8;

/// What the record of an operation has no place for. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Detail {
    work: Work,
}

impl RegistryRecord for Detail {
    const KIND: &'static str = "elastic operation";
    const VERSION: u64 = 2;
}

fn failed(error: RegistryError) -> JournalError {
    let unknown = matches!(error, RegistryError::Store(StoreError::Unknown { .. }));
    let retryable = error.is_retryable();
    let source: BoxError = error.into();
    if unknown {
        JournalError::Unknown(source)
    } else if retryable {
        JournalError::Unavailable(source)
    } else {
        JournalError::Damaged(source)
    }
}

fn check_ranges(work: &Work) -> Result<(), JournalError> {
    let mut parts = work.sources.iter().chain(&work.targets);
    match parts.find(|part| part.extent.as_range().is_none()) {
        None => Ok(()),
        Some(part) => Err(JournalError::Unsupported {
            shard: part.shard.clone(),
        }),
    }
}

fn is_conflict(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Store(StoreError::Conflict { .. }))
}

/// The node of a shard's primary, or of the one that it is about to get.
fn node_of(record: &ShardRecord) -> NodeId {
    let mut configs = record.active.iter().chain(&record.pending);
    let node = configs.next().map(|config| config.primary.node.clone());
    node.unwrap_or_else(|| NodeId::new(RegistryJournal::NOWHERE).expect("a name"))
}

impl RegistryJournal {
    /// What is named as the node of a shard that never had one.
    pub const NOWHERE: &str = "nowhere";

    /// Returns the journal of a keyspace.
    ///
    /// # Errors
    /// [`JournalError::Damaged`], if the name of the keyspace makes no key.
    pub fn new(registry: Registry) -> Result<Self, JournalError> {
        let details = registry.journals("elastic").map_err(failed)?;
        Ok(Self {
            registry,
            details,
            halts: Halts::default(),
        })
    }

    /// Returns the journal with a test that is told of each gap between two of its writes.
    #[must_use]
    pub fn halting(self, halts: Halts<Gap>) -> Self {
        Self { halts, ..self }
    }

    /// Says that an operation has written something.
    fn wrote(&self, operation: &Operation, written: Written) {
        self.halts.reached(operation.gap(written));
    }

    async fn entry(&self, found: Stored<Operation>) -> Result<Option<Entry>, JournalError> {
        if found.value.keyspace != *self.registry.name() {
            return Ok(None);
        }
        let detail = self.details.get(&found.value.id).await.map_err(failed)?;
        Ok(detail.map(|detail| Entry {
            version: Version(found.revision.0),
            record: Record {
                operation: found.value,
                work: detail.value.work,
            },
        }))
    }

    /// Reads who owns which keys.
    ///
    /// The registry lists shards, and then the operations that they point at, which may be further on by then. A map that is made of both is right:
    /// a shard points at one operation, all shards of an operation change hands by its phase alone, and a later one takes only what has been let go
    /// of, so each key has the owner that it had at some moment between the two. But none can be made if meanwhile an operation has
    /// created its targets and committed, or its record has gone: then the shards have changed, and they are read again.
    async fn map(&self) -> Result<ShardMap, RegistryError> {
        let mut read = self.registry.map().await;
        for _ in 1..READS_MAX {
            if !matches!(read, Err(RegistryError::Map { .. })) {
                break;
            }
            read = self.registry.map().await;
        }
        read
    }

    async fn conflict(&self, id: &OperationId) -> JournalError {
        match self.get(id).await {
            Ok(found) => JournalError::Conflict {
                found: found.map(Box::new),
            },
            Err(error) => error,
        }
    }

    /// Writes down what an operation is to do, unless that is there; returns whether it is what is there.
    async fn write_detail(&self, record: &Record) -> Result<bool, RegistryError> {
        let work = record.work.clone();
        let details = &self.details;
        let (found, _) = details
            .create_if_absent(record.id(), Detail { work })
            .await?;
        Ok(found.value.work == record.work)
    }

    async fn hold_source(&self, record: &Record, part: &Part) -> Result<(), JournalError> {
        let shard = part.shard.clone();
        let range = part.extent.as_range().ok_or_else(|| {
            let shard = shard.clone();
            JournalError::Unsupported { shard }
        })?;
        let found = self.registry.shard(&shard).await.map_err(failed)?.value;
        if let Some(hold) = found.hold.filter(|hold| hold.operation != *record.id()) {
            self.let_go_of_ended(&shard, hold.operation).await?;
        }
        let as_planned = |found: &ShardRecord| {
            let is_there = found.replicated || found.primary() == Some(&part.node);
            found.range == Some(range) && is_there
        };
        let step = |found: &ShardRecord| {
            if as_planned(found) {
                Ok(found.hold_by(record.id())?)
            } else {
                Err(RegistryError::Refused("the shard changed".into()))
            }
        };
        match self.registry.update_shard(&shard, step).await {
            Ok(_) => {
                self.wrote(&record.operation, Written::Held);
                Ok(())
            }
            Err(RegistryError::Hold(_) | RegistryError::Refused(_)) => {
                Err(JournalError::Stale { shard })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Ends the hold of an operation that is over: its coordinator was paused while others ended it.
    async fn let_go_of_ended(
        &self,
        shard: &ShardId,
        holder: OperationId,
    ) -> Result<(), JournalError> {
        let found = self.registry.operations().get(&holder).await;
        let Some(ended) = found
            .map_err(failed)?
            .filter(|found| found.value.phase.is_final())
        else {
            let shard = shard.clone();
            return Err(JournalError::Held { shard, holder });
        };
        let step = |found: &ShardRecord| Ok(found.resolve(&ended.value)?);
        let resolved = self.registry.update_shard(shard, step).await;
        resolved.map_err(failed)?;
        self.wrote(&ended.value, Written::Resolved);
        Ok(())
    }

    /// Ends whatever holds an ended operation has left.
    async fn let_go(&self, ended: &Operation) -> Result<(), JournalError> {
        for found in self.registry.shards().list().await.map_err(failed)? {
            let hold = found.value.hold.as_ref();
            if hold.is_some_and(|hold| hold.operation == ended.id) {
                let step = |found: &ShardRecord| Ok(found.resolve(ended)?);
                let shard = &found.value.id;
                let resolved = self.registry.update_shard(shard, step).await;
                resolved.map_err(failed)?;
                self.wrote(ended, Written::Resolved);
            }
        }
        Ok(())
    }

    /// Returns whether the sources commit on several members.
    ///
    /// # Errors
    /// [`JournalError::Replicated`] if only some do, or if the operation is not for those that do.
    async fn is_replicated(&self, record: &Record) -> Result<bool, JournalError> {
        let mut replicated = Vec::new();
        for part in &record.work.sources {
            let found = self.registry.shard(&part.shard).await.map_err(failed)?;
            replicated.extend(found.value.replicated.then_some(&part.shard));
        }
        let Some(shard) = replicated.first() else {
            return Ok(false);
        };
        let is_for_all = replicated.len() == record.work.sources.len();
        if is_for_all && record.work.kind != OperationKind::Migrate {
            return Ok(true);
        }
        let shard = (*shard).clone();
        Err(JournalError::Replicated { shard })
    }

    async fn create_target(
        &self,
        record: &Record,
        part: &Part,
        replicated: bool,
    ) -> Result<(), JournalError> {
        let shard = part.shard.clone();
        let range = part.extent.as_range().ok_or_else(|| {
            let shard = shard.clone();
            JournalError::Unsupported { shard }
        })?;
        let keyspace = self.registry.name().clone();
        let mut target =
            ShardRecord::target_of(record.id().clone(), keyspace, shard.clone(), range);
        if replicated {
            let first = record.work.sources[0].shard.clone();
            target = target.replicated().beside(first);
        }
        let shards = self.registry.shards();
        let (found, _) = shards
            .create_if_absent(&shard, target)
            .await
            .map_err(failed)?;
        let ours = found.value.hold.as_ref();
        if ours.is_none_or(|hold| hold.operation != *record.id()) {
            return Err(JournalError::Stale { shard });
        }
        self.wrote(&record.operation, Written::Target);
        if replicated {
            return Ok(());
        }
        let assigned = self.registry.assign_shard(&shard, &part.node).await;
        assigned.map_err(failed)?;
        self.wrote(&record.operation, Written::Target);
        Ok(())
    }

    /// Lets go again if the operation was ended while it took hold of its shards: whoever ended it may have let go of them before.
    async fn check_held(&self, record: &Record) -> Result<(), JournalError> {
        match self.get(record.id()).await? {
            Some(found) if found.record.phase().decision() == Decision::Abort => {
                self.resolve(&found.record).await?;
                Err(self.conflict(record.id()).await)
            }
            _ => Ok(()),
        }
    }

    /// Makes sure that no node has a copy of a shard of an operation that has ended, if the shard owns nothing any more: without its record nobody
    /// would know what that copy is.
    async fn check_removed(&self, ended: &Operation) -> Result<(), JournalError> {
        let registered = self.registry.copies().list().await.map_err(failed)?;
        let has_copies = |shard: &ShardId| {
            let mut nodes = registered.iter();
            nodes.any(|node| node.value.copies.contains_key(shard))
        };
        match ended.retires().find(|shard| has_copies(shard)) {
            None => Ok(()),
            Some(shard) => {
                let why = format!("a node still has a copy of shard {shard}");
                Err(JournalError::Unavailable(why.into()))
            }
        }
    }

    /// Removes the record of a shard that owns nothing any more.
    async fn forget_shard(&self, ended: &Operation, shard: &ShardId) -> Result<(), JournalError> {
        let shards = self.registry.shards();
        let found = shards.get(shard).await.map_err(failed)?;
        let Some(retired) = found.filter(|found| found.value.state == ShardState::Retired) else {
            return Ok(());
        };
        match shards.delete(&retired).await {
            Err(error) if !is_conflict(&error) => return Err(failed(error)),
            _ => self.wrote(ended, Written::Forgotten),
        }
        Ok(())
    }
}

#[async_trait]
impl Journal for RegistryJournal {
    async fn list(&self) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::new();
        for found in self.registry.operations().list().await.map_err(failed)? {
            entries.extend(self.entry(found).await?);
        }
        Ok(entries)
    }

    async fn get(&self, id: &OperationId) -> Result<Option<Entry>, JournalError> {
        match self.registry.operations().get(id).await.map_err(failed)? {
            Some(found) => self.entry(found).await,
            None => Ok(None),
        }
    }

    async fn put(
        &self,
        record: &Record,
        expected: Option<Version>,
    ) -> Result<Version, JournalError> {
        let expected = expected.map(|version| Revision(version.0));
        if expected.is_none() {
            check_ranges(&record.work)?;
            if !self.write_detail(record).await.map_err(failed)? {
                return Err(self.conflict(record.id()).await);
            }
            self.wrote(&record.operation, Written::Work);
        }
        let (operations, operation) = (self.registry.operations(), record.operation.clone());
        match operations.put(record.id(), expected, operation).await {
            Ok(stored) => {
                self.wrote(&record.operation, Written::Phase);
                Ok(Version(stored.revision.0))
            }
            Err(error) if is_conflict(&error) => Err(self.conflict(record.id()).await),
            Err(error) => Err(failed(error)),
        }
    }

    async fn remove(&self, id: &OperationId, expected: Version) -> Result<(), JournalError> {
        let operations = self.registry.operations();
        let found = operations.get(id).await.map_err(failed)?;
        if let Some(found) = found {
            if found.revision != Revision(expected.0) {
                return Err(self.conflict(id).await);
            }
            self.let_go(&found.value).await?;
            self.check_removed(&found.value).await?;
            for shard in found.value.sources.iter().chain(&found.value.targets) {
                self.forget_shard(&found.value, shard).await?;
            }
            match operations.delete(&found).await {
                Err(error) if is_conflict(&error) => return Err(self.conflict(id).await),
                outcome => outcome.map_err(failed)?,
            }
            self.wrote(&found.value, Written::Removed);
        }
        if let Some(detail) = self.details.get(id).await.map_err(failed)? {
            self.details.delete(&detail).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn is_foreign(&self, id: &OperationId) -> Result<bool, JournalError> {
        let found = self.registry.operations().get(id).await.map_err(failed)?;
        let here = self.registry.name();
        Ok(found.is_some_and(|found| found.value.keyspace != *here))
    }

    async fn orphans(&self) -> Result<Vec<OperationId>, JournalError> {
        // Listed first: of what is written down meanwhile the operation is seen.
        let details = self.details.list().await.map_err(failed)?;
        let operations = self.registry.operations().list().await.map_err(failed)?;
        let known: BTreeSet<_> = operations.iter().map(|found| &found.value.id).collect();
        let named = details.iter().map(|detail| detail.key.last_name());
        let named = named.filter_map(|name| OperationId::new(name).ok());
        Ok(named.filter(|id| !known.contains(id)).collect())
    }

    async fn forget(&self, id: &OperationId) -> Result<(), JournalError> {
        let detail = self.details.get(id).await.map_err(failed)?;
        if self
            .registry
            .operations()
            .get(id)
            .await
            .map_err(failed)?
            .is_some()
        {
            return Err(self.conflict(id).await);
        }
        match detail {
            Some(detail) => self.details.delete(&detail).await.map_err(failed),
            None => Ok(()),
        }
    }

    async fn shards(&self) -> Result<Vec<Part>, JournalError> {
        let map = self.map().await.map_err(failed)?;
        let part = |shard: &Shard| Part {
            shard: shard.id().clone(),
            node: node_of(shard.record()),
            extent: Extent::range(shard.range()),
        };
        Ok(map.shards().iter().map(part).collect())
    }

    async fn is_moved_by_members(&self, shard: &ShardId) -> Result<bool, JournalError> {
        let found = self.registry.shards().get(shard).await.map_err(failed)?;
        Ok(found.is_some_and(|found| found.value.replicated))
    }

    async fn hold(&self, record: &Record) -> Result<(), JournalError> {
        let found = self.get(record.id()).await?;
        if found.is_none_or(|found| found.record.phase() != Phase::Planned) {
            return Err(self.conflict(record.id()).await);
        }
        let replicated = self.is_replicated(record).await?;
        for part in &record.work.sources {
            self.hold_source(record, part).await?;
        }
        for part in &record.work.targets {
            self.create_target(record, part, replicated).await?;
        }
        self.check_held(record).await
    }

    async fn resolve(&self, record: &Record) -> Result<(), JournalError> {
        let shards = record.operation.sources.iter();
        for shard in shards.chain(&record.operation.targets) {
            let step = |found: &ShardRecord| Ok(found.resolve(&record.operation)?);
            match self.registry.update_shard(shard, step).await {
                Ok(_) => self.wrote(&record.operation, Written::Resolved),
                // A target that was never created has nothing to let go of.
                Err(RegistryError::UnknownShard { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}
