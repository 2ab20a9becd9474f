//! What a node does for operations with the copies that it has.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_quorum::log::shard_log::AppendError;
use shardwright_registry::{Error as RegistryError, Registry};
use shardwright_sql::{Placement, shards::BROADCAST_KEY};
use shardwright_store::{Error as StoreError, Snapshot, Value};
use shardwright_topology::{
    Config, Decision, KeyRange, Lsn, NodeId, Operation, OperationId, ShardId, ShardRecord, Side,
};
use tokio::task::spawn_blocking;

use super::{
    content,
    wire::{Answer, Ask, Refusal, Request, Said},
};
use crate::{
    node::Copies,
    shard::{
        Fresh, ReadError, ReadLevel, Shard, WriteError,
        split::{
            Base, BaseState, Cut, CutPart, ImportError, SealError, Take, Wanted, import_client,
        },
    },
};

/// How long the log may take for one record.
const APPENDING: Duration = Duration::from_secs(5);

/// How long the seal may wait for a transaction that is open.
const SEALING: Duration = Duration::from_secs(2);

/// How long the primary waits for its data.
const FRESH: Duration = Duration::from_secs(5);

/// Answers for the copies of a node.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) copies: Copies,
    pub(super) members: super::store::Members,
}

impl Local {
    /// Does what is asked, as far as this node has what it takes.
    pub(super) async fn answer(&self, Request { shard: id, ask }: Request) -> Answer {
        if let Ask::Remove { operation } = &ask {
            return self.remove(&id, operation).await;
        }
        let shard = self.copies.shard(&id);
        let shard = shard.ok_or(Refusal::NotPrimary { hint: None })?;
        if let Ask::Base { operation, target } = &ask {
            return Ok(Said::Base(shard.base(operation, target)));
        }
        let fresh = shard.fresh(ReadLevel::Leased, FRESH).await;
        let fresh = fresh.map_err(not_fresh)?;
        self.answer_primary(&id, &shard, fresh, ask).await
    }

    async fn answer_primary(
        &self,
        id: &PartitionId,
        shard: &Shard,
        fresh: Fresh,
        ask: Ask,
    ) -> Answer {
        match ask {
            Ask::Ready => Ok(Said::Done),
            Ask::Cut { operation } => self.cut(id, shard, fresh, operation).await,
            Ask::Imported { operation, source } => {
                self.imported(id, shard, &operation, &source).await
            }
            Ask::Changes {
                range,
                after,
                up_to,
                count,
                bytes,
            } => {
                let wanted = Wanted {
                    range,
                    placement: self.placement(id, &fresh).await?,
                    after,
                    up_to,
                    count,
                    bytes,
                };
                let found = shard
                    .records(wanted)
                    .await
                    .map_err(|error| not_taken(&error))?;
                Ok(Said::Changes {
                    records: found.records,
                    through: found.through,
                    head: found.head,
                })
            }
            Ask::Apply {
                operation,
                source,
                after,
                through,
                records,
            } => {
                self.check_filled(id, &operation).await?;
                let of = (&operation, &source);
                let imported = shard.import(of, (after, through), records, APPENDING).await;
                let imported = imported.map_err(|error| not_taken(&error))?;
                Ok(Said::Imported(imported.applied))
            }
            Ask::Digest { range } => self.digest(id, fresh, range, None).await,
            Ask::DigestOfImport {
                operation,
                source,
                range,
            } => {
                let client = import_client(&operation, &source).0;
                self.digest(id, fresh, range, Some(client)).await
            }
            Ask::Seal { operation } => {
                self.check_open(id, &operation).await?;
                let sealed = shard.seal(&operation, SEALING).await;
                sealed
                    .map(Said::Position)
                    .map_err(|error| not_sealed(&error))
            }
            Ask::Release { operation } => {
                let released = shard.release(&operation, APPENDING).await;
                released
                    .map(|_| Said::Done)
                    .map_err(|error| not_sealed(&error))
            }
            Ask::Metrics => self.metrics(id, fresh).await,
            Ask::Median => self.median(id, fresh).await,
            Ask::Base { .. } | Ask::Remove { .. } => {
                Err(Refusal::Failed("it is for no primary".to_owned()))
            }
        }
    }

    fn registry(&self, shard: &PartitionId) -> Registry {
        self.copies.registry(&shard.keyspace)
    }

    /// Has the copies of a source keep aside what its targets are to begin with.
    async fn cut(
        &self,
        id: &PartitionId,
        shard: &Shard,
        fresh: Fresh,
        operation: OperationId,
    ) -> Answer {
        self.check_open(id, &operation).await?;
        let placement = self.placement(id, &fresh).await?;
        let registry = self.registry(id);
        let shards = registry
            .shards()
            .list()
            .await
            .map_err(|error| unknown(&error))?;
        let is_target = |record: &ShardRecord| {
            let hold = record.hold.as_ref();
            hold.is_some_and(|hold| hold.operation == operation && hold.side == Side::Target)
        };
        let targets = shards
            .into_iter()
            .map(|stored| stored.value)
            .filter(is_target);
        let parts = targets.filter_map(|record| {
            Some(CutPart {
                range: record.range?,
                shard: record.id,
            })
        });
        let parts: Vec<_> = parts.collect();
        if parts.is_empty() {
            return Err(Refusal::NotHeld);
        }
        let cut = Cut {
            operation,
            source: id.shard.clone(),
            parts,
            placement: Arc::unwrap_or_clone(placement),
        };
        let at = shard.cut(cut, APPENDING).await;
        at.map(Said::Position).map_err(not_appended)
    }

    /// Returns how much of a source a target has. It begins with what its members have kept aside, once enough of them have.
    async fn imported(
        &self,
        id: &PartitionId,
        shard: &Shard,
        operation: &OperationId,
        source: &ShardId,
    ) -> Answer {
        let found = shard.imported(operation, source).await;
        if let Some(imported) = found.map_err(|error| not_taken(&error))? {
            return Ok(Said::Imported(imported.applied));
        }
        self.check_filled(id, operation).await?;
        let leads = shard.status().borrow().leads.clone();
        let config = leads.ok_or(Refusal::NotPrimary { hint: None })?;
        let base = self.common_base(id, &config, operation, source).await?;
        let take = Take {
            operation: operation.clone(),
            source: source.clone(),
            at: base.at,
            digest: base.digest,
        };
        let begun = shard.begin_with(take, APPENDING).await;
        begun.map_err(not_appended)?;
        Ok(Said::Imported(base.at))
    }

    /// Returns what all members have kept aside.
    async fn common_base(
        &self,
        id: &PartitionId,
        config: &Config,
        operation: &OperationId,
        source: &ShardId,
    ) -> Result<Base, Refusal> {
        let states = self.bases(id, config, operation, source).await;
        let own = states.get(self.members.here());
        if let Some(BaseState::Failed(why)) = own {
            return Err(Refusal::Failed(why.clone()));
        }
        let is_making = states.values().any(|state| *state == BaseState::Making);
        if is_making {
            return Err(Refusal::Later(
                "the members keep aside what they hold".into(),
            ));
        }
        let mut bases: Vec<&Base> = states.values().filter_map(made).collect();
        bases.sort_by_key(|base| base.at);
        let Some(Some(base)) = own.map(made) else {
            return Err(Refusal::NoBase);
        };
        let equal = bases.iter().filter(|other| **other == base).count();
        // Whoever has none, or another one, is made anew from those who have it.
        if equal >= config.w as usize {
            return Ok(base.clone());
        }
        let differ = bases
            .iter()
            .any(|other| other.at == base.at && other.digest != base.digest);
        if differ {
            return Err(Refusal::Failed(
                "the members keep aside different rows".into(),
            ));
        }
        Err(Refusal::NoBase)
    }

    /// Asks the members of a target how far they are.
    async fn bases(
        &self,
        id: &PartitionId,
        config: &Config,
        operation: &OperationId,
        source: &ShardId,
    ) -> BTreeMap<NodeId, BaseState> {
        let source = PartitionId::new(id.keyspace.clone(), source.clone());
        let mut states = BTreeMap::new();
        for member in &config.members {
            let ask = Ask::Base {
                operation: operation.clone(),
                target: id.shard.clone(),
            };
            let state = if member.node == *self.members.here() {
                let copy = self.copies.shard(&source);
                copy.map(|copy| copy.base(operation, &id.shard))
            } else {
                match self.members.ask(&member.node, &source, ask).await {
                    Ok(Ok(Said::Base(state))) => Some(state),
                    _ => None,
                }
            };
            states.extend(state.map(|state| (member.node.clone(), state)));
        }
        states
    }

    async fn digest(
        &self,
        id: &PartitionId,
        fresh: Fresh,
        range: KeyRange,
        imported: Option<[u8; 16]>,
    ) -> Answer {
        let placement = self.placement(id, &fresh).await?;
        read(fresh, move |snapshot| {
            let position = match imported {
                Some(client) => snapshot.last_of(&client)?.map(|(sequence, _)| sequence),
                None => snapshot.replica()?.map(|replica| replica.applied.lsn),
            };
            let Some(position) = position.map(Lsn) else {
                return Ok(Err(Refusal::NotHeld));
            };
            let sum = content::digest(snapshot, &placement, range)?;
            Ok(Ok(Said::Digest {
                position,
                rows: sum.rows,
                bytes: sum.bytes,
                hash: sum.hash,
            }))
        })
        .await
    }

    async fn metrics(&self, id: &PartitionId, fresh: Fresh) -> Answer {
        let placement = self.placement(id, &fresh).await?;
        let file = Arc::clone(&fresh.file);
        read(fresh, move |snapshot| {
            let rows = content::count(snapshot, &placement)?;
            let bytes = file.size_bytes()?;
            Ok(Ok(Said::Metrics { bytes, rows }))
        })
        .await
    }

    async fn median(&self, id: &PartitionId, fresh: Fresh) -> Answer {
        let placement = self.placement(id, &fresh).await?;
        let found = self.registry(id).shard(&id.shard).await;
        let range = found.map_err(|error| unknown(&error))?.value.range;
        let range = range.ok_or(Refusal::NotHeld)?;
        read(fresh, move |snapshot| {
            let median = content::median(snapshot, &placement, range)?;
            Ok(Ok(Said::Median(median)))
        })
        .await
    }

    /// Removes the copy on this node of a shard that owns nothing any more.
    async fn remove(&self, id: &PartitionId, operation: &OperationId) -> Answer {
        let found = self.operation(id, operation).await?;
        let may = match found.phase.decision() {
            Decision::Open => false,
            Decision::Commit => found.sources.contains(&id.shard) && !found.keeps(&id.shard),
            Decision::Abort => found.targets.contains(&id.shard) && !found.keeps(&id.shard),
        };
        if !may {
            return Err(Refusal::NotHeld);
        }
        let removed = self.copies.retire(id).await;
        removed
            .map(|()| Said::Done)
            .map_err(|error| Refusal::Later(error.to_string()))
    }

    /// Returns what leads from a row to its position, at the schema that the shard has.
    async fn placement(&self, id: &PartitionId, fresh: &Fresh) -> Result<Arc<Placement>, Refusal> {
        let keyspace = self.registry(id).keyspace().await;
        let keyspace = keyspace.map_err(|error| unknown(&error))?;
        let keyspace = keyspace.ok_or_else(|| Refusal::Failed("there is no keyspace".into()))?;
        let placement = Placement::of(&keyspace.value);
        let placement = placement.map_err(|error| Refusal::Failed(error.to_string()))?;
        let file = Arc::clone(&fresh.file);
        let here = spawn_blocking(move || {
            let sql = "SELECT value FROM main._meta WHERE key = ?1";
            let key = [Value::from(BROADCAST_KEY)];
            file.snapshot()?
                .query_row(sql, &key, |row| row.get(0).as_i64())
        });
        let here = here
            .await
            .map_err(|_| Refusal::Later("it was not read".into()))?;
        let here = here
            .map_err(|error| not_read(&error))?
            .flatten()
            .unwrap_or(0);
        if i64::try_from(placement.number) == Ok(here) {
            return Ok(Arc::new(placement));
        }
        Err(Refusal::Later("a change of the schema is under way".into()))
    }

    async fn operation(
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
    async fn check_filled(&self, id: &PartitionId, operation: &OperationId) -> Result<(), Refusal> {
        let found = self.operation(id, operation).await?;
        let is_open = found.phase.decision() == Decision::Open;
        if is_open && found.targets.contains(&id.shard) {
            return Ok(());
        }
        Err(Refusal::NotHeld)
    }
}

fn made(state: &BaseState) -> Option<&Base> {
    match state {
        BaseState::Made(base) => Some(base),
        BaseState::Making | BaseState::Failed(_) | BaseState::Missing => None,
    }
}

/// Reads a snapshot on a thread that may wait.
async fn read(
    fresh: Fresh,
    run: impl FnOnce(&Snapshot) -> Result<Answer, StoreError> + Send + 'static,
) -> Answer {
    let read = spawn_blocking(move || run(&fresh.file.snapshot()?)).await;
    match read {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(not_read(&error)),
        Err(_) => Err(Refusal::Later("it was not read".into())),
    }
}

fn not_fresh(error: ReadError) -> Refusal {
    match error {
        ReadError::NotPrimary { hint } => Refusal::NotPrimary { hint },
        other => Refusal::Later(other.to_string()),
    }
}

fn not_read(error: &StoreError) -> Refusal {
    if error.is_retryable() {
        Refusal::Later(error.to_string())
    } else {
        Refusal::Failed(error.to_string())
    }
}

fn not_appended(error: AppendError) -> Refusal {
    match error {
        AppendError::NotPrimary { hint } => Refusal::NotPrimary { hint },
        AppendError::TooLarge { .. } => Refusal::Failed(error.to_string()),
        other => Refusal::Later(other.to_string()),
    }
}

fn not_taken(error: &ImportError) -> Refusal {
    match error {
        ImportError::Trimmed => Refusal::Trimmed,
        ImportError::SchemaChanged => Refusal::Failed(error.to_string()),
        ImportError::NotBegun | ImportError::NotRunning => Refusal::Later(error.to_string()),
        ImportError::Append(error) => not_appended(error.clone()),
        ImportError::Store(error) => not_read(error),
    }
}

fn not_sealed(error: &SealError) -> Refusal {
    match error {
        SealError::Ended => Refusal::Ended,
        SealError::Held(_) => Refusal::NotHeld,
        SealError::Write(WriteError::NotPrimary { hint }) => {
            Refusal::NotPrimary { hint: hint.clone() }
        }
        SealError::Announced | SealError::Write(_) => Refusal::Later(error.to_string()),
    }
}

fn unknown(error: &RegistryError) -> Refusal {
    Refusal::Later(format!("the registry does not say: {error}"))
}
