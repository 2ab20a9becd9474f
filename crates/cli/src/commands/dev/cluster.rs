//! A coordinator and nodes in one process.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use shardwright_coordinator::{
    Coordinator, balance,
    core::{Settings as CoreSettings, View},
    http::{self, Api, Metrics},
    rebalancer::ReplicaPolicy,
};
use shardwright_registry::{SqliteStore, Store};
use shardwright_server::{
    Node, NodeOptions, StreamSettings,
    http::{CONNECTIONS_MAX, axum::Router, bind, serve},
};
use shardwright_topology::{Incarnation, NodeId};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};

use super::home::Home;
use crate::{
    commands::coordinator::replication, elastic::elastic_store, listening::Listening, timing,
};

/// Where everything is answered, unless said otherwise: where commands look for a coordinator.
pub(super) const DEFAULT_ADDRESS: (&str, u16) = ("127.0.0.1", http::DEFAULT_PORT);

/// How long after its last sign of life a node counts as down.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a node is asked for one.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// How many copies of each shard there are at most.
const COPIES_MAX: u32 = 3;

/// What a cluster is told that starts.
pub(super) struct Limits {
    /// How many shards it gets, if it is new.
    pub(super) shards: u32,
    /// How its leader balances it then.
    pub(super) balance: balance::Settings,
    /// The streams of clients.
    pub(super) streams: StreamSettings,
}

/// A running cluster.
pub(super) struct Cluster {
    url: String,
    coordinator: Coordinator,
    nodes: Vec<Running>,
    api: Api,
    /// Told that the servers are to end.
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

/// A node and its server.
struct Running {
    node: Node,
    address: String,
    server: JoinHandle<()>,
}

impl Cluster {
    /// Starts a coordinator and the nodes of a directory.
    pub(super) async fn start(
        home: &Home,
        limits: Limits,
        listening: Listening,
    ) -> anyhow::Result<Self> {
        let path = home.registry();
        let opened = spawn_blocking(move || SqliteStore::open(&path)).await?;
        let store: Arc<dyn Store> = Arc::new(opened.context("open the registry")?);
        let stop = watch::Sender::new(false);
        let mut nodes = Vec::new();
        // The nodes first: their directories are locked where another process has them.
        for (id, directory) in home.nodes() {
            let node =
                Running::start(&store, id, directory, &listening.url, &limits, &stop).await?;
            nodes.push(node);
        }
        let core = core_settings(u32::try_from(nodes.len())?, limits)?;
        let policy = Box::new(ReplicaPolicy::default());
        let shards = elastic_store(Arc::clone(&store), None)?;
        let coordinator = Coordinator::builder(Arc::clone(&store), core, policy)
            .elastic(shards)
            .start();
        let settings = http::Settings {
            metrics: Some(Metrics::install()?),
            ..http::Settings::default()
        };
        let api = Api::new(coordinator.handle().clone(), store, settings);
        let announced = api.announce(&listening.url).await;
        announced.context("announce the coordinator in the registry")?;
        let first = nodes.first().map(|running| running.node.router());
        let router = api.router().merge(first.unwrap_or_default());
        let server = serve_until(listening.listener, router, &stop);
        Ok(Self {
            url: listening.url,
            coordinator,
            nodes,
            api,
            stop,
            server,
        })
    }

    /// Waits until every shard takes writes.
    pub(super) async fn until_ready(&self) {
        let handle = self.coordinator.handle();
        // A coordinator that has ended will never be ready; its process is about to end too.
        let _ready = handle.view_when(is_ready).await;
    }

    /// Where everything is answered.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// How many shards there are for rows.
    pub(super) fn shards(&self) -> usize {
        let view = self.coordinator.handle().view();
        let ranges = view.shards.iter().filter(|shard| shard.range.is_some());
        ranges.count()
    }

    /// The nodes, each with its address.
    pub(super) fn addresses(&self) -> impl ExactSizeIterator<Item = (&NodeId, &str)> {
        let nodes = self.nodes.iter();
        nodes.map(|running| (running.node.worker().id(), running.address.as_str()))
    }

    /// Ends everything; what was taken in becomes durable.
    pub(super) async fn stop(self) {
        self.api.stop();
        self.stop.send_replace(true);
        // One that panicked has ended too.
        let _ended = self.server.await;
        let stopping: Vec<_> = self
            .nodes
            .into_iter()
            .map(|running| tokio::spawn(running.stop()))
            .collect();
        for stopped in stopping {
            let _stopped = stopped.await;
        }
        self.coordinator.stop().await;
    }
}

impl Running {
    async fn start(
        store: &Arc<dyn Store>,
        id: NodeId,
        directory: PathBuf,
        coordinator: &str,
        limits: &Limits,
        stop: &watch::Sender<bool>,
    ) -> anyhow::Result<Self> {
        let listener = bind("127.0.0.1:0", None).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let options = NodeOptions {
            coordinators: vec![coordinator.to_owned()],
            log: timing::of_log(HEARTBEAT_TIMEOUT),
            streams: limits.streams.clone(),
            ..NodeOptions::new(id.clone(), directory, &address)
        };
        let node = Node::start(Arc::clone(store), options).await;
        let node = node.with_context(|| format!("start the node {id}"))?;
        let server = serve_until(listener, node.router(), stop);
        Ok(Self {
            node,
            address,
            server,
        })
    }

    async fn stop(self) {
        let _ended = self.server.await;
        self.node.stop().await;
    }
}

/// Serves until the cluster ends.
fn serve_until(
    listener: TcpListener,
    router: Router,
    stop: &watch::Sender<bool>,
) -> JoinHandle<()> {
    let mut stop = stop.subscribe();
    let ended = async move {
        // Without a sender there is no cluster any more.
        let _stopped = stop.wait_for(|stop| *stop).await;
    };
    tokio::spawn(serve(listener, router, CONNECTIONS_MAX, ended))
}

fn core_settings(nodes: u32, limits: Limits) -> anyhow::Result<CoreSettings> {
    let factor = nodes.min(COPIES_MAX);
    let id = NodeId::new("dev")?;
    let usual = CoreSettings::new(id, Incarnation(rand::random()));
    Ok(CoreSettings {
        check_interval: CHECK_INTERVAL,
        timing: CoreSettings::timing_of(HEARTBEAT_TIMEOUT)?,
        replication_factor: factor,
        shards: limits.shards,
        balance: limits.balance,
        replication: replication(factor, usual.bootstrap_wait)?,
        ..usual
    })
}

/// Whether there are shards, and all of them take writes.
fn is_ready(view: &View) -> bool {
    let is_available = |shard| {
        let stands = view.replicated_shard(shard);
        stands.is_some_and(|stands| stands.condition.is_available())
    };
    let mut replicated = view.shards.iter().filter(|shard| shard.replicated);
    view.is_leading && view.shards.iter().any(|shard| shard.replicated) && {
        replicated.all(|shard| is_available(shard))
    }
}
