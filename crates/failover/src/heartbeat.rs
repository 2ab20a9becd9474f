//! The driver of a node: registers it, keeps its lease, and says what it may serve.

mod driver;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use rand::RngCore;
use shardwright_registry::{Error, Prefix, Records, Registration, Registry, Stored, assign};
use shardwright_topology::{Epoch, NodeId, NodeRecord, Primary, ShardId};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
};

use crate::{
    Config, ConfigError, Copies, Copy, Event, Licence, StepDownReason, calls::Calls, clock::Clock,
    node_lease,
};

/// A node's heartbeat: its lease, renewed by itself, and the shards that it may serve while the lease lasts.
///
/// Ask [`Heartbeat::serves`] for each request, and answer with the epoch: it is `None` from the moment at which the lease ends, on this
/// process's own clock, whatever the process was doing meanwhile.
///
/// ```
/// use std::sync::Arc;
/// use shardwright_failover::{Config, Heartbeat};
/// use shardwright_registry::{MemoryStore, Partitioning, Registration, Registry};
/// use shardwright_topology::{KeyspaceName, NodeId, ShardId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
/// registry.bootstrap(Partitioning::Ranges, 4).await?;
///
/// let registration = Registration {
///     shards: vec![ShardId::numbered(0)],
///     ..Registration::new(NodeId::new("node-1")?, "http://localhost:3000")
/// };
/// let heartbeat = Heartbeat::new(registry, registration, &Config::default())?;
/// heartbeat.on_step_down(|shard, epoch, reason| async move {
///     println!("no longer serving {shard} at {epoch}: {reason:?}");
/// });
/// heartbeat.start().await?;
/// heartbeat.serving(&ShardId::numbered(0)).await;
/// assert!(heartbeat.holds());
/// heartbeat.stop().await;
/// assert_eq!(heartbeat.serves(&ShardId::numbered(0)), None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Heartbeat {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    registration: Registration,
    calls: Calls,
    clock: Clock,
    /// None before the start.
    licence: Mutex<Option<Licence>>,
    handlers: Mutex<Handlers>,
    events: broadcast::Sender<Event>,
    /// Changes whenever something that the licence says may have.
    changes: watch::Sender<()>,
    running: Mutex<Option<Running>>,
    reported: tokio::sync::Mutex<Option<Stored<Copies>>>,
}

#[derive(Debug)]
struct Running {
    stop: mpsc::UnboundedSender<driver::Heard>,
    task: JoinHandle<()>,
}

type Handled = Pin<Box<dyn Future<Output = ()> + Send>>;
type OnServe = Arc<dyn Fn(ShardId, Epoch) -> Handled + Send + Sync>;
type OnStepDown = Arc<dyn Fn(ShardId, Epoch, StepDownReason) -> Handled + Send + Sync>;

#[derive(Clone, Default)]
struct Handlers {
    serve: Option<OnServe>,
    step_down: Option<OnStepDown>,
}

/// Why a heartbeat did not start, or a report was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeartbeatError {
    /// The node could not be registered, or its report not be stored. Look at the cause; a retry does no harm.
    #[error("the registry refused")]
    Registry(#[from] Error),
    /// It was started before.
    #[error("the heartbeat of node {node} was started before")]
    Started {
        /// The node.
        node: NodeId,
    },
}

/// How many events wait for a slow listener before it misses some.
const EVENTS_MAX: usize = 1024;

impl Heartbeat {
    /// Returns the heartbeat of a node, which has yet to start.
    ///
    /// # Errors
    /// [`ConfigError`] if the times do not fit each other.
    pub fn new(
        registry: Registry,
        registration: Registration,
        config: &Config,
    ) -> Result<Self, ConfigError> {
        let calls = Calls::new(registry.clone(), config.lease_timing()?);
        let shared = Shared {
            registry,
            registration,
            calls,
            clock: Clock::start(),
            licence: Mutex::default(),
            handlers: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_MAX),
            changes: watch::Sender::new(()),
            running: Mutex::default(),
            reported: tokio::sync::Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Calls `handler` for each shard that the node begins to serve. One call at a time, in order.
    pub fn on_serve<F>(&self, handler: impl Fn(ShardId, Epoch) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handler: OnServe = Arc::new(move |shard, epoch| Box::pin(handler(shard, epoch)));
        self.shared.handlers().serve = Some(handler);
    }

    /// Calls `handler` for each shard that the node serves no more. [`Heartbeat::serves`] says so before that.
    pub fn on_step_down<F>(
        &self,
        handler: impl Fn(ShardId, Epoch, StepDownReason) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let handler: OnStepDown =
            Arc::new(move |shard, epoch, reason| Box::pin(handler(shard, epoch, reason)));
        self.shared.handlers().step_down = Some(handler);
    }

    /// Registers the node's new process, claims those of its shards that nobody owns, and keeps its lease from now on, in the present
    /// tokio runtime. A shard that was given to another node meanwhile stays there.
    ///
    /// # Errors
    /// [`HeartbeatError::Started`], or [`HeartbeatError::Registry`]: try again.
    pub async fn start(&self) -> Result<(), HeartbeatError> {
        let shared = &self.shared;
        let node = shared.registration.id.clone();
        if shared.licence().is_some() {
            return Err(HeartbeatError::Started { node });
        }
        let registration = Registration {
            shards: Vec::new(),
            ..shared.registration.clone()
        };
        let record = shared.registry.register(registration).await?.value;
        for shard in &shared.registration.shards {
            claim(&shared.registry, shard, &record).await?;
        }
        let me = Primary {
            node: node.clone(),
            incarnation: record.incarnation,
        };
        let seed = rand::rng().next_u64();
        let licence = Licence::new(node_lease(&node), me, shared.calls.timing(), seed);
        {
            let mut slot = shared.licence();
            if slot.is_some() {
                return Err(HeartbeatError::Started { node });
            }
            *slot = Some(licence);
        }
        let (stop, task) = driver::start(shared.clone());
        *shared.running() = Some(Running { stop, task });
        Ok(())
    }

    /// Returns whether the lease has not ended: without it the node serves nothing.
    #[must_use]
    pub fn holds(&self) -> bool {
        let now = self.shared.clock.now();
        self.shared
            .licence()
            .as_ref()
            .is_some_and(|licence| licence.holds_at(now))
    }

    /// Returns the epoch at which the node may serve a shard at this moment.
    #[must_use]
    pub fn serves(&self, shard: &ShardId) -> Option<Epoch> {
        let now = self.shared.clock.now();
        self.shared.licence().as_ref()?.may_serve(now, shard)
    }

    /// Waits until the node serves a shard, and returns the epoch. Without end if it never does.
    pub async fn serving(&self, shard: &ShardId) -> Epoch {
        let mut changes = self.shared.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(epoch) = self.serves(shard) {
                return epoch;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns what happens from now on: [`Event::SteppedDown`].
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Says what the node holds of some shards, so that a promotion can choose. Others that it reported before stay as they were.
    ///
    /// Report `in_sync` only while the primary waits for this copy, and take it back before it stops waiting.
    ///
    /// # Errors
    /// [`HeartbeatError::Registry`]: it is not known whether the report was stored.
    pub async fn report(
        &self,
        copies: impl IntoIterator<Item = (ShardId, Copy)> + Send,
    ) -> Result<(), HeartbeatError> {
        let shared = &self.shared;
        let node = &shared.registration.id;
        let records = copies_of(&shared.registry)?;
        let mut reported = shared.reported.lock().await;
        let current = match reported.take() {
            Some(current) => current,
            None => {
                let empty = Copies {
                    node: node.clone(),
                    copies: std::collections::BTreeMap::new(),
                };
                records.create_if_absent(node, empty).await?.0
            }
        };
        let mut next = current.value.clone();
        next.copies.extend(copies);
        if next == current.value {
            *reported = Some(current);
            return Ok(());
        }
        // After a failure the next report reads what is stored.
        *reported = Some(records.replace(&current, next).await?);
        Ok(())
    }

    /// Stops serving, gives the lease back so that replicas take over at once, and ends. Calls of handlers that are due are made
    /// first.
    pub async fn stop(&self) {
        let running = self.shared.running().take();
        if let Some(Running { stop, task }) = running {
            // A driver that has ended already is stopped.
            let _sent = stop.send(driver::Heard::Stop);
            let _ended = task.await;
        }
    }
}

/// The reports of a keyspace's nodes.
pub(crate) fn copies_of(registry: &Registry) -> Result<Records<Copies>, Error> {
    let prefix = Prefix::new(format!("copy/{}/", registry.name()))?;
    Ok(Records::new(registry.store().clone(), prefix))
}

/// Makes a registered process the owner of a shard that nobody owns.
async fn claim(registry: &Registry, shard: &ShardId, node: &NodeRecord) -> Result<(), Error> {
    let decide = |record: &shardwright_topology::ShardRecord| match record.primary() {
        Some(_) => Ok(record.clone()),
        None => assign::assigned(record, node, &mut rand::rng()),
    };
    registry.update_shard(shard, decide).await.map(|_| ())
}

impl Shared {
    fn licence(&self) -> MutexGuard<'_, Option<Licence>> {
        self.licence
            .lock()
            .expect("no step of a licence panics while it is locked")
    }

    fn handlers(&self) -> MutexGuard<'_, Handlers> {
        self.handlers
            .lock()
            .expect("setting a handler does not panic")
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().expect("taking the task does not panic")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat")
            .field("registration", &self.registration)
            .finish_non_exhaustive()
    }
}
