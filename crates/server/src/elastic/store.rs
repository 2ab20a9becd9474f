//! The shards of a keyspace as operations use them, wherever their primaries are.

mod metrics;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_elastic::{
    Batch, Changes, Cut, Digest, DigestAt, Extent, Import, Pace, Page, RowChange, ShardMetrics,
    ShardStore, StoreError,
};
use shardwright_http::{ClientError, Token};
use shardwright_registry::{BoxError, Registry, Store};
use shardwright_topology::{
    Backoff, KeyRange, KeyspaceName, Lsn, NodeId, OperationId, ShardId, ShardState, Side,
};

use self::metrics::metrics_in;
use super::{
    Members, Way,
    failure::Failure,
    wire::{self, Ask, Refusal, Said},
};

/// How often a shard is asked whose primary is not where it was thought to be.
const TRIES: u32 = 8;

/// The waits between two of those.
const WAITS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// How many records of a source a target takes in at once, at most: each may be of many writes, and every copy of the target applies them beside
/// what else its node does.
const RECORDS_MAX: usize = 64;

/// The replicated shards of a keyspace, as one store for all nodes: it asks whoever has the primary.
///
/// Give the same one for every node.
#[derive(Clone)]
pub struct ClusterStore {
    members: Members,
    keyspace: KeyspaceName,
    /// Who had the primary last.
    primaries: Arc<Mutex<HashMap<ShardId, NodeId>>>,
}

impl fmt::Debug for ClusterStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterStore")
            .field("keyspace", &self.keyspace)
            .finish_non_exhaustive()
    }
}

impl ClusterStore {
    /// Returns the store of a keyspace whose nodes a registry knows.
    ///
    /// # Errors
    /// [`ClientError`]: there is no way to speak to nodes.
    pub fn new(
        store: Arc<dyn Store>,
        keyspace: KeyspaceName,
        token: Option<Token>,
    ) -> Result<Self, ClientError> {
        let members = Members::new(here(), store, keyspace, token)?;
        Ok(Self::of(members))
    }

    /// Returns the store of the keyspace of a registry, whose nodes are asked in some way.
    #[must_use]
    pub fn through(registry: Registry, way: Arc<dyn Way>) -> Self {
        Self::of(Members::through(here(), registry, way))
    }

    fn of(members: Members) -> Self {
        Self {
            keyspace: members.registry().name().clone(),
            members,
            primaries: Arc::default(),
        }
    }

    /// Asks the primary of a shard, and the next one if it has moved. A shard without a record is looked for again: what a registry shows may be
    /// older than the record, and whoever asks gives an operation up, or takes it for done, if the shard is not there.
    async fn ask(&self, shard: &ShardId, ask: Ask) -> Result<Said, Failure> {
        let id = PartitionId::new(self.keyspace.clone(), shard.clone());
        let way = self.members.way();
        let mut waits = Backoff::new(WAITS.0, WAITS.1, way.seed());
        let nobody = || Failure::Lost("nobody is the primary of the shard".into());
        let mut last = nobody();
        for _ in 0..TRIES {
            let node = match self.primary(shard).await {
                Ok(Some(node)) => node,
                Err(lost @ Failure::Lost(_)) => return Err(lost),
                none => {
                    last = none.err().unwrap_or_else(nobody);
                    way.pause(waits.next().unwrap_or(WAITS.1)).await;
                    continue;
                }
            };
            match self.members.ask(&node, &id, ask.clone()).await {
                Ok(Ok(said)) => return Ok(said),
                Ok(Err(Refusal::NotPrimary { hint })) => {
                    last = Failure::Lost(format!("{node} is not the primary of the shard").into());
                    self.remember(shard, hint.filter(|hint| *hint != node));
                }
                Ok(Err(refusal)) => return Err(Failure::Refused(refusal)),
                Err(error) => {
                    last = Failure::Lost(error);
                    self.remember(shard, None);
                }
            }
            way.pause(waits.next().unwrap_or(WAITS.1)).await;
        }
        Err(last)
    }

    async fn primary(&self, shard: &ShardId) -> Result<Option<NodeId>, Failure> {
        if let Some(node) = self.known().get(shard) {
            return Ok(Some(node.clone()));
        }
        let found = self.members.registry().shards().get(shard).await;
        let found = found.map_err(|error| Failure::Lost(error.into()))?;
        let record = found.ok_or(Failure::Unknown)?.value;
        let primary = record.primary().cloned();
        self.remember(shard, primary.clone());
        Ok(primary)
    }

    fn remember(&self, shard: &ShardId, primary: Option<NodeId>) {
        let mut known = self.known();
        match primary {
            Some(node) => drop(known.insert(shard.clone(), node)),
            None => drop(known.remove(shard)),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ShardId, NodeId>> {
        self.primaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn cut(
        &self,
        operation: &OperationId,
        shard: &ShardId,
        again: bool,
    ) -> Result<Lsn, StoreError> {
        let operation = operation.clone();
        let ask = Ask::Cut {
            operation: operation.clone(),
            again,
        };
        let cut = match self.ask(shard, ask).await {
            Ok(Said::Position(at)) => Ok(at),
            Ok(said) => Err(unexpected(&said)),
            Err(error) => Err(error),
        };
        cut.map_err(|error| error.of(shard, Some(&operation)))
    }

    async fn digest_at(&self, shard: &ShardId, ask: Ask) -> Result<DigestAt, Failure> {
        match self.ask(shard, ask).await? {
            Said::Digest {
                position,
                rows,
                bytes,
                hash,
            } => Ok(DigestAt {
                position,
                digest: Digest { rows, bytes, hash },
                counts_all: true,
            }),
            said => Err(unexpected(&said)),
        }
    }
}

/// As who it asks.
fn here() -> NodeId {
    NodeId::new("coordinator").expect("it is a name")
}

fn unexpected(said: &Said) -> Failure {
    tracing::error!(?said, "a node answers what it was not asked");
    Failure::Lost("the node answered what it was not asked".into())
}

fn range_of(extent: &Extent) -> Result<KeyRange, Failure> {
    let why = "a replicated shard owns one range of positions";
    let range = extent.as_range();
    range.ok_or_else(|| Failure::Refused(Refusal::Failed(why.to_owned())))
}

#[async_trait]
impl ShardStore for ClusterStore {
    async fn create(
        &self,
        operation: &OperationId,
        shard: &ShardId,
        _extent: &Extent,
    ) -> Result<(), StoreError> {
        // Its record is there, and the coordinators have its copies made.
        let ready = self.ask(shard, Ask::Ready).await;
        ready
            .map(drop)
            .map_err(|error| error.of(shard, Some(operation)))
    }

    async fn follow(&self, operation: &OperationId, shard: &ShardId) -> Result<Lsn, StoreError> {
        self.cut(operation, shard, false).await
    }

    async fn scan(
        &self,
        _shard: &ShardId,
        _extent: &Extent,
        _after: Option<&[u8]>,
        _batch: Batch,
    ) -> Result<Page, StoreError> {
        let why = "a target of a replicated shard begins with all rows";
        Err(StoreError::Failed(Arc::new(why.into())))
    }

    async fn changes(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Lsn,
        up_to: Option<Lsn>,
        batch: Batch,
    ) -> Result<Changes, StoreError> {
        let asked = async {
            let ask = Ask::Changes {
                range: range_of(extent)?,
                after,
                up_to,
                count: batch.rows.min(RECORDS_MAX),
                bytes: batch.bytes,
            };
            match self.ask(shard, ask).await? {
                Said::Changes {
                    records,
                    through,
                    head,
                } => Ok(Changes {
                    after,
                    changes: records
                        .iter()
                        .map(|(lsn, record)| change(*lsn, record))
                        .collect(),
                    through,
                    head,
                }),
                said => Err(unexpected(&said)),
            }
        };
        asked.await.map_err(|error: Failure| match error {
            Failure::Refused(Refusal::Trimmed) => StoreError::Trimmed {
                shard: shard.clone(),
                after,
            },
            error => error.of(shard, None),
        })
    }

    async fn imported(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        _from: Lsn,
    ) -> Result<Import, StoreError> {
        let ask = Ask::Imported {
            operation: operation.clone(),
            source: source.clone(),
        };
        let imported = match self.ask(target, ask).await {
            Ok(Said::Imported(applied)) => Ok(import_at(applied)),
            Ok(said) => Err(unexpected(&said)),
            Err(Failure::Refused(Refusal::NoBase)) => {
                self.cut(operation, source, true).await?;
                Err(Failure::Refused(Refusal::NoBase))
            }
            Err(error) => Err(error),
        };
        imported.map_err(|error| error.of(target, Some(operation)))
    }

    async fn import(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        _page: Page,
    ) -> Result<Import, StoreError> {
        self.imported(operation, target, source, Lsn(0)).await
    }

    async fn apply(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        changes: Changes,
    ) -> Result<Import, StoreError> {
        let records = changes.changes.iter().filter_map(|change| {
            let record = change.value.as_deref()?;
            wire::decode(record)
        });
        let ask = Ask::Apply {
            operation: operation.clone(),
            source: source.clone(),
            after: changes.after,
            through: changes.through,
            records: records.collect(),
        };
        let applied = match self.ask(target, ask).await {
            Ok(Said::Imported(applied)) => Ok(import_at(applied)),
            Ok(said) => Err(unexpected(&said)),
            Err(error) => Err(error),
        };
        applied.map_err(|error| error.of(target, Some(operation)))
    }

    async fn digest(&self, shard: &ShardId, extent: &Extent) -> Result<DigestAt, StoreError> {
        let asked = async {
            let range = range_of(extent)?;
            self.digest_at(shard, Ask::Digest { range }).await
        };
        asked.await.map_err(|error| error.of(shard, None))
    }

    async fn digest_of_import(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        extent: &Extent,
    ) -> Result<DigestAt, StoreError> {
        let asked = async {
            let ask = Ask::DigestOfImport {
                operation: operation.clone(),
                source: source.clone(),
                range: range_of(extent)?,
            };
            self.digest_at(target, ask).await
        };
        asked
            .await
            .map_err(|error| error.of(target, Some(operation)))
    }

    async fn pace(
        &self,
        _operation: &OperationId,
        _shard: &ShardId,
        _pace: Pace,
    ) -> Result<(), StoreError> {
        // What a target takes in is as fast as what a source writes: both are records of a log.
        Ok(())
    }

    async fn seal(&self, operation: &OperationId, shard: &ShardId) -> Result<Lsn, StoreError> {
        let ask = Ask::Seal {
            operation: operation.clone(),
        };
        let sealed = match self.ask(shard, ask).await {
            Ok(Said::Position(at)) => Ok(at),
            Ok(said) => Err(unexpected(&said)),
            Err(error) => Err(error),
        };
        sealed.map_err(|error| error.of(shard, Some(operation)))
    }

    async fn release(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        let ask = Ask::Release {
            operation: operation.clone(),
        };
        let released = self.ask(shard, ask).await;
        released
            .map(drop)
            .map_err(|error| error.of(shard, Some(operation)))
    }

    async fn open(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        // Whoever follows the map writes to it from the commit on.
        let ready = self.ask(shard, Ask::Ready).await;
        ready
            .map(drop)
            .map_err(|error| error.of(shard, Some(operation)))
    }

    async fn remove(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        let asked = async {
            let registered = self.members.registry().copies().list().await;
            let registered = registered.map_err(|error| Failure::Lost(error.into()))?;
            let id = PartitionId::new(self.keyspace.clone(), shard.clone());
            let holders = registered.iter().map(|stored| &stored.value);
            let mut removed = Ok(());
            for holder in holders.filter(|node| node.copies.contains_key(shard)) {
                let ask = Ask::Remove {
                    operation: operation.clone(),
                };
                let answer = self.members.ask(&holder.node, &id, ask).await;
                // One that is away keeps no other one from being asked.
                removed = removed.and(match answer {
                    Ok(answer) => answer.map(drop).map_err(Failure::Refused),
                    Err(error) => Err(Failure::Lost(error)),
                });
            }
            self.remember(shard, None);
            removed
        };
        asked
            .await
            .map_err(|error: Failure| error.of(shard, Some(operation)))
    }

    async fn importing(&self) -> Result<Vec<(ShardId, OperationId)>, StoreError> {
        let registry = self.members.registry();
        let unavailable = |error| StoreError::Unavailable(Arc::new(BoxError::from(error)));
        let shards = registry.shards().list().await.map_err(unavailable)?;
        let operations = registry.operations().list().await.map_err(unavailable)?;
        let registered = registry.copies().list().await.map_err(unavailable)?;
        let has_copies = |shard: &ShardId| {
            let mut nodes = registered.iter();
            nodes.any(|node| node.value.copies.contains_key(shard))
        };
        let records: BTreeMap<_, _> = shards.iter().map(|it| (&it.value.id, &it.value)).collect();
        // What a node had that was away when an operation ended, or what it was told to make just then. The record of the shard may have gone since.
        let owns_nothing = |shard: &ShardId| {
            let record = records.get(shard);
            record.is_none_or(|record| record.state == ShardState::Retired)
        };
        let operations = operations.iter().map(|stored| &stored.value);
        let ended = operations
            .filter(|operation| operation.keyspace == self.keyspace && operation.phase.is_final());
        let left = ended.flat_map(|operation| {
            let retired = operation.retires();
            let left = retired.filter(|shard| owns_nothing(shard) && has_copies(shard));
            left.map(|shard| (shard.clone(), operation.id.clone()))
        });
        let filled = records.values().filter_map(|record| {
            let is_filled = record.state == ShardState::Importing && record.replicated;
            let hold = record
                .hold
                .as_ref()
                .filter(|hold| is_filled && hold.side == Side::Target)?;
            Some((record.id.clone(), hold.operation.clone()))
        });
        Ok(filled.chain(left).collect())
    }

    async fn metrics(&self, shard: &ShardId) -> Result<ShardMetrics, StoreError> {
        let said = self.ask(shard, Ask::Metrics).await;
        let metrics = said.and_then(metrics_in);
        metrics.map_err(|error| error.of(shard, None))
    }

    async fn metrics_of(&self, shards: &[ShardId]) -> Vec<Result<ShardMetrics, StoreError>> {
        self.metrics_by_node(shards).await
    }

    async fn median(&self, shard: &ShardId) -> Result<Option<Cut>, StoreError> {
        let median = match self.ask(shard, Ask::Median).await {
            Ok(Said::Median(at)) => Ok(at.map(|at| Cut::Position { at })),
            Ok(said) => Err(unexpected(&said)),
            Err(error) => Err(error),
        };
        median.map_err(|error| error.of(shard, None))
    }
}

/// What a target has that began with all rows.
fn import_at(applied: Lsn) -> Import {
    Import {
        complete: true,
        ..Import::begun(applied)
    }
}

/// A record as the workflow carries it.
fn change(lsn: Lsn, record: &crate::shard::split::SourceRecord) -> RowChange {
    RowChange {
        position: lsn,
        key: lsn.0.to_be_bytes().to_vec(),
        value: Some(wire::encode(record)),
    }
}

#[cfg(test)]
mod tests;
