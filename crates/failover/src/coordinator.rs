//! The driver of a coordinator: watches the registry, and carries out what the failover machine decides.

mod driver;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
};

use rand::RngCore;
use shardwright_registry::{Clock, Registry};
use shardwright_topology::{Epoch, Incarnation, NodeId, ShardId};
use tokio::{
    sync::{Notify, broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    Config, ConfigError, Event, Failover, PromotionError,
    calls::Calls,
    drive::{EVENTS_MAX, until},
    handlers::Handled,
};

/// A failover coordinator: one of any number, of which one acts at a time.
///
/// Nodes run a [`Heartbeat`](crate::Heartbeat). When one is silent for the time-out, the leading coordinator ends its lease, calls
/// [`on_node_down`](Self::on_node_down), and has replicas take over; with [`Mode::Manual`](crate::Mode) the handler does that by
/// [`promote_replica`](Self::promote_replica). A promotion that both want happens once.
///
/// ```
/// use std::sync::Arc;
/// use shardwright_failover::{Config, FailoverCoordinator};
/// use shardwright_registry::{MemoryStore, Registry};
/// use shardwright_topology::{KeyspaceName, NodeId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
/// let id = NodeId::new("coordinator-1")?;
/// let coordinator = FailoverCoordinator::new(registry, id, Config::default())?;
/// coordinator.on_node_down(|node, shards| async move {
///     println!("{node} is down with {} shards", shards.len());
/// });
/// coordinator.start();
/// coordinator.leading().await;
/// coordinator.stop().await;
/// # Ok(())
/// # }
/// ```
///
/// A clone is another handle on the same coordinator, which runs until it is stopped.
#[derive(Debug, Clone)]
pub struct FailoverCoordinator {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    config: Config,
    calls: Calls,
    clock: Clock,
    machine: Mutex<Failover>,
    handlers: Mutex<Handlers>,
    events: broadcast::Sender<Event>,
    changes: watch::Sender<()>,
    heard: mpsc::UnboundedSender<driver::Heard>,
    stop: Notify,
    /// Taken by the start.
    inbox: Mutex<Option<mpsc::UnboundedReceiver<driver::Heard>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

type OnNodeDown = Arc<dyn Fn(NodeId, Vec<ShardId>) -> Handled + Send + Sync>;
type OnNodeUp = Arc<dyn Fn(NodeId) -> Handled + Send + Sync>;

#[derive(Clone, Default)]
struct Handlers {
    node_down: Option<OnNodeDown>,
    node_up: Option<OnNodeUp>,
}

impl FailoverCoordinator {
    /// Returns a coordinator for the shards of a registry, which has yet to start. No two coordinators have the same `id`.
    ///
    /// # Errors
    /// [`ConfigError`] if the times do not fit each other.
    pub fn new(registry: Registry, id: NodeId, config: Config) -> Result<Self, ConfigError> {
        // A number for this start: 53 bits, so that every reader of JSON keeps it.
        let process = Incarnation(rand::rng().next_u64() >> 11);
        let seed = rand::rng().next_u64();
        let machine = Failover::new(config.clone(), registry.name(), id, process, seed)?;
        let (heard, inbox) = mpsc::unbounded_channel();
        let shared = Shared {
            calls: Calls::new(registry.clone(), config.lease_timing()?),
            registry,
            config,
            clock: Clock::start(),
            machine: Mutex::new(machine),
            handlers: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_MAX),
            changes: watch::Sender::new(()),
            heard,
            stop: Notify::new(),
            inbox: Mutex::new(Some(inbox)),
            task: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Calls `handler` when a node is down and fenced, with the shards whose primary it was. One call at a time, in the order of events; one
    /// that panics is logged.
    ///
    /// A coordinator that begins to lead calls it for the nodes that are down then, so it may be called twice for one failure.
    #[doc(alias = "onNodeDown")]
    pub fn on_node_down<F>(
        &self,
        handler: impl Fn(NodeId, Vec<ShardId>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let handler: OnNodeDown = Arc::new(move |node, shards| Box::pin(handler(node, shards)));
        self.shared.handlers().node_down = Some(handler);
    }

    /// Calls `handler` when a node that was down is back.
    #[doc(alias = "onNodeUp")]
    pub fn on_node_up<F>(&self, handler: impl Fn(NodeId) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handler: OnNodeUp = Arc::new(move |node| Box::pin(handler(node)));
        self.shared.handlers().node_up = Some(handler);
    }

    /// Starts to watch, and to act when it leads, in the present tokio runtime. Again, or after [`stop`](Self::stop), it does nothing.
    pub fn start(&self) {
        let inbox = self.shared.inbox().take();
        if let Some(inbox) = inbox {
            *self.shared.task() = Some(driver::start(self.shared.clone(), inbox));
        }
    }

    /// Stops. If it leads, it gives its lease back, so that the next leader need not wait.
    pub async fn stop(&self) {
        drop(self.shared.inbox().take());
        self.shared.stop.notify_one();
        let task = self.shared.task().take();
        if let Some(task) = task {
            let _ended = task.await;
        }
    }

    /// Has the replica on a node take over a shard whose primary is down, and returns the epoch from which on it counts. A node that is
    /// the primary already changes nothing.
    ///
    /// Only the leading coordinator does so.
    ///
    /// # Errors
    /// [`PromotionError`]: what is missing, or that nothing is known.
    #[doc(alias = "promoteReplica")]
    pub async fn promote_replica(
        &self,
        shard: &ShardId,
        node: &NodeId,
    ) -> Result<Epoch, PromotionError> {
        self.promote(shard, node, false).await
    }

    /// Does as [`promote_replica`](Self::promote_replica), whatever the replica reported: acknowledged writes may be lost, which the
    /// shard's record counts.
    ///
    /// # Errors
    /// [`PromotionError`], but not that it never reported.
    pub async fn promote_replica_accepting_loss(
        &self,
        shard: &ShardId,
        node: &NodeId,
    ) -> Result<Epoch, PromotionError> {
        self.promote(shard, node, true).await
    }

    async fn promote(
        &self,
        shard: &ShardId,
        node: &NodeId,
        forced: bool,
    ) -> Result<Epoch, PromotionError> {
        let (answer, answered) = oneshot::channel();
        let heard = driver::Heard::Promote {
            shard: shard.clone(),
            to: node.clone(),
            forced,
            answer,
        };
        if self.shared.heard.send(heard).is_err() {
            return Err(PromotionError::Stopped);
        }
        answered.await.unwrap_or(Err(PromotionError::Stopped))
    }

    /// Returns whether this coordinator leads at this moment.
    #[must_use]
    pub fn leads(&self) -> bool {
        let now = self.shared.clock.now();
        self.shared.machine().leads_at(now)
    }

    /// Returns the coordinator that leads, as it was last seen.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.shared.machine().leader().cloned()
    }

    /// Waits until this coordinator leads. Without end if it never does.
    pub async fn leading(&self) {
        until(&self.shared.changes, || self.leads().then_some(())).await;
    }

    /// Returns what happens from now on. A listener that is slower than 1,024 events misses some.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }
}

impl Shared {
    fn machine(&self) -> MutexGuard<'_, Failover> {
        self.machine
            .lock()
            .expect("no step of the machine panics while it is locked")
    }

    fn handlers(&self) -> MutexGuard<'_, Handlers> {
        self.handlers
            .lock()
            .expect("setting a handler does not panic")
    }

    fn inbox(&self) -> MutexGuard<'_, Option<mpsc::UnboundedReceiver<driver::Heard>>> {
        self.inbox.lock().expect("taking the inbox does not panic")
    }

    fn task(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().expect("taking the task does not panic")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverCoordinator")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
