//! The manager: routes keys to shards, and splits, merges and moves the shards.

mod admission;
mod automatic;
mod beginning;
mod builder;
mod change;
mod deciding;
mod notice;
mod running;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use shardwright_registry::Clock;
use shardwright_topology::{KeyspaceName, NodeId, OperationId, ShardId};
use tokio::sync::{broadcast, watch};

use self::{beginning::Reserved, running::Running};
pub use self::{
    builder::ManagerBuilder,
    change::{Gating, SplitAt},
    deciding::Decisions,
    notice::Notice,
    running::OperationStatus,
    upkeep::clear_left,
};
use crate::{
    BalancePolicy, Error, Layout, Part, RebalancePlan, ShardConfig, ShardDataOps, ShardMetrics,
    ShardStatistics, ShardStore, Situation, StoreError, WriteGuard,
    balance::{self, Patience},
    data_ops::DataOpsStore,
    driver::Driver,
};

/// Routes keys to shards, and splits, merges and moves the shards while they are written to.
///
/// ```
/// use std::{collections::{BTreeMap, HashMap}, sync::{Arc, Mutex}};
/// use async_trait::async_trait;
/// use shardwright_elastic::{ElasticShardManager, ShardConfig, ShardDataOps, ShardMetrics, SplitError};
///
/// #[derive(Default)]
/// struct MyDataOps(Mutex<BTreeMap<String, HashMap<String, Vec<u8>>>>);
///
/// #[async_trait]
/// impl ShardDataOps for MyDataOps {
///     async fn get_keys(&self, shard_id: &str) -> Result<Vec<String>, SplitError> {
///         Ok(self.get_data(shard_id).await?.into_keys().collect())
///     }
///     async fn get_data(&self, shard_id: &str) -> Result<HashMap<String, Vec<u8>>, SplitError> {
///         Ok(self.0.lock().unwrap().get(shard_id).cloned().unwrap_or_default())
///     }
///     async fn copy_data(&self, target_shard: &str, data: HashMap<String, Vec<u8>>) -> Result<(), SplitError> {
///         self.0.lock().unwrap().entry(target_shard.to_owned()).or_default().extend(data);
///         Ok(())
///     }
///     async fn delete_shard(&self, shard_id: &str) -> Result<(), SplitError> {
///         self.0.lock().unwrap().remove(shard_id);
///         Ok(())
///     }
///     async fn get_metrics(&self, shard_id: &str) -> Result<ShardMetrics, SplitError> {
///         Ok(ShardMetrics { key_count: self.get_keys(shard_id).await?.len(), ..ShardMetrics::default() })
///     }
/// }
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let data_ops = Arc::new(MyDataOps::default());
/// let manager = ElasticShardManager::new(ShardConfig::default(), data_ops.clone()).await?;
/// for user in 0..8_000 {
///     let key = format!("user:{user}");
///     let guard = manager.write(&key).await?;
///     data_ops.copy_data(guard.shard().as_str(), HashMap::from([(key, vec![1])])).await?;
/// }
/// let (left, right) = manager.split_shard("shard-1").await?;
/// assert_eq!((left.as_str(), right.as_str()), ("shard-4", "shard-5"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Clones are the same manager. Operations that were begun go on when a caller stops waiting for them; when the process ends, they stop, and
/// go on with the next manager on the same journal.
#[derive(Debug, Clone)]
pub struct ElasticShardManager {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ShardConfig,
    policy: BalancePolicy,
    driver: Driver,
    keyspace: KeyspaceName,
    /// The stores of one's own, by node.
    own: BTreeMap<NodeId, DataOpsStore>,
    routes: RwLock<Routes>,
    running: Mutex<BTreeMap<OperationId, Running>>,
    /// Locked before what runs, never while that is locked.
    reserved: Mutex<Reserved>,
    naming: Naming,
    patience: Mutex<Patience>,
    ended: Mutex<BTreeMap<OperationId, shardwright_topology::Timestamp>>,
    notices: broadcast::Sender<Notice>,
    /// Whether it runs nothing any more.
    stopped: watch::Sender<bool>,
    clock: Clock,
}

/// Which shard owns which keys, as this manager knows it.
#[derive(Debug)]
struct Routes {
    layout: Arc<Layout>,
    /// How often it was replaced: what was read from the journal before that may be older.
    replaced: u64,
}

/// How new shards are called.
#[derive(Debug)]
enum Naming {
    /// By number: nobody else names shards.
    Numbered(AtomicU32),
    /// By their operation.
    ByOperation,
}

impl ElasticShardManager {
    /// Returns a manager of new shards in a store of one's own, on the node `node-1`.
    ///
    /// Which shard owns which keys is in memory: a manager that is made again begins with the shards of the configuration. What the store has
    /// under other names by then is left alone, and belongs to no key. Give the manager of a store that outlives the process a
    /// [journal](ManagerBuilder::journal).
    ///
    /// # Errors
    /// [`Error::Config`].
    pub async fn new(config: ShardConfig, data_ops: Arc<dyn ShardDataOps>) -> Result<Self, Error> {
        let node = NodeId::new("node-1")?;
        Self::builder(config).node(node, data_ops).build().await
    }

    /// Returns the settings of a manager.
    pub fn builder(config: ShardConfig) -> ManagerBuilder {
        ManagerBuilder::new(config)
    }

    /// Returns which shard owns which keys at this moment.
    #[must_use]
    pub fn layout(&self) -> Arc<Layout> {
        self.inner.layout()
    }

    /// Returns the shard that owns a key at this moment. Write under a [guard](ElasticShardManager::write): the shard may be another one later.
    ///
    /// # Errors
    /// [`Error::NoOwner`] for a key outside of all shards.
    pub fn shard_for_key(&self, key: impl AsRef<[u8]>) -> Result<ShardId, Error> {
        let layout = self.layout();
        let owner = layout.owner(key.as_ref()).ok_or(Error::NoOwner)?;
        Ok(owner.shard.clone())
    }

    /// Does as [`ElasticShardManager::shard_for_key`]. Never waits.
    ///
    /// # Errors
    /// [`Error::NoOwner`] for a key outside of all shards.
    pub async fn get_shard_for_key(&self, key: impl AsRef<[u8]> + Send) -> Result<ShardId, Error> {
        self.shard_for_key(key)
    }

    /// Waits until the shard of a key takes writes, and keeps it so while the guard is held: write the key to [`WriteGuard::shard`], and drop the guard.
    ///
    /// With a store that was added by [`ManagerBuilder::store`] the guard holds nothing: such a store refuses a write that comes too late itself,
    /// and the caller asks again. Never wait for an operation or for another guard while you hold one: they wait for you. One guard may be for
    /// [several keys](WriteGuard::also).
    ///
    /// # Errors
    /// [`Error::NoOwner`]; [`Error::Busy`] if the shard changes hands or is held back for longer than [`Settings::seal_max`](crate::Settings::seal_max) and
    /// a second.
    pub async fn write(&self, key: impl AsRef<[u8]> + Send) -> Result<WriteGuard, Error> {
        let key = key.as_ref();
        let inner = &self.inner;
        let until = inner.clock.now() + inner.driver.settings().seal_max + Duration::from_secs(1);
        loop {
            let part = inner.layout().owner(key).cloned().ok_or(Error::NoOwner)?;
            let Some(own) = inner.own.get(&part.node) else {
                return Ok(WriteGuard::free(part.shard));
            };
            let entered = own.gates().enter(&part.shard, key);
            let left = until.since(inner.clock.now());
            let Ok(entered) = tokio::time::timeout(left, entered).await else {
                return Err(Error::Busy);
            };
            match entered {
                Ok(guard) => return Ok(guard),
                Err(
                    StoreError::Sealed { .. }
                    | StoreError::Busy { .. }
                    | StoreError::Importing { .. }
                    | StoreError::Unknown { .. }
                    | StoreError::Removed { .. },
                ) if inner.clock.now() < until => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(StoreError::Sealed { .. } | StoreError::Busy { .. }) => {
                    return Err(Error::Busy);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns how much a shard has and does.
    ///
    /// # Errors
    /// [`Error::UnknownShard`], [`Error::Silent`], and what its store says.
    pub async fn shard_statistics(&self, shard: &str) -> Result<ShardStatistics, Error> {
        let part = self.inner.part(shard)?;
        let metrics = self.inner.metrics(&part).await?;
        let operation = self.inner.operation_of(&part.shard);
        Ok(ShardStatistics {
            shard_id: part.shard,
            node: part.node,
            metrics,
            storage_bytes: metrics.storage_bytes,
            operations_per_sec: metrics.request_rate,
            key_count: metrics.key_count,
            operation,
        })
    }

    /// Does as [`ElasticShardManager::shard_statistics`].
    ///
    /// # Errors
    /// As [`ElasticShardManager::shard_statistics`].
    pub async fn get_shard_statistics(&self, shard: &str) -> Result<ShardStatistics, Error> {
        self.shard_statistics(shard).await
    }

    /// Returns what would even the shards out, and does nothing: the dry run of [`ElasticShardManager::execute_rebalance`]. What is hot or cold at this
    /// moment counts, however long it has been so.
    ///
    /// # Errors
    /// None at this time: a shard whose store does not say what it does is left alone.
    pub async fn rebalance(&self) -> Result<RebalancePlan, Error> {
        Ok(self.inner.plan().await)
    }

    /// Returns what happens from here on, to be told to people. Whoever falls behind misses some.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.inner.notices.subscribe()
    }

    /// Stops to run operations, and begins to run none: they stay where they are, and go on with another manager on the same journal. Whoever waits
    /// for one gets [`Error::Closed`]. Calls that are under way are given up; whether they had an effect is not known.
    pub fn stop(&self) {
        self.inner.stopped.send_replace(true);
    }
}

impl Inner {
    fn layout(&self) -> Arc<Layout> {
        let routes = self.routes.read();
        let routes = routes.unwrap_or_else(PoisonError::into_inner);
        routes.layout.clone()
    }

    fn routes(&self) -> RwLockWriteGuard<'_, Routes> {
        self.routes.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<OperationId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, shard: &str) -> Result<Part, Error> {
        let unknown = || Error::UnknownShard {
            shard: shard.to_owned(),
        };
        self.layout().part(shard).cloned().ok_or_else(unknown)
    }

    fn store(&self, node: &NodeId) -> Result<Arc<dyn ShardStore>, Error> {
        let unknown = || Error::UnknownNode { node: node.clone() };
        self.driver.nodes().store(node).ok_or_else(unknown)
    }

    /// Waits so long for what a store says of a shard.
    async fn said<T>(
        &self,
        part: &Part,
        within: Duration,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(within, call).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Error::Silent {
                shard: part.shard.clone(),
                node: part.node.clone(),
                within,
            }),
        }
    }

    /// Waits for what a store finds by reading a whole shard. One that could not be waited for is asked again: it may read on meanwhile, and
    /// whoever asks the same then gets what that one finds.
    async fn read<T, F>(&self, part: &Part, call: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let settings = self.driver.settings();
        let reading = async {
            loop {
                let mut asked = pin!(call());
                if let Ok(said) = tokio::time::timeout(settings.call_timeout, &mut asked).await {
                    return said;
                }
                match asked.await {
                    Err(StoreError::Unavailable(_)) => {}
                    said => return said,
                }
            }
        };
        self.said(part, settings.reading_timeout, reading).await
    }

    async fn metrics(&self, part: &Part) -> Result<ShardMetrics, Error> {
        let store = self.store(&part.node)?;
        let within = self.driver.settings().call_timeout;
        self.said(part, within, store.metrics(&part.shard)).await
    }

    /// Returns how much a shard has, for an operation that begins only if that is in its bounds.
    async fn size(&self, part: &Part) -> Result<ShardMetrics, Error> {
        let store = self.store(&part.node)?;
        self.read(part, || store.metrics(&part.shard)).await
    }

    /// Asks each store once what all of its shards do. Those of which it says nothing are missing.
    async fn metrics_of(&self, layout: &Layout) -> BTreeMap<ShardId, ShardMetrics> {
        let mut by_node: BTreeMap<&NodeId, Vec<ShardId>> = BTreeMap::new();
        for part in layout.parts() {
            let shards = by_node.entry(&part.node).or_default();
            shards.push(part.shard.clone());
        }
        let within = self.driver.settings().call_timeout;
        let asked = by_node.into_iter().map(async |(node, shards)| {
            let store = self.store(node).ok()?;
            let said = tokio::time::timeout(within, store.metrics_of(&shards)).await;
            let said = shards.into_iter().zip(said.ok()?);
            Some(said.filter_map(|(shard, metrics)| Some((shard, metrics.ok()?))))
        });
        let measured = join_all(asked).await;
        measured.into_iter().flatten().flatten().collect()
    }

    async fn plan(&self) -> RebalancePlan {
        let layout = self.layout();
        let metrics = self.metrics_of(&layout).await;
        self.plan_for(&layout, metrics, BTreeSet::new())
    }

    /// Plans for shards that do so much, without merging or moving some.
    fn plan_for(
        &self,
        layout: &Layout,
        metrics: BTreeMap<ShardId, ShardMetrics>,
        staying: BTreeSet<ShardId>,
    ) -> RebalancePlan {
        let parts: Vec<Part> = layout.parts().cloned().collect();
        let busy = parts.iter().map(|part| &part.shard);
        let busy = busy.filter(|shard| self.operation_of(shard).is_some());
        let situation = Situation {
            metrics,
            nodes: self.driver.nodes().nodes(),
            busy: busy.cloned().collect(),
            parts,
            staying,
        };
        balance::plan(&situation, &self.policy)
    }

    /// Whether other managers may be on the same journal.
    fn shares_journal(&self) -> bool {
        matches!(self.naming, Naming::ByOperation)
    }

    /// Returns names that no shard has or had.
    async fn names(&self, operation: &OperationId, count: usize) -> Result<Vec<ShardId>, Error> {
        let mut names = Vec::with_capacity(count);
        while names.len() < count {
            match &self.naming {
                Naming::Numbered(next) => {
                    let name = ShardId::numbered(next.fetch_add(1, Ordering::Relaxed));
                    if !self.is_taken(&name).await? {
                        names.push(name);
                    }
                }
                Naming::ByOperation => {
                    names.push(ShardId::new(format!("{operation}.{}", names.len()))?);
                }
            }
        }
        Ok(names)
    }

    /// Whether a store of one's own has rows under a name: an earlier process may have given it.
    async fn is_taken(&self, name: &ShardId) -> Result<bool, Error> {
        let within = self.driver.settings().call_timeout;
        for (node, own) in &self.own {
            let silent = |_| Error::Silent {
                shard: name.clone(),
                node: node.clone(),
                within,
            };
            let has_rows = tokio::time::timeout(within, own.has_rows(name));
            if has_rows.await.map_err(silent)?? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Waits until the manager is stopped.
    async fn stopped(&self) {
        let mut stopped = self.stopped.subscribe();
        // The sender lives as long as `self`, which is borrowed.
        let _stopped = stopped.wait_for(|stopped| *stopped).await;
    }

    fn tell(&self, notice: Notice) {
        // Nobody has to listen.
        drop(self.notices.send(notice));
    }
}
