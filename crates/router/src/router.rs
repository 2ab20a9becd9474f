//! The router: what one process knows of all shards, and what it lets run on its own.

mod answer;
mod attempts;
mod call;
mod cut_over;
mod execute;
mod follow;
mod placement;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use shardwright_registry::Partitioning;
use shardwright_topology::{Epoch, NodeId, Position, ShardId, ShardMap, ShardRecord};
use tokio::sync::{Notify, watch};

use self::table::Table;
pub use self::{call::CallOptions, cut_over::CutOver};
use crate::{
    BoxError, Call, Error, Route,
    handler::{Handler, Handlers, Repeat},
    route::route,
    transport::{Transport, memory::Network},
};

/// How a router behaves.
#[derive(Clone)]
pub struct Settings {
    /// How long a call may take, waiting and repeating included, unless its options say otherwise. 5 seconds by default.
    pub timeout: Duration,
    /// How long a node waits to hear of an epoch that a request names and it does not know, at most as long as the
    /// request waits. Half a second by default: much longer than news takes, much shorter than a call.
    pub news_wait: Duration,
    /// How a tenant finds its shard. [`Router::follow`] reads it from the registry instead. Ranges by default.
    pub partitioning: Partitioning,
    /// Who may forbid this node to serve what the map says it owns. Nobody by default.
    pub serving: Option<Arc<dyn Serving>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            news_wait: Duration::from_millis(500),
            partitioning: Partitioning::Ranges,
            serving: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("timeout", &self.timeout)
            .field("news_wait", &self.news_wait)
            .field("partitioning", &self.partitioning)
            .field("serving", &self.serving.is_some())
            .finish()
    }
}

/// Says whether this process may serve a shard: a lease, for example, that others take for ended.
///
/// A router asks before every piece of work, so implementations must answer at once and must not block. A closure will do.
pub trait Serving: Send + Sync {
    /// Returns whether work may begin on `shard` at `epoch` now.
    fn may_serve(&self, shard: &ShardId, epoch: Epoch) -> bool;
}

impl<F: Fn(&ShardId, Epoch) -> bool + Send + Sync> Serving for F {
    fn may_serve(&self, shard: &ShardId, epoch: Epoch) -> bool {
        self(shard, epoch)
    }
}

/// Reaches the owner of any shard, from one process.
///
/// Clones are the same router. Look-ups and local work take no lock.
#[doc(alias = "ShardRouter")]
#[derive(Debug, Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: NodeId,
    settings: Settings,
    transport: Arc<dyn Transport>,
    handlers: Handlers,
    table: ArcSwap<Table>,
    /// Held by whoever changes the table or a gate.
    writer: Mutex<Writer>,
    /// The version of the table, for those who wait for the next.
    version: watch::Sender<u64>,
    stale: Mutex<BTreeSet<ShardId>>,
    stale_shards: Notify,
}

/// What only the one who changes the table needs.
#[derive(Debug)]
struct Writer {
    partitioning: Partitioning,
    /// The revision of the map that was set last.
    revision: Option<u64>,
    /// Shards that left this node while somebody was still inside.
    leaving: BTreeSet<ShardId>,
    /// Records that were read beside the watch, until a map shows them.
    learned: BTreeMap<ShardId, ShardRecord>,
}

impl Router {
    /// Returns the router of a node that reaches others through `transport`.
    ///
    /// It knows nothing until it is told: [`Router::follow`] does so from a registry, [`Router::set_map`] and others by hand.
    #[must_use]
    pub fn new(node: NodeId, transport: Arc<dyn Transport>, settings: Settings) -> Self {
        let writer = Writer {
            partitioning: settings.partitioning.clone(),
            revision: None,
            leaving: BTreeSet::new(),
            learned: BTreeMap::new(),
        };
        Self {
            inner: Arc::new(Inner {
                node,
                settings,
                transport,
                handlers: Handlers::default(),
                table: ArcSwap::default(),
                writer: Mutex::new(writer),
                version: watch::Sender::new(0),
                stale: Mutex::default(),
                stale_shards: Notify::new(),
            }),
        }
    }

    /// Returns the router of a node that is alone.
    #[must_use]
    pub fn local(node: NodeId) -> Self {
        Self::new(node, Arc::new(Network::new()), Settings::default())
    }

    /// Returns the name of this node.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.inner.node
    }

    /// Runs `handler` for calls of `method` on shards of this node, in place of another handler of the name.
    ///
    /// A call whose outcome is unknown is not repeated. Answer with what the caller must know, failures of its own kind
    /// included; an error is for what went wrong, and its text is cut after 4 KiB.
    ///
    /// # Panics
    /// Unless the name has 1 to 255 visible ASCII characters.
    pub fn handle<F, Fut, A, E>(&self, method: &str, handler: F)
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, E>> + Send + 'static,
        A: Into<Bytes>,
        E: Into<BoxError>,
    {
        self.register(method, Repeat::Never, handler);
    }

    /// Does as [`Router::handle`], for a method that may run twice as well as once, such as a read: this router
    /// repeats its own calls of the method, also when the outcome of one is unknown.
    ///
    /// # Panics
    /// As [`Router::handle`].
    pub fn handle_idempotent<F, Fut, A, E>(&self, method: &str, handler: F)
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, E>> + Send + 'static,
        A: Into<Bytes>,
        E: Into<BoxError>,
    {
        self.register(method, Repeat::Safe, handler);
    }

    fn register<F, Fut, A, E>(&self, method: &str, repeat: Repeat, handler: F)
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, E>> + Send + 'static,
        A: Into<Bytes>,
        E: Into<BoxError>,
    {
        let handler = Handler::new(method, repeat, handler);
        self.inner.handlers.insert(handler);
    }

    /// Returns the shard of a tenant.
    ///
    /// # Errors
    /// [`Error::NoMap`] or [`Error::NoTenants`]; with a fixed number of shards also [`Error::UnknownShard`].
    pub fn shard_of(&self, tenant: impl AsRef<[u8]>) -> Result<ShardId, Error> {
        let table = self.inner.table.load();
        Ok(table.routes.of_tenant(tenant.as_ref())?.id().clone())
    }

    /// Returns where a node is reached, if that is known.
    #[must_use]
    pub fn address(&self, node: &NodeId) -> Option<Arc<str>> {
        self.inner.table.load().addresses.get(node).cloned()
    }

    /// Returns the shard map, if there is one.
    #[must_use]
    pub fn map(&self) -> Option<Arc<ShardMap>> {
        self.inner.table.load().routes.map().cloned()
    }

    /// Returns a count of the changes of what the router knows, which changes with each.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.version.subscribe()
    }

    /// Returns who owns a shard.
    ///
    /// # Errors
    /// [`Error::NoMap`], [`Error::UnknownShard`] or [`Error::NoOwner`].
    pub fn route(&self, shard: &ShardId) -> Result<Route, Error> {
        self.inner.table.load().routes.route(shard)
    }

    /// Returns who owns the shard of a tenant.
    ///
    /// # Errors
    /// As [`Router::shard_of`], and [`Error::NoOwner`].
    pub fn route_by_tenant(&self, tenant: impl AsRef<[u8]>) -> Result<Route, Error> {
        let table = self.inner.table.load();
        let shard = table.routes.of_tenant(tenant.as_ref())?;
        route(shard.id(), shard.primary(), shard.epoch())
    }

    /// Returns who owns the shard at a position.
    ///
    /// # Errors
    /// [`Error::NoMap`] or [`Error::NoOwner`]; [`Error::NoTenants`] where shards have no ranges.
    #[inline]
    pub fn route_at(&self, position: Position) -> Result<Route, Error> {
        let table = self.inner.table.load();
        let shard = table.routes.at(position)?;
        route(shard.id(), shard.primary(), shard.epoch())
    }

    /// Looks at the route of the shard at a position, in place: nothing is cloned. `look` gets the shard, its owner and its epoch.
    ///
    /// # Errors
    /// As [`Router::route_at`].
    #[inline]
    pub fn with_route_at<T>(
        &self,
        position: Position,
        look: impl FnOnce(&ShardId, &NodeId, Epoch) -> T,
    ) -> Result<T, Error> {
        let table = self.inner.table.load();
        let shard = table.routes.at(position)?;
        match shard.primary() {
            Some(owner) => Ok(look(shard.id(), owner, shard.epoch())),
            None => Err(Error::NoOwner {
                shard: shard.id().clone(),
            }),
        }
    }

    pub(crate) fn downgrade(&self) -> WeakRouter {
        WeakRouter(Arc::downgrade(&self.inner))
    }

    /// Asks whoever follows the registry to read the record of a shard.
    fn refresh(&self, shard: &ShardId) {
        /// More than that many at once, and the watch itself brings the news sooner.
        const STALE_MAX: usize = 1024;
        let mut stale = lock(&self.inner.stale);
        if stale.len() < STALE_MAX && stale.insert(shard.clone()) {
            self.inner.stale_shards.notify_one();
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.inner.writer)
    }
}

/// A router that goes on living only as long as others hold it.
#[derive(Debug, Clone)]
pub(crate) struct WeakRouter(Weak<Inner>);

impl WeakRouter {
    pub(crate) fn upgrade(&self) -> Option<Router> {
        self.0.upgrade().map(|inner| Router { inner })
    }
}

/// A panic leaves none of the values behind these locks half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
