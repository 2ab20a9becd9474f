//! The copies of a node, as the coordinators see them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use shardwright_coordinator::{
    failover::replication::Instruction,
    protocol::{CopyInstruction, CopyState, CopyTrouble},
    rebalancer::PartitionId,
    worker,
};
use shardwright_quorum::log::{
    BoxError, Settings,
    peer::Peers,
    shard_log::{LogOptions, Registrar, ShardRecords},
};
use shardwright_registry::{Registry, Store};
use shardwright_store::Config;
use shardwright_topology::{
    Epoch, Halts, Incarnation, KeyspaceName, Member, NodeId, ReplicaId, ShardId,
};
use tokio::{runtime::Handle, sync::Notify, task::spawn_blocking};

use super::{
    NodeOptions, StartError,
    deletion::{self, Deletion, Kept},
    layout::Layout,
    report::{report, trouble},
    scrub,
    unannounced::Unannounced,
};
use crate::{
    elastic::ShardCopies,
    shard::{
        CopyGap, Memory, Shard, ShardOptions,
        split::{Aside, ShardCopy},
    },
};

/// How often the records of shards are read although nothing was heard of a change.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// After how long a copy is removed again of a shard that is no more, if that has failed.
const RETIRED_AGAIN: Duration = Duration::from_secs(1);

/// The copies of a node. Clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    shared: Arc<Shared>,
}

/// What they share.
#[derive(Debug)]
pub(super) struct Shared {
    runtime: Handle,
    node: NodeId,
    store: Arc<dyn Store>,
    peers: Peers,
    log: Settings,
    memory: Memory,
    file: Config,
    layout: Layout,
    halts: Halts<CopyGap>,
    state: Mutex<State>,
    /// Told when a copy is opened or goes.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    keyspaces: BTreeMap<KeyspaceName, Keyspace>,
    open: BTreeMap<PartitionId, Shard>,
    /// Those that are being deleted: a second instruction changes nothing.
    going: BTreeSet<PartitionId>,
    /// Whether the node stops: nothing is opened any more.
    is_over: bool,
}

/// What the copies of one keyspace share.
#[derive(Debug, Clone)]
struct Keyspace {
    registry: Registry,
    records: ShardRecords,
}

impl Copies {
    /// Opens the copies that are there.
    pub(super) fn open(
        store: Arc<dyn Store>,
        options: &NodeOptions,
        peers: Peers,
        layout: Layout,
    ) -> Result<Self, StartError> {
        let there = layout.copies()?;
        let shared = Arc::new(Shared {
            runtime: Handle::current(),
            node: options.id.clone(),
            store,
            peers,
            log: options.log.clone(),
            memory: options.memory,
            file: options.file.clone(),
            layout,
            halts: options.halts.clone(),
            state: Mutex::default(),
            changed: Notify::new(),
        });
        let copies = Self { shared };
        for shard in there {
            copies.start(&shard);
        }
        let weak = Arc::downgrade(&copies.shared);
        let shown = Arc::new(scrub::Shown(Weak::clone(&weak)));
        copies.shared.peers.show_contents(shown);
        tokio::spawn(scrub::run(weak, options.scrub));
        Ok(copies)
    }

    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Returns the copies that are primaries; `None` if the node stops.
    pub(crate) fn leading(&self) -> Option<Vec<(PartitionId, Shard)>> {
        let state = self.state();
        let leading = state.open.iter().filter(|(_, shard)| {
            let status = shard.status();
            status.borrow().leading().is_some()
        });
        let leading = leading.map(|(partition, shard)| (partition.clone(), shard.clone()));
        (!state.is_over).then(|| leading.collect())
    }

    /// Returns the copy of a shard of whatever keyspace.
    pub(super) fn by_id(&self, id: &ShardId) -> Option<Shard> {
        let state = self.state();
        let found = state.keyspaces.keys().find_map(|keyspace| {
            let partition = PartitionId::new(keyspace.clone(), id.clone());
            state.open.get(&partition)
        });
        found.cloned()
    }

    pub(crate) fn shard(&self, shard: &PartitionId) -> Option<Shard> {
        self.state().open.get(shard).cloned()
    }

    /// Lets a test know that a commit over several shards has come to a gap.
    pub(crate) fn reached(&self, gap: CopyGap) {
        self.shared.halts.reached(gap);
    }

    /// Returns the registry of a keyspace.
    pub(crate) fn registry(&self, keyspace: &KeyspaceName) -> Registry {
        let mut state = self.state();
        self.shared.keyspace(&mut state, keyspace).registry
    }

    /// Removes the copy of a shard that owns nothing any more; again does nothing.
    pub(crate) async fn retire(&self, shard: &PartitionId) -> Result<(), Kept> {
        if !self.state().going.insert(shard.clone()) {
            return Err(Kept::Going);
        }
        let retired = self.remove_retired(shard).await;
        self.state().going.remove(shard);
        if retired.is_err() && self.shared.layout.copy(shard).exists() {
            // It is asked for again.
            self.start(shard);
        }
        retired
    }

    /// Removes a new copy of such a shard. The registry forgets it first: a node that dies behind that finds what it has noted of the copy.
    async fn retire_new(&self, shard: &PartitionId, copy: &Member) -> Result<(), Kept> {
        let registry = self.registry(&shard.keyspace);
        registry.forget_copy(&shard.shard, copy).await?;
        self.retire(shard).await
    }

    async fn remove_retired(&self, shard: &PartitionId) -> Result<(), Kept> {
        let open = self.state().open.remove(shard);
        let directory = self.shared.layout.copy(shard);
        let (left, mut replica_id) = (open.clone(), None);
        if let Some(open) = open {
            self.shared.changed.notify_waiters();
            open.stop().await;
            replica_id = open.status().borrow().replica_id;
        }
        let halts = self.shared.halts.clone();
        let removed = spawn_blocking(move || {
            match left {
                Some(open) => open.aside().leave(),
                None => Aside::new(directory.clone()).leave(),
            }
            match directory.exists() {
                true => deletion::remove(&directory, &halts),
                false => Ok(()),
            }
        });
        removed.await.map_err(io::Error::other)??;
        // Last, for as long as the registry knows of a copy the operation goes on, and asks again. What was removed counted for nobody.
        self.forget_removed(shard, replica_id).await
    }

    /// Takes a copy that is no more out of the registry, whichever it was if a process before this one has removed it.
    async fn forget_removed(
        &self,
        shard: &PartitionId,
        removed: Option<ReplicaId>,
    ) -> Result<(), Kept> {
        let (registry, node) = (self.registry(&shard.keyspace), self.shared.node.clone());
        let known = match removed {
            Some(replica_id) => Some(replica_id),
            None => {
                let found = registry.copies().get(&node).await?;
                found.and_then(|found| found.value.copies.get(&shard.shard).copied())
            }
        };
        if let Some(replica_id) = known {
            let copy = Member { node, replica_id };
            registry.forget_copy(&shard.shard, &copy).await?;
            self.shared.halts.reached(CopyGap::Forgotten);
        }
        Ok(())
    }

    /// Returns how many copies there are.
    pub(crate) fn count(&self) -> usize {
        self.state().open.len()
    }

    pub(super) fn shards(&self) -> Vec<PartitionId> {
        self.state().open.keys().cloned().collect()
    }

    /// Ends when a copy is opened or goes, from this call on.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> {
        self.shared.changed.notified()
    }

    /// Stops all copies, at once.
    pub(super) async fn stop(&self) {
        let open = {
            let mut state = self.state();
            state.is_over = true;
            std::mem::take(&mut state.open)
        };
        let stopping: Vec<_> = open
            .into_values()
            .map(|shard| tokio::spawn(async move { shard.stop().await }))
            .collect();
        for stopped in stopping {
            // One that panicked has stopped too.
            let _stopped = stopped.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the copy of a shard, or makes an empty one, unless it is open.
    fn start(&self, shard: &PartitionId) {
        let shared = &self.shared;
        let _runtime = shared.runtime.enter();
        let mut state = self.state();
        let is_there = state.open.contains_key(shard) || state.going.contains(shard);
        if is_there || state.is_over {
            return;
        }
        let keyspace = shared.keyspace(&mut state, &shard.keyspace);
        let (directory, halts) = (shared.layout.copy(shard), shared.halts.clone());
        let unannounced = Unannounced::of(&directory);
        let unannounced = unannounced.unwrap_or_else(|error| {
            // Whoever opens the copy meets the same disk, and tries again.
            tracing::warn!(%shard, %error, "it cannot be noted that a copy is new");
            None
        });
        let registrar = Arc::new(Announcer {
            registry: keyspace.registry,
            partition: shard.clone(),
            new: unannounced.map(|note| (note, Arc::downgrade(shared))),
            is_announced: AtomicBool::new(false),
        });
        let options = ShardOptions {
            log: LogOptions {
                settings: shared.log.clone(),
                ..LogOptions::new(shared.peers.clone(), keyspace.records, registrar)
            },
            memory: shared.memory,
            file: shared.file.clone(),
        };
        let opened = Shard::start_halting(shard.clone(), directory, options, halts);
        state.open.insert(shard.clone(), opened);
        shared.changed.notify_waiters();
    }

    /// Lets the primary of the epoch keep these copies up to date.
    fn fill(&self, shard: &PartitionId, epoch: Epoch, learners: BTreeSet<Member>) {
        let Some(shard) = self.shard(shard) else {
            return;
        };
        let log = shard.log().clone();
        if log.status().borrow().leading() == Some(epoch) {
            // A copy that has stopped is told again.
            let told = async move { log.set_learners(learners).await };
            self.shared.runtime.spawn(told);
        }
    }

    /// Deletes a copy, unless it is another one or its shard may need it.
    fn begin_deletion(&self, shard: PartitionId, replica_id: ReplicaId, instruction: Instruction) {
        let mut state = self.state();
        let Some(open) = state.open.get(&shard).cloned() else {
            return;
        };
        let is_it = open.status().borrow().replica_id == Some(replica_id);
        if !is_it || !state.going.insert(shard.clone()) {
            return;
        }
        let registry = self.shared.keyspace(&mut state, &shard.keyspace).registry;
        drop(state);
        let copies = self.clone();
        self.shared.runtime.spawn(async move {
            let deleted = copies.delete(&shard, &open, instruction, &registry).await;
            copies.state().going.remove(&shard);
            match deleted {
                Ok(()) => tracing::info!(%shard, copy = %replica_id, "deleted a copy"),
                Err(why) => {
                    tracing::info!(%shard, copy = %replica_id, %why, "kept a copy");
                    copies.start(&shard);
                }
            }
        });
    }

    async fn delete(
        &self,
        shard: &PartitionId,
        open: &Shard,
        instruction: Instruction,
        registry: &Registry,
    ) -> Result<(), Kept> {
        // Before anybody looks whether it is needed: it must acknowledge nothing from then on.
        self.state().open.remove(shard);
        self.shared.changed.notify_waiters();
        open.stop().await;
        let status = open.status().borrow().clone();
        let Some(replica_id) = status.replica_id else {
            return Err(Kept::NoCopy);
        };
        let node = self.shared.node.clone();
        let deletion = Deletion {
            instruction,
            shard: shard.shard.clone(),
            copy: Member { node, replica_id },
            promised: status.promised.map_or(Epoch(0), |ballot| ballot.epoch),
        };
        deletion.release(registry).await?;
        self.shared.halts.reached(CopyGap::Forgotten);
        let (directory, halts) = (self.shared.layout.copy(shard), self.shared.halts.clone());
        let removed = spawn_blocking(move || deletion::remove(&directory, &halts)).await;
        removed.map_err(io::Error::other)??;
        Ok(())
    }
}

impl Shared {
    fn keyspace(&self, state: &mut State, name: &KeyspaceName) -> Keyspace {
        let known = state.keyspaces.entry(name.clone());
        let known = known.or_insert_with(|| {
            let registry = Registry::new(Arc::clone(&self.store), name.clone());
            let prefix = registry.shards().prefix().clone();
            let records = ShardRecords::follow(Arc::clone(&self.store), prefix, READ_AGAIN);
            Keyspace { registry, records }
        });
        known.clone()
    }
}

impl worker::Copies for Copies {
    fn states(&self) -> Vec<CopyState> {
        let state = self.state();
        let states = state.open.iter().filter_map(|(partition, shard)| {
            let report = report(&shard.status().borrow())?;
            let partition = partition.clone();
            Some(CopyState { partition, report })
        });
        states.collect()
    }

    fn troubles(&self) -> Vec<CopyTrouble> {
        let state = self.state();
        let troubles = state.open.iter();
        let troubles =
            troubles.filter_map(|(partition, shard)| trouble(partition, &shard.status().borrow()));
        troubles.collect()
    }

    fn follow(&self, instructions: Vec<CopyInstruction>) {
        for CopyInstruction {
            keyspace,
            instruction,
        } in instructions
        {
            match instruction {
                Instruction::Create { shard, .. } => self.start(&PartitionId::new(keyspace, shard)),
                Instruction::Follow {
                    shard,
                    epoch,
                    learners,
                } => self.fill(&PartitionId::new(keyspace, shard), epoch, learners),
                Instruction::Drop {
                    ref shard,
                    replica_id,
                    ..
                } => {
                    let shard = PartitionId::new(keyspace, shard.clone());
                    self.begin_deletion(shard, replica_id, instruction);
                }
            }
        }
    }
}

impl ShardCopies for Copies {
    type Copy = Shard;

    fn copy(&self, shard: &PartitionId) -> Option<Shard> {
        self.shard(shard)
    }

    fn registry(&self, keyspace: &KeyspaceName) -> Registry {
        self.registry(keyspace)
    }

    async fn retire(&self, shard: &PartitionId) -> Result<(), BoxError> {
        Ok(self.retire(shard).await?)
    }
}

/// Announces a copy in the registry.
#[derive(Debug)]
struct Announcer {
    registry: Registry,
    partition: PartitionId,
    /// What is noted of it, and whose copy it is, if it was not announced before.
    new: Option<(Unannounced, Weak<Shared>)>,
    /// Whether it was announced before: then it may hold something, whoever made it.
    is_announced: AtomicBool,
}

/// Why a copy is not announced.
#[derive(Debug, thiserror::Error)]
#[error("the shard is no more, or owns nothing: the copy is removed")]
struct Needless;

#[async_trait]
impl Registrar for Announcer {
    async fn register(&self, shard: &ShardId, copy: &Member) -> Result<Incarnation, BoxError> {
        let is_announced = self.is_announced.load(Ordering::Acquire);
        let Some((note, owner)) = self.new.as_ref().filter(|_| !is_announced) else {
            return Ok(self.registry.register_copy(shard, copy).await?);
        };
        let opened = self.registry.register_new_copy(shard, copy).await?;
        if opened.is_some() {
            let note = note.clone();
            spawn_blocking(move || note.end()).await??;
        }
        self.is_announced.store(opened.is_some(), Ordering::Release);
        if opened.is_none()
            && let Some(shared) = owner.upgrade()
        {
            let (copies, partition) = (Copies::of(Arc::clone(&shared)), self.partition.clone());
            let copy = copy.clone();
            shared.runtime.spawn(async move {
                while let Err(why) = copies.retire_new(&partition, &copy).await {
                    if matches!(why, Kept::Going) {
                        return;
                    }
                    tracing::info!(shard = %partition, %why, "kept a copy of a shard that is no more");
                    tokio::time::sleep(RETIRED_AGAIN).await;
                }
            });
        }
        opened.ok_or_else(|| Needless.into())
    }
}
