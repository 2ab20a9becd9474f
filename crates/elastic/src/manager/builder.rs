//! The settings of a manager.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, RwLock, atomic::AtomicU32},
};

use shardwright_registry::Clock;
use shardwright_topology::{KeyspaceName, NodeId};
use tokio::sync::{broadcast, watch};

use super::{ElasticShardManager, Inner, Naming, Routes};
use crate::{
    BalancePolicy, ConfigError, Error, Journal, Layout, MemoryJournal, Nodes, Settings,
    ShardConfig, ShardDataOps, ShardStore, balance::Patience, data_ops::DataOpsStore,
    driver::Driver,
};

/// How many notices a listener may be behind.
const NOTICES: usize = 1_024;

/// The nodes and settings of a manager that is to be made.
#[derive(Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct ManagerBuilder {
    config: ShardConfig,
    own: BTreeMap<NodeId, DataOpsStore>,
    stores: BTreeMap<NodeId, Arc<dyn ShardStore>>,
    nodes: Option<Arc<dyn Nodes>>,
    journal: Option<Arc<dyn Journal>>,
    keyspace: KeyspaceName,
    settings: Option<Settings>,
    policy: BalancePolicy,
}

impl ManagerBuilder {
    pub(super) fn new(config: ShardConfig) -> Self {
        Self {
            config,
            own: BTreeMap::new(),
            stores: BTreeMap::new(),
            nodes: None,
            journal: None,
            keyspace: KeyspaceName::main(),
            settings: None,
            policy: BalancePolicy::default(),
        }
    }

    /// Adds a node whose shards are in a store of one's own.
    pub fn node(mut self, node: NodeId, data_ops: Arc<dyn ShardDataOps>) -> Self {
        let store = DataOpsStore::new(data_ops);
        self.stores.insert(node.clone(), Arc::new(store.clone()));
        self.own.insert(node, store);
        self
    }

    /// Adds a node whose shards are in a store that streams its changes.
    pub fn store(mut self, node: NodeId, store: Arc<dyn ShardStore>) -> Self {
        self.own.remove(&node);
        self.stores.insert(node, store);
        self
    }

    /// Finds the stores of nodes otherwise, in place of those that were added: for nodes that come and go.
    pub fn nodes(mut self, nodes: Arc<dyn Nodes>) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// Uses a journal: its shards count, and not those of the configuration, and what is under way there goes on. Without one the journal is in
    /// memory.
    ///
    /// Stores of one's own have one manager at a time: it ends what another one has begun with them and not committed.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Names the keyspace of operations. Default `main`.
    pub fn keyspace(mut self, keyspace: KeyspaceName) -> Self {
        self.keyspace = keyspace;
        self
    }

    /// Sets how operations go about their work. Default [`Settings::local`] if all stores are one's own, otherwise [`Settings::default`].
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Sets what plans follow. The thresholds of the configuration are used in place of those for processor and memory.
    pub fn policy(mut self, policy: BalancePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Returns the manager. It has to be called within a tokio runtime, on which operations run.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration cannot be used; [`Error::Layout`] or [`Error::Journal`] if the journal cannot.
    ///
    /// # Panics
    /// Without a tokio runtime, or if no node was added.
    pub async fn build(self) -> Result<ElasticShardManager, Error> {
        self.config.check()?;
        let (split, merge) = self.config.criteria(self.policy.split, self.policy.merge);
        let policy = BalancePolicy {
            split,
            merge,
            ..self.policy
        };
        policy.check().map_err(ConfigError::Policy)?;
        let is_local = self.nodes.is_none() && self.own.len() == self.stores.len();
        let stores = self.nodes.unwrap_or_else(|| Arc::new(self.stores));
        let nodes = stores.nodes();
        assert!(!nodes.is_empty(), "a manager has at least one node");
        let settings = self.settings.unwrap_or_else(|| {
            if is_local {
                Settings::local()
            } else {
                Settings::default()
            }
        });
        let (journal, naming) = match self.journal {
            Some(journal) => (journal, Naming::ByOperation),
            None => {
                let parts = self.config.parts(&nodes)?;
                let next = u32::try_from(parts.len()).unwrap_or(u32::MAX);
                let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new(parts));
                (journal, Naming::Numbered(AtomicU32::new(next)))
            }
        };
        let layout = Layout::new(journal.shards().await?)?;
        for part in layout.parts() {
            if let Some(own) = self.own.get(&part.node) {
                own.add(part);
            }
        }
        let manager = ElasticShardManager {
            inner: Arc::new(Inner {
                config: self.config,
                policy,
                driver: Driver::new(journal, stores, settings),
                keyspace: self.keyspace,
                own: self.own,
                routes: RwLock::new(Routes {
                    layout: Arc::new(layout),
                    replaced: 0,
                }),
                running: Mutex::default(),
                reserved: Mutex::default(),
                naming,
                patience: Mutex::new(Patience::default()),
                ended: Mutex::default(),
                notices: broadcast::channel(NOTICES).0,
                stopped: watch::Sender::new(false),
                clock: Clock::start(),
            }),
        };
        if let Err(error) = manager.inner.begin_up().await {
            manager.stop();
            return Err(error);
        }
        Ok(manager)
    }
}
