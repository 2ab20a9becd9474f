//! What production's code needs of the world, as tasks of the simulator have it: a registry's store, a way to other nodes, the copies of a node.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use shardwright_quorum::log::{
    Level, Record,
    shard_log::{AppendError, Appended, Entry as LogEntry, ReadError as LogError},
};
use shardwright_rebalancer::PartitionId;
use shardwright_registry::{
    BoxError, Entry, Key, Listing, Prefix, Registry, Revision, Store, StoreError, Stored, Watch,
};
use shardwright_server::{
    reshaping::{Aside, ShardCopies, ShardCopy, Standing, Way},
    shard::{
        CopyGap, Fresh, ReadError, ReadLevel, Token as Place, Usage, Write, WriteError, Written,
    },
};
use shardwright_store::ShardFile;
use shardwright_testkit::sim::{Outcome, Write as Change};
use shardwright_topology::{
    Halts, KeyspaceName, Lsn, Member, NodeId, ReplicaId, ShardId, Timestamp,
};

use super::{
    Missing, TIMEOUT,
    tasks::{Done, Got, Of, Port, Text, Want},
};

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The registry's store, as the simulator has it.
#[derive(Debug)]
pub(super) struct SimStore(pub(super) Port);

fn entry(stored: Stored<Text>) -> Entry {
    Entry {
        key: stored.key,
        value: stored.value.0,
        revision: stored.revision,
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("nobody answers".into())
}

impl SimStore {
    async fn change(&self, change: Change<Text>) -> Result<Revision, StoreError> {
        let key = change.key.clone();
        match self.0.ask(Want::Write(change)).await {
            Got::Changed(Outcome::Done(revision)) => Ok(revision),
            Got::Changed(Outcome::Conflict(found)) => {
                let found = found.map(|found| Box::new(entry(found)));
                Err(StoreError::Conflict { key, found })
            }
            Got::Changed(Outcome::Unknown) => {
                let source = "nobody knows".into();
                Err(StoreError::Unknown { key, source })
            }
            _ => Err(away()),
        }
    }
}

#[async_trait]
impl Store for SimStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        match self.0.ask(Want::Get(key.clone())).await {
            Got::Found(Ok(found)) => Ok(found.map(entry)),
            _ => Err(away()),
        }
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError> {
        let (key, value) = (key.clone(), Some(Text(value.to_vec())));
        let expected = None;
        self.change(Change {
            key,
            expected,
            value,
        })
        .await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError> {
        self.change(Change {
            key: key.clone(),
            expected: Some(expected),
            value: Some(Text(value.to_vec())),
        })
        .await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError> {
        let deleted = self.change(Change {
            key: key.clone(),
            expected: Some(expected),
            value: None,
        });
        deleted.await.map(drop)
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        match self.0.ask(Want::List(prefix.clone())).await {
            Got::Listed(Ok((found, revision))) => Ok(Listing {
                entries: found.into_iter().map(entry).collect(),
                revision,
            }),
            _ => Err(away()),
        }
    }

    async fn watch(&self, _: &Prefix, _: Revision) -> Result<Watch, StoreError> {
        // Whoever watches here is a process, not a task.
        Err(away())
    }
}

/// The way from a process to the nodes.
#[derive(Debug)]
pub(super) struct SimWay {
    pub(super) port: Port,
    pub(super) seed: u64,
}

#[async_trait]
impl Way for SimWay {
    async fn send(&self, node: &NodeId, request: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        match self.port.ask(Want::Send(node.clone(), request)).await {
            Got::Body(Some(body)) => Ok(body),
            _ => Err("nobody answers".into()),
        }
    }

    async fn measure(&self, node: &NodeId, request: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        self.send(node, request).await
    }

    async fn pause(&self, lasting: Duration) {
        self.port.ask(Want::Pause(lasting)).await;
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}

/// What a copy shows to tasks.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) file: Option<Arc<ShardFile>>,
    pub(super) standing: Standing,
    pub(super) now: Timestamp,
    pub(super) place: Option<Place>,
}

/// A copy, as tasks use it.
#[derive(Clone)]
pub(super) struct CopyHandle {
    pub(super) shard: ShardId,
    pub(super) port: Port,
    pub(super) shown: Arc<Mutex<Shown>>,
    pub(super) aside: Arc<Aside>,
}

impl CopyHandle {
    async fn of(&self, of: Of) -> Got {
        self.port.ask(Want::Of(self.shard.clone(), of)).await
    }
}

/// Keeps others from appending until it is dropped.
pub(super) struct Turn(CopyHandle);

impl Drop for Turn {
    fn drop(&mut self) {
        let shard = self.0.shard.clone();
        self.0.port.tell(Want::Of(shard, Of::Release));
    }
}

impl ShardCopy for CopyHandle {
    type Turn = Turn;

    fn file(&self) -> Option<Arc<ShardFile>> {
        lock(&self.shown).file.clone()
    }

    fn aside(&self) -> &Aside {
        &self.aside
    }

    fn now(&self) -> Timestamp {
        lock(&self.shown).now
    }

    fn standing(&self) -> Standing {
        lock(&self.shown).standing.clone()
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    async fn turn(&self) -> Turn {
        self.of(Of::Turn).await;
        Turn(self.clone())
    }

    async fn fresh(&self, _: ReadLevel, within: Duration) -> Result<Fresh, ReadError> {
        let Got::Fresh(fresh) = self.of(Of::Fresh(within)).await else {
            return Err(ReadError::NotRunning);
        };
        fresh?;
        let shown = lock(&self.shown);
        let open = shown.file.clone().zip(shown.place);
        let (file, token) = open.ok_or(ReadError::NotRunning)?;
        let lag = 0;
        Ok(Fresh { file, token, lag })
    }

    async fn append(
        &self,
        entry: LogEntry,
        _: Level,
        within: Duration,
    ) -> Result<Appended, AppendError> {
        match self.of(Of::Append(entry, within)).await {
            Got::Appended(appended) => appended,
            _ => Err(AppendError::NotRunning),
        }
    }

    async fn read_from(
        &self,
        after: Lsn,
        _: Duration,
    ) -> Option<Result<Vec<Arc<Record>>, LogError>> {
        match self.of(Of::Records(after)).await {
            Got::Records(records) => records,
            _ => Some(Err(LogError::NotRunning)),
        }
    }

    async fn keep_after(&self, after: Lsn, lasting: Duration) {
        self.of(Of::Keep(after, lasting)).await;
    }

    async fn until_place(&self, lsn: Lsn, within: Duration) -> Option<Lsn> {
        match self.of(Of::Place(lsn, within)).await {
            Got::Place(place) => place,
            _ => None,
        }
    }

    async fn write_in_turn(&self, write: Write) -> Result<Written, WriteError> {
        match self.of(Of::Write(write)).await {
            Got::Wrote(written) => written,
            _ => Err(WriteError::NotRunning),
        }
    }

    async fn aside_of_tasks<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        Some(run())
    }
}

/// The copies of a node, as tasks use them.
#[derive(Clone)]
pub(super) struct NodeHandle {
    pub(super) node: NodeId,
    pub(super) port: Port,
    pub(super) registry: Registry,
    pub(super) copies: Arc<Mutex<BTreeMap<ShardId, CopyHandle>>>,
    pub(super) halts: Halts<CopyGap>,
    pub(super) missing: Option<Missing>,
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)
    }
}

impl NodeHandle {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<ShardId, CopyHandle>> {
        lock(&self.copies)
    }

    /// Has a copy registered that is opened, however long it takes. One that was just made is removed if its shard is no more.
    pub(super) async fn register(
        self,
        shard: ShardId,
        replica_id: ReplicaId,
        opening: u32,
        is_announced: bool,
    ) -> Done {
        let node = self.node.clone();
        let member = Member { node, replica_id };
        loop {
            let registered = if is_announced {
                self.registry.register_copy(&shard, &member).await.map(Some)
            } else {
                self.registry.register_new_copy(&shard, &member).await
            };
            match registered {
                Ok(Some(incarnation)) => {
                    return Done::Opened {
                        shard,
                        opening,
                        incarnation,
                    };
                }
                Ok(None) => break,
                Err(_) => drop(self.port.ask(Want::Pause(TIMEOUT / 10)).await),
            }
        }
        let partition = PartitionId::new(KeyspaceName::main(), shard);
        while self.retire_new(&partition, &member).await.is_err() {
            self.port.ask(Want::Pause(TIMEOUT / 10)).await;
        }
        Done::Nothing
    }

    async fn retire_new(&self, shard: &PartitionId, copy: &Member) -> Result<(), BoxError> {
        self.registry.forget_copy(&shard.shard, copy).await?;
        self.retire(shard).await
    }

    /// Takes a copy that has stopped out of the registry, and removes it.
    pub(super) async fn erase(
        &self,
        shard: &ShardId,
        stopped: Option<ReplicaId>,
    ) -> Result<(), BoxError> {
        if let Some(replica_id) = stopped {
            self.forget(shard, replica_id).await?;
        }
        self.port.ask(Want::Erase(shard.clone())).await;
        Ok(())
    }

    async fn forget(&self, shard: &ShardId, replica_id: ReplicaId) -> Result<(), BoxError> {
        let node = self.node.clone();
        let copy = Member { node, replica_id };
        self.registry.forget_copy(shard, &copy).await?;
        self.halts.reached(CopyGap::Forgotten);
        Ok(())
    }
}

impl ShardCopies for NodeHandle {
    type Copy = CopyHandle;

    fn copy(&self, shard: &PartitionId) -> Option<CopyHandle> {
        self.lock().get(&shard.shard).cloned()
    }

    fn registry(&self, _: &KeyspaceName) -> Registry {
        self.registry.clone()
    }

    async fn retire(&self, shard: &PartitionId) -> Result<(), BoxError> {
        let shard = &shard.shard;
        let copy = self.lock().get(shard).cloned();
        let Got::Stopped(stopped) = self.port.ask(Want::Stop(shard.clone())).await else {
            return Err("the copy is being removed".into());
        };
        if let Some(copy) = copy {
            copy.aside.leave();
        }
        if self.missing == Some(Missing::ForgottenLast) {
            return self.erase(shard, stopped).await;
        }
        self.port.ask(Want::Erase(shard.clone())).await;
        let known = match stopped {
            Some(replica_id) => Some(replica_id),
            None => {
                let found = self.registry.copies().get(&self.node).await?;
                found.and_then(|found| found.value.copies.get(shard).copied())
            }
        };
        if let Some(replica_id) = known {
            self.forget(shard, replica_id).await?;
        }
        Ok(())
    }
}
