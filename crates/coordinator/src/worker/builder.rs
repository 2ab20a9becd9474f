//! How a worker is made.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use shardwright_registry::Addresses;
use shardwright_topology::{Location, NodeId, NodeRecord};

use super::{Copies, Worker, driver, registrar::Coordinators};
use crate::{
    http::Token,
    protocol::{Assignment, Register, VERSION},
};

/// What a callback gives: nothing, or why it failed.
pub type CallbackResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

pub(super) type Callback =
    Arc<dyn Fn(Assignment) -> Pin<Box<dyn Future<Output = CallbackResult> + Send>> + Send + Sync>;

/// What a worker is made of.
#[derive(Clone)]
pub struct WorkerBuilder {
    pub(super) register: Register,
    pub(super) coordinators: Coordinators,
    pub(super) serve: Callback,
    pub(super) delete: Callback,
    pub(super) watch: Option<Watcher>,
    pub(super) token: Option<Token>,
    pub(super) copies: Option<Arc<dyn Copies>>,
}

pub(super) type Watcher = Arc<dyn Fn(&LeaseNews) -> CallbackResult + Send + Sync>;

/// What an audit log of a worker needs: when it may serve what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseNews {
    /// For how long from now on the worker may serve what it serves.
    pub left: std::time::Duration,
}

impl WorkerBuilder {
    pub(super) fn new(id: NodeId, address: String, coordinators: Vec<String>) -> Self {
        let register = Register {
            version: VERSION,
            id,
            address,
            location: Location::default(),
            weight: NodeRecord::WEIGHT,
        };
        let nothing: Callback = Arc::new(|_| Box::pin(async { Ok(()) }));
        Self {
            register,
            coordinators: Coordinators::Named(coordinators),
            serve: nothing.clone(),
            delete: nothing,
            watch: None,
            token: None,
            copies: None,
        }
    }

    /// Says where the worker runs.
    #[must_use]
    pub fn location(mut self, location: Location) -> Self {
        self.register.location = location;
        self
    }

    /// Says how much of the load it gets, relative to others; [`NodeRecord::WEIGHT`] is ordinary.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.register.weight = weight;
        self
    }

    /// Begins to serve a shard. Until it returns, nobody is told that the shard is served; if it fails, the coordinator gives the
    /// shard to another worker, or to this one again.
    #[doc(alias = "ServeFn")]
    #[must_use]
    pub fn on_serve<F, R>(mut self, serve: F) -> Self
    where
        F: Fn(Assignment) -> R + Send + Sync + 'static,
        R: Future<Output = CallbackResult> + Send + 'static,
    {
        self.serve = Arc::new(move |assignment| Box::pin(serve(assignment)));
        self
    }

    /// Stops serving a shard. Nobody else is given the shard before it has returned, unless this worker's lease ends; if it fails,
    /// it is called again.
    #[doc(alias = "DeleteFn")]
    #[must_use]
    pub fn on_delete<F, R>(mut self, delete: F) -> Self
    where
        F: Fn(Assignment) -> R + Send + Sync + 'static,
        R: Future<Output = CallbackResult> + Send + 'static,
    {
        self.delete = Arc::new(move |assignment| Box::pin(delete(assignment)));
        self
    }

    /// Calls `watch` before the worker may serve for longer: for audit logs. If it fails, the worker may not. It must not block.
    #[must_use]
    pub fn on_lease(
        mut self,
        watch: impl Fn(&LeaseNews) -> CallbackResult + Send + Sync + 'static,
    ) -> Self {
        self.watch = Some(Arc::new(watch));
        self
    }

    /// Sends a token to coordinators, and takes pings only from those that send it too.
    #[must_use]
    pub fn token(mut self, token: Option<Token>) -> Self {
        self.token = token;
        self
    }

    /// Asks the coordinators that a registry names, in place of those that were given: whichever they are whenever the worker asks
    /// one. While the registry is away, those that it named last.
    #[must_use]
    pub fn coordinators_of(mut self, registry: Addresses) -> Self {
        self.coordinators = Coordinators::announced(registry);
        self
    }

    /// Lets the worker keep copies of shards that commit on several members.
    #[must_use]
    pub fn copies(mut self, copies: Arc<dyn Copies>) -> Self {
        self.copies = Some(copies);
        self
    }

    /// Starts the worker in the present tokio runtime. Mount [`Worker::router`] where `address` leads to.
    #[must_use]
    pub fn start(self) -> Worker {
        driver::start(self)
    }
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("register", &self.register)
            .field("coordinators", &self.coordinators)
            .finish_non_exhaustive()
    }
}
