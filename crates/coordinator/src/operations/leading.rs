//! The manager of whoever leads: made with the leadership, stopped with it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use metrics::counter;
use shardwright_elastic::{
    BalancePolicy, ElasticShardManager, Error, Nodes, Notice, RegistryJournal, Settings,
    ShardConfig, ShardStore,
};
use shardwright_registry::{Registry, Store};
use shardwright_topology::{Gap, Halts, KeyspaceName, NodeId, OperationId};
use tokio::sync::{broadcast::error::RecvError, watch};

use super::{journal::LeadersJournal, news};
use crate::{Handle, core::View};

/// How long to wait after a manager could not be made.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a manager looks for what others did, and for what is left over: more often where operations are not remembered for as long.
const UPKEEP: Duration = Duration::from_secs(30);

/// One store for the shards of every node: it finds them wherever they are.
#[derive(Debug)]
struct Everywhere(Arc<dyn ShardStore>);

impl Nodes for Everywhere {
    fn store(&self, _: &NodeId) -> Option<Arc<dyn ShardStore>> {
        Some(self.0.clone())
    }

    fn nodes(&self) -> Vec<NodeId> {
        // It is asked once for what is left over.
        NodeId::new(RegistryJournal::NOWHERE).into_iter().collect()
    }
}

/// What makes the manager of a coordinator, whenever that leads.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) handle: Handle,
    pub(crate) registry: Arc<dyn Store>,
    pub(crate) shards: Arc<dyn ShardStore>,
    pub(crate) settings: Settings,
    /// When shards are split and merged without being asked for.
    pub(crate) policy: BalancePolicy,
    pub(crate) halts: Halts<Gap>,
    /// Where the manager is shown.
    pub(crate) manager: watch::Sender<Option<ElasticShardManager>>,
}

impl Leading {
    /// Has a manager while the coordinator leads, until its driver stops.
    pub(crate) async fn run(self) {
        let mut said = None;
        // The last that a driver has shown stays, also when it has stopped.
        while self.handle.view_when(may_lead).await.is_some() && self.handle.is_running() {
            match self.make().await {
                Ok(manager) => {
                    said = None;
                    self.lead(manager).await;
                }
                Err(error) => {
                    let error = error.to_string();
                    if said.as_ref() != Some(&error) {
                        tracing::warn!(error, "operations could not be taken up");
                    }
                    said = Some(error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn make(&self) -> Result<ElasticShardManager, Error> {
        let registry = Registry::new(self.registry.clone(), KeyspaceName::main());
        let (split, merge) = (&self.policy.split, &self.policy.merge);
        let journal = LeadersJournal {
            registry: RegistryJournal::new(registry)?.halting(self.halts.clone()),
            handle: self.handle.clone(),
            halts: self.halts.clone(),
        };
        let config = ShardConfig {
            rebalance_interval_secs: UPKEEP.min(self.settings.retention).as_secs().max(1),
            split_threshold: split.cpu_threshold,
            merge_threshold: merge.cpu_threshold,
            ..ShardConfig::default()
        };
        let policy = BalancePolicy {
            // Where shards are is not for it to decide.
            tolerance: f64::INFINITY,
            ..self.policy
        };
        ElasticShardManager::builder(config)
            .nodes(Arc::new(Everywhere(self.shards.clone())))
            .journal(Arc::new(journal))
            .settings(self.settings)
            .policy(policy)
            .build()
            .await
    }

    /// Shows the manager, and tells what it says, for as long as this coordinator leads.
    async fn lead(&self, manager: ElasticShardManager) {
        self.manager.send_replace(Some(manager.clone()));
        tokio::select! {
            () = self.tell(&manager) => {}
            _ = self.handle.view_when(|view| !view.is_leading) => {}
        }
        self.manager.send_replace(None);
        manager.stop();
    }

    async fn tell(&self, manager: &ElasticShardManager) {
        let mut notices = manager.notices();
        // What failed last in each operation: it is tried again and again, and told once.
        let mut failures = BTreeMap::<OperationId, String>::new();
        loop {
            let notice = match notices.recv().await {
                Ok(notice) => notice,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            if news::is_told(&notice, &mut failures) {
                self.push(notice);
            }
        }
    }

    fn push(&self, notice: Notice) {
        let Some(notice) = news::notice(notice) else {
            return;
        };
        counter!("shardwright_events_total", "event" => notice.kind()).increment(1);
        tracing::info!(?notice, "coordinator");
        self.handle.events().push(notice);
    }
}

/// Whether there are shards to split, and this coordinator is who does it.
fn may_lead(view: &View) -> bool {
    let main = KeyspaceName::main();
    let mut shards = view.shards.iter();
    view.is_leading && shards.any(|shard| shard.keyspace == main && shard.range.is_some())
}
