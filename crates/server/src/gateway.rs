//! The gateway of a node: SQL over all shards of a keyspace, wherever they are.
//!
//! ```text
//! POST /v1/sql ─ the engine of the embedded database ─ View ─ Cluster ─┬ Host here ─ Shard
//!                plans for the schema of this moment     │     finds    └ HTTP ─ Host there ─ Shard
//!                                                        └ numbers, deadline, freshness of one statement
//! ```
//! Every node answers every statement. What only one node at a time may do, such as to change the schema, the node does that has the
//! primary of the catalog shard, the keyspace's [writer](writer); others pass it on.

mod client;
mod cluster;
mod engine;
mod fault;
mod guard;
mod host;
mod http;
mod numbers;
mod pass_on;
mod post;
mod request;
mod transaction;
mod tries;
mod view;
mod way;
mod wire;
mod writer;

use std::{sync::Arc, time::Duration};

use shardwright_http::{
    ClientError, Token,
    axum::{
        Router as Routes,
        middleware::{from_fn, from_fn_with_state},
    },
};
use shardwright_registry::{Clock, Registry, Store};
use shardwright_router::Router;
use shardwright_topology::{KeyspaceName, NodeId};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    task::JoinSet,
};

pub use self::host::{is_sealed, shows_seal};
pub(crate) use self::host::{outcome_elsewhere, outcome_of_both};
pub(crate) use self::{
    client::{Call, Client, Passed, Refusal},
    transaction::{Begin, Transaction},
};
use self::{engine::Engines, host::Host, numbers::Streams, tries::Tries};
use crate::node::Copies;

/// How long it takes at most to connect to another node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How many statements run at once. Each takes a thread of those that may wait, of which tokio has 512; the shards of the node need some
/// of them too, and the [readers of others](host) have theirs.
const STATEMENTS_MAX: usize = 256;

/// How many of them may be such as the keyspace's writer runs: those wait for one another, and must not keep others from running.
const WRITER_MAX: usize = 64;

/// How many backups are made at once: each takes a thread of those that may wait, and one for each shard.
const BACKUPS_MAX: usize = 1;

/// The gateway of a node. It works until it is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    token: Option<Token>,
    /// They end with this.
    _tasks: JoinSet<()>,
    /// What waits on threads of its own ends with it.
    _over: watch::Sender<()>,
}

/// What the statements share.
#[derive(Debug)]
struct Shared {
    keyspace: KeyspaceName,
    clock: Clock,
    streams: Streams,
    engines: Engines,
    running: Semaphore,
    /// What runs here as the keyspace's writer.
    writing: Semaphore,
    /// Held by who makes a backup through this node.
    backups: Arc<Semaphore>,
    tries: Tries,
}

impl Gateway {
    /// Starts the gateway of a node for the keyspace `main`, in the present tokio runtime.
    pub(crate) fn start(
        node: NodeId,
        store: &Arc<dyn Store>,
        copies: Copies,
        token: Option<Token>,
    ) -> Result<Self, ClientError> {
        let registry = Registry::new(Arc::clone(store), KeyspaceName::main());
        let router = Router::local(node);
        let mut tasks = JoinSet::new();
        let (following, followed) = (router.clone(), registry.clone());
        tasks.spawn(async move { match following.follow(&followed).await {} });
        let clock = Clock::start();
        let (over, _) = watch::channel(());
        let (host, letters) = Host::new(copies);
        tasks.spawn(host.clone().keep_commits());
        let parts = engine::Parts {
            registry,
            router,
            host,
            client: shardwright_http::client(CONNECT_TIMEOUT)?,
            token: token.clone(),
            runtime: Handle::current(),
            over: over.subscribe(),
            clock,
        };
        let engines = Engines::start(parts, &mut tasks);
        tasks.spawn(post::carry(letters, engines.present()));
        let shared = Shared {
            keyspace: KeyspaceName::main(),
            clock,
            streams: Streams::default(),
            engines,
            running: Semaphore::new(STATEMENTS_MAX),
            writing: Semaphore::new(WRITER_MAX),
            backups: Arc::new(Semaphore::new(BACKUPS_MAX)),
            tries: Tries::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            token,
            _tasks: tasks,
            _over: over,
        })
    }

    /// Ends what is read here from request to request.
    pub(crate) fn stop(&self) {
        self.shared.engines.host().stop();
    }

    /// Returns what other protocols of this node ask by.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.shared, self.token.as_ref())
    }

    /// Returns what clients and other gateways ask, and `others`, with the same guard before them.
    pub(crate) fn router(&self, others: Routes) -> Routes {
        let host = self.shared.engines.host().clone();
        let routes = http::router(Arc::clone(&self.shared)).merge(way::router(host));
        let routes = routes.merge(others);
        match self.token.clone() {
            Some(token) => routes.layer(from_fn_with_state(token, guard::require_token)),
            None => routes.layer(from_fn(guard::refuse_foreign)),
        }
    }
}
