//! What a node does for operations with the copies that it has.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_registry::{BoxError, Registry};
use shardwright_sql::Placement;
use shardwright_store::{Error as StoreError, Snapshot};
use shardwright_topology::{
    Decision, KeyRange, KeyspaceName, Lsn, NodeId, Operation, OperationId, ShardId, ShardRecord,
    Side,
};

use super::{
    Members, Way,
    content::{self, SumOf},
    flights::Flights,
    measure::Counts,
    placements::Placements,
    refusals::{not_cut, not_fresh, not_read, not_taken, sealed, unknown},
    wire::{self, Answer, Ask, Refusal, Request, Said},
};
use crate::shard::{
    Fresh, ReadLevel,
    split::{
        BaseState, Cut, CutPart, Cutting, Importing, Sealing, ShardCopy, Wanted, import_client,
        schema_number,
    },
};

/// How long the log may take for one record.
pub(super) const APPENDING: Duration = Duration::from_secs(5);

/// How long the seal may wait for a transaction that is open.
const SEALING: Duration = Duration::from_secs(2);

/// How long the primary waits for its data.
const FRESH: Duration = Duration::from_secs(5);

/// The copies that a node has. Clones are the same ones.
pub trait ShardCopies: Clone + Send + Sync + 'static {
    /// One of them.
    type Copy: ShardCopy;

    /// Returns the copy of a shard; `None` if there is none.
    fn copy(&self, shard: &PartitionId) -> Option<Self::Copy>;

    /// Returns the registry of a keyspace.
    fn registry(&self, keyspace: &KeyspaceName) -> Registry;

    /// Removes the copy of a shard that owns nothing any more; again does nothing.
    ///
    /// # Errors
    /// Why it is there, or a part of it.
    fn retire(&self, shard: &PartitionId) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Does for operations what the copies of a node have to do with them. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Local<S> {
    pub(super) copies: S,
    pub(super) members: Members,
    placements: Placements,
    /// How often the sources of operations were cut here.
    cuts: Arc<Mutex<HashMap<OperationId, u32>>>,
    /// How many rows its shards have.
    pub(super) counts: Counts,
    /// What is being read of whole shards.
    flights: Flights,
}

/// How often a source is cut for one operation before that is given up.
const CUTS_MAX: u32 = 8;

/// Of how many operations it is known how often that was.
const CUTS_KNOWN: usize = 1_000;

impl<S: ShardCopies> Local<S> {
    pub(super) fn new(copies: S, members: Members) -> Self {
        Self {
            copies,
            members,
            placements: Placements::default(),
            cuts: Arc::default(),
            counts: Counts::default(),
            flights: Flights::default(),
        }
    }

    /// Returns that of a node with these copies, which asks the others in some way.
    #[must_use]
    pub fn through(here: NodeId, copies: S, registry: Registry, way: Arc<dyn Way>) -> Self {
        Self::new(copies, Members::through(here, registry, way))
    }

    /// Does what a request says, and returns the answer; `None` if it is none that this release understands.
    pub async fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let request = wire::decode::<Request>(request)?;
        Some(wire::encode(&self.answer_to(request).await))
    }

    /// Does what is asked, as far as this node has what it takes.
    async fn answer_to(&self, request: Request) -> Answer {
        match request.ask {
            Ask::Digest { .. } | Ask::DigestOfImport { .. } | Ask::Metrics | Ask::Median => {
                let (local, asked) = (self.clone(), request.clone());
                let answer = move || async move { local.answer_alone(asked).await }.boxed();
                self.flights.join(&request, answer).await
            }
            _ => self.answer_alone(request).await,
        }
    }

    async fn answer_alone(&self, Request { shard: id, ask }: Request) -> Answer {
        if let Ask::Remove { operation } = &ask {
            return self.remove(&id, operation).await;
        }
        let shard = self.copies.copy(&id);
        let shard = shard.ok_or(Refusal::NotPrimary { hint: None })?;
        if let Ask::Base { operation, target } = &ask {
            shard.hold_while_making().await;
            let state = self.base_here(&id, &shard, (operation, target)).await?;
            return Ok(Said::Base(state));
        }
        let fresh = shard.fresh(ReadLevel::Leased, FRESH).await;
        let fresh = fresh.map_err(not_fresh)?;
        self.answer_primary(&id, &shard, fresh, ask).await
    }

    async fn answer_primary(
        &self,
        id: &PartitionId,
        shard: &S::Copy,
        fresh: Fresh,
        ask: Ask,
    ) -> Answer {
        match ask {
            Ask::Ready => Ok(Said::Done),
            Ask::Cut { operation, again } => self.cut(id, shard, fresh, (operation, again)).await,
            Ask::Imported { operation, source } => {
                self.imported(id, shard, (&operation, &source)).await
            }
            Ask::Changes {
                range,
                after,
                up_to,
                count,
                bytes,
            } => {
                let source = self.range(id).await?;
                let wanted = Wanted {
                    tells: source.start() == range.start(),
                    range,
                    placement: self.placement(id, shard, &fresh).await?,
                    after,
                    up_to,
                    count,
                    bytes,
                };
                records(shard, wanted).await
            }
            Ask::Apply {
                operation,
                source,
                after,
                through,
                records,
            } => {
                // Whoever comes too late finds that what it has was taken in long ago.
                let merging = self.merging(id, &operation, &source).await?;
                let (of, from) = ((&operation, &source), (after, through));
                let imported = shard.import(of, from, records, merging, APPENDING).await;
                let imported = imported.map_err(|error| not_taken(&error))?;
                Ok(Said::Imported(imported.applied))
            }
            Ask::Digest { range } => self.digest(id, shard, fresh, (range, None)).await,
            Ask::DigestOfImport {
                operation,
                source,
                range,
            } => {
                let client = import_client(&operation, &source).0;
                self.digest(id, shard, fresh, (range, Some(client))).await
            }
            Ask::Seal { operation } => {
                self.check_open(id, &operation).await?;
                sealed(shard.seal(&operation, SEALING).await.map(Said::Position))
            }
            Ask::Release { operation } => {
                let released = shard.release(&operation, APPENDING).await;
                sealed(released.map(|_| Said::Done))
            }
            Ask::Metrics => self.metrics(id, shard, fresh).await,
            Ask::Median => self.median(id, shard, fresh).await,
            Ask::Base { .. } | Ask::Remove { .. } => {
                Err(Refusal::Failed("it is for no primary".to_owned()))
            }
        }
    }

    pub(super) fn registry(&self, shard: &PartitionId) -> Registry {
        self.copies.registry(&shard.keyspace)
    }

    /// Has the copies of a source keep aside what its targets are to begin with, unless they do so already and that is enough.
    async fn cut(
        &self,
        id: &PartitionId,
        shard: &S::Copy,
        fresh: Fresh,
        (operation, again): (OperationId, bool),
    ) -> Answer {
        self.check_open(id, &operation).await?;
        let placement = self.placement(id, shard, &fresh).await?;
        let mut parts = self.parts(id, &operation).await?;
        let mut at = None;
        for part in std::mem::take(&mut parts) {
            match self
                .is_cut(id, shard, &operation, &part.shard, again)
                .await?
            {
                Some(known) => at = at.max(Some(known)),
                None => parts.push(part),
            }
        }
        if parts.is_empty() {
            return Ok(Said::Position(at.unwrap_or(fresh.token.lsn)));
        }
        self.count_cut(&operation)?;
        let cut = Cut {
            operation,
            source: id.shard.clone(),
            parts,
            placement: Arc::unwrap_or_clone(placement),
        };
        let at = shard.cut(cut, APPENDING).await;
        at.map(Said::Position).map_err(|error| not_cut(&error))
    }

    /// Returns at which record a source was cut for a target, if that need not be done: the target has begun with it, or this copy keeps it
    /// aside, or is about to, and nobody lacks it.
    async fn is_cut(
        &self,
        id: &PartitionId,
        shard: &S::Copy,
        operation: &OperationId,
        target: &ShardId,
        again: bool,
    ) -> Result<Option<Lsn>, Refusal> {
        let copy = self
            .copies
            .copy(&PartitionId::new(id.keyspace.clone(), target.clone()));
        if let Some(copy) = copy
            && let Ok(Some(imported)) = copy.imported(operation, &id.shard).await
        {
            return Ok(Some(imported.applied));
        }
        Ok(match shard.base(operation, target) {
            BaseState::Made(base) if !again => Some(base.at),
            BaseState::Making => Some(Lsn(0)),
            BaseState::Made(_) | BaseState::Failed(_) | BaseState::Missing | BaseState::Waiting => {
                None
            }
        })
    }

    /// Returns what the targets of an operation get, in the order of their ranges.
    async fn parts(
        &self,
        id: &PartitionId,
        operation: &OperationId,
    ) -> Result<Vec<CutPart>, Refusal> {
        let shards = self.registry(id).shards().list().await;
        let shards = shards.map_err(|error| unknown(&error))?;
        let is_target = |record: &ShardRecord| {
            let hold = record.hold.as_ref();
            hold.is_some_and(|hold| hold.operation == *operation && hold.side == Side::Target)
        };
        let records = shards.into_iter().map(|stored| stored.value);
        let parts = records.filter(is_target).filter_map(|record| {
            Some(CutPart {
                range: record.range?,
                shard: record.id,
                tells: false,
            })
        });
        let mut parts: Vec<_> = parts.collect();
        parts.sort_by_key(|part| part.range.start());
        let first = parts.first_mut().ok_or(Refusal::NotHeld)?;
        first.tells = true;
        Ok(parts)
    }

    /// Counts how often the sources of an operation are cut, and ends that once it is of no use.
    fn count_cut(&self, operation: &OperationId) -> Result<(), Refusal> {
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        if cuts.len() > CUTS_KNOWN {
            cuts.clear();
        }
        let count = cuts.entry(operation.clone()).or_default();
        *count += 1;
        if *count <= CUTS_MAX {
            return Ok(());
        }
        let why = format!(
            "the shard was divided {CUTS_MAX} times, and too few members kept the same aside: begin again once all of them are there"
        );
        Err(Refusal::Failed(why))
    }

    async fn digest(
        &self,
        id: &PartitionId,
        shard: &S::Copy,
        fresh: Fresh,
        (range, imported): (KeyRange, Option<[u8; 16]>),
    ) -> Answer {
        let placement = self.placement(id, shard, &fresh).await?;
        let own = self.range(id).await?;
        let sum_of = match (imported, own == range) {
            // A part of what is here, which has to be all of the other one.
            (None, false) => SumOf::Part(range),
            (Some(_), true) => SumOf::All,
            // One of several that become one: what all of them have whole comes from one of them.
            (None, true) | (Some(_), false) => SumOf::Divided(range),
        };
        read(shard, fresh, move |snapshot| {
            let position = match imported {
                Some(client) => snapshot.last_of(&client)?.map(|(sequence, _)| sequence),
                None => snapshot.replica()?.map(|replica| replica.applied.lsn),
            };
            let Some(position) = position.map(Lsn) else {
                return Ok(Err(Refusal::NotHeld));
            };
            let sum = content::digest(snapshot, &placement, sum_of)?;
            Ok(Ok(Said::Digest {
                position,
                rows: sum.rows,
                bytes: sum.bytes,
                hash: sum.hash,
            }))
        })
        .await
    }

    /// Returns the range that a shard owns.
    pub(super) async fn range(&self, id: &PartitionId) -> Result<KeyRange, Refusal> {
        let found = self.registry(id).shard(&id.shard).await;
        let range = found.map_err(|error| unknown(&error))?.value.range;
        range.ok_or(Refusal::NotHeld)
    }

    async fn median(&self, id: &PartitionId, shard: &S::Copy, fresh: Fresh) -> Answer {
        let placement = self.placement(id, shard, &fresh).await?;
        let range = self.range(id).await?;
        read(shard, fresh, move |snapshot| {
            let median = content::median(snapshot, &placement, range)?;
            Ok(Ok(Said::Median(median)))
        })
        .await
    }

    /// Removes the copy on this node of a shard that owns nothing any more.
    async fn remove(&self, id: &PartitionId, operation: &OperationId) -> Answer {
        let found = self.operation(id, operation).await?;
        if !found.retires().any(|shard| *shard == id.shard) {
            return Err(Refusal::NotHeld);
        }
        let removed = self.copies.retire(id).await;
        removed
            .map(|()| Said::Done)
            .map_err(|error| Refusal::Later(error.to_string()))
    }

    /// Returns what leads from a row to its position, at the schema that the shard has.
    pub(super) async fn placement(
        &self,
        id: &PartitionId,
        shard: &S::Copy,
        fresh: &Fresh,
    ) -> Result<Arc<Placement>, Refusal> {
        let here = schema_number(shard, Arc::clone(&fresh.file)).await;
        let here = here.map_err(|error| not_taken(&error))?;
        if let Some(known) = self.placements.of(&id.keyspace, here) {
            return Ok(known);
        }
        let placement = self.latest_placement(id).await?;
        if placement.number != here {
            let why = "a change of the schema is under way";
            return Err(Refusal::Later(why.into()));
        }
        Ok(self.placements.learn(&id.keyspace, placement))
    }

    /// Returns what leads from a row to its position at the latest schema, which includes all tables that any record has rows of.
    pub(super) async fn latest_placement(&self, id: &PartitionId) -> Result<Placement, Refusal> {
        let keyspace = self.registry(id).keyspace().await;
        let keyspace = keyspace.map_err(|error| unknown(&error))?;
        let keyspace = keyspace.ok_or_else(|| Refusal::Failed("there is no keyspace".into()))?;
        let placement = Placement::of(&keyspace.value);
        placement.map_err(|error| Refusal::Failed(error.to_string()))
    }

    pub(super) async fn operation(
        &self,
        id: &PartitionId,
        operation: &OperationId,
    ) -> Result<Operation, Refusal> {
        let found = self.registry(id).operations().get(operation).await;
        let found = found.map_err(|error| unknown(&error))?;
        found.map(|stored| stored.value).ok_or(Refusal::Ended)
    }

    /// Whether the operation may still go either way, and takes rows from the shard.
    async fn check_open(&self, id: &PartitionId, operation: &OperationId) -> Result<(), Refusal> {
        let found = self.operation(id, operation).await?;
        if !found.sources.contains(&id.shard) {
            return Err(Refusal::NotHeld);
        }
        match found.phase.decision() {
            Decision::Open => Ok(()),
            Decision::Commit | Decision::Abort => Err(Refusal::Ended),
        }
    }

    /// Whether the operation fills the shard, and nobody else writes to it.
    pub(super) async fn check_filled(
        &self,
        id: &PartitionId,
        operation: &OperationId,
    ) -> Result<(), Refusal> {
        let found = self.operation(id, operation).await?;
        let is_open = found.phase.decision() == Decision::Open;
        if is_open && found.targets.contains(&id.shard) {
            return Ok(());
        }
        Err(Refusal::NotHeld)
    }
}

/// Returns what a source has written.
async fn records(copy: &impl ShardCopy, wanted: Wanted) -> Answer {
    let found = copy.records(wanted).await;
    let found = found.map_err(|error| not_taken(&error))?;
    Ok(Said::Changes {
        records: found.records,
        through: found.through,
        head: found.head,
    })
}

/// Reads a snapshot, which may take long, on a thread that gives way to whoever reads and writes.
pub(super) async fn read<T: Send + 'static>(
    copy: &impl ShardCopy,
    fresh: Fresh,
    run: impl FnOnce(&Snapshot) -> Result<Result<T, Refusal>, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    let read = copy.in_background("sum", move || run(&fresh.file.snapshot()?));
    match read.await {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => Err(not_read(&error)),
        None => Err(Refusal::Later("it was not read".into())),
    }
}
