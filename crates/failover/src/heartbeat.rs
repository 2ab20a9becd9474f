//! The driver of a node: registers it, keeps its lease, and says what it may serve.

mod driver;

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared as Ended},
};
use rand::RngCore;
use shardwright_registry::{
    Clock, Error, Records, Registration, Registry, Stored, assign, node_lease,
};
use shardwright_topology::{Epoch, NodeId, NodeRecord, Primary, ShardId};
use tokio::sync::{Notify, broadcast, watch};

use crate::{
    Config, ConfigError, Copies, Copy, Event, Licence, StepDownReason,
    calls::{Calls, reports_prefix},
    drive::{EVENTS_MAX, until},
    handlers::{Caller, Handled},
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
    caller: Caller,
    stop: Notify,
    running: Mutex<Option<Running>>,
    reported: tokio::sync::Mutex<Option<Stored<Copies>>>,
}

/// The ends of its tasks.
#[derive(Clone)]
struct Running {
    driver: Ended<BoxFuture<'static, ()>>,
    handlers: Ended<BoxFuture<'static, ()>>,
}

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
    /// It was not started, so that it has no process yet that could report. Start it first.
    #[error("the heartbeat of node {node} was not started")]
    NotStarted {
        /// The node.
        node: NodeId,
    },
    /// A later process runs under the node's name, and its report counts. Nothing changed; end this process.
    #[error("a later process runs as node {node}")]
    Superseded {
        /// The node.
        node: NodeId,
    },
    /// It was started before.
    #[error("the heartbeat of node {node} was started before")]
    Started {
        /// The node.
        node: NodeId,
    },
}

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
            caller: Caller::default(),
            stop: Notify::new(),
            running: Mutex::default(),
            reported: tokio::sync::Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Calls `handler` for each shard that the node begins to serve. One call at a time, in order; one that panics is logged.
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

    /// Registers the node's new process, takes back what an earlier one reported, claims those of its shards that nobody owns, and keeps its lease from now on, in the present
    /// tokio runtime. A shard that was given to another node meanwhile stays there.
    ///
    /// # Errors
    /// [`HeartbeatError::Started`], [`HeartbeatError::Superseded`], or [`HeartbeatError::Registry`]: try again.
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
        let report = first_report(&shared.registry, &me).await?;
        let seed = rand::rng().next_u64();
        let licence = Licence::new(node_lease(&node), me.clone(), shared.calls.timing(), seed);
        {
            let mut slot = shared.licence();
            if slot.is_some() {
                return Err(HeartbeatError::Started { node });
            }
            *slot = Some(licence);
        }
        *shared.reported.lock().await = Some(report);
        let (driver, handlers) = driver::start(shared.clone(), me);
        *shared.running() = Some(Running {
            driver: driver.map(drop).boxed().shared(),
            handlers: handlers.map(drop).boxed().shared(),
        });
        Ok(())
    }

    /// Returns whether the lease has not ended: without it the node serves nothing.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.shared.holds()
    }

    /// Returns the epoch at which the node may serve a shard at this moment.
    #[must_use]
    pub fn serves(&self, shard: &ShardId) -> Option<Epoch> {
        let now = self.shared.clock.now();
        self.shared.licence().as_ref()?.may_serve(now, shard)
    }

    /// Waits until the node serves a shard, and returns the epoch. Without end if it never does.
    pub async fn serving(&self, shard: &ShardId) -> Epoch {
        until(&self.shared.changes, || self.serves(shard)).await
    }

    /// Returns what happens from now on: [`Event::SteppedDown`].
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Says what the node holds of some shards, so that a promotion can choose. Others that it reported before stay as they were.
    ///
    /// Report `in_sync` only while the primary waits for this copy, and take it back before it stops waiting. The report of a process that
    /// ended without that is taken back by the start of the next one: so long the primary has to wait for it.
    ///
    /// # Errors
    /// [`HeartbeatError::NotStarted`], [`HeartbeatError::Superseded`], or [`HeartbeatError::Registry`]: it is not known whether the report
    /// was stored.
    pub async fn report(
        &self,
        copies: impl IntoIterator<Item = (ShardId, Copy)> + Send,
    ) -> Result<(), HeartbeatError> {
        let me = self
            .shared
            .licence()
            .as_ref()
            .map(Licence::primary)
            .cloned();
        let me = me.ok_or_else(|| HeartbeatError::NotStarted {
            node: self.shared.registration.id.clone(),
        })?;
        let mut reported = self.shared.reported.lock().await;
        let current = match reported.take() {
            Some(current) => current,
            None => first_report(&self.shared.registry, &me).await?,
        };
        let mut next = current.value.clone();
        next.copies.extend(copies);
        if next != current.value {
            // After a failure the next report reads what is stored.
            let records = reports_of(&self.shared.registry);
            *reported = Some(records.replace(&current, next).await?);
        } else {
            *reported = Some(current);
        }
        Ok(())
    }

    /// Stops serving, gives the lease back so that replicas take over at once, and ends. Calls of handlers that are due are made
    /// first, except when a handler calls this: then they are made after it has returned.
    ///
    /// A handler must not wait for another task that calls this, since that one waits for the handler.
    pub async fn stop(&self) {
        let running = self.shared.running().clone();
        if let Some(Running { driver, handlers }) = running {
            self.shared.stop.notify_one();
            driver.await;
            if !self.shared.caller.is_calling() {
                handlers.await;
            }
        }
    }
}

/// The reports of a keyspace's nodes.
fn reports_of(registry: &Registry) -> Records<Copies> {
    Records::new(registry.store().clone(), reports_prefix(registry))
}

/// Returns the stored report of a process. What an earlier process of the node said is taken back.
async fn first_report(registry: &Registry, me: &Primary) -> Result<Stored<Copies>, HeartbeatError> {
    let records = reports_of(registry);
    let empty = Copies {
        node: me.node.clone(),
        incarnation: me.incarnation,
        copies: BTreeMap::new(),
    };
    let (found, _) = records.create_if_absent(&me.node, empty.clone()).await?;
    match found.value.incarnation.cmp(&me.incarnation) {
        Ordering::Less => Ok(records.replace(&found, empty).await?),
        Ordering::Equal => Ok(found),
        Ordering::Greater => Err(HeartbeatError::Superseded {
            node: me.node.clone(),
        }),
    }
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
    fn holds(&self) -> bool {
        let now = self.clock.now();
        let licence = self.licence();
        licence
            .as_ref()
            .is_some_and(|licence| licence.holds_at(now))
    }

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
