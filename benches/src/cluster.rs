//! A coordinator in this process, and nodes here or in processes of their own, whose shards are split, merged and moved.

mod apart;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use shardwright_registry::{Clock, MemoryStore, Registry, SqliteStore, Store};
use shardwright_server::{
    ClusterStore, Node, NodeOptions,
    coordinator::{
        Coordinator,
        core::{Replication, Settings},
        failover::replication,
        http::{Api, Settings as HttpSettings, serve},
        rebalancer::ReplicaPolicy,
    },
    http::{axum, bind},
};
use shardwright_topology::{Incarnation, KeyspaceName, NodeId, ShardId, Timestamp};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

pub(crate) use self::apart::hold;
use crate::{harness::progress, subprocess::Subprocess};

/// How long a condition is waited for at once.
const PAUSE: Duration = Duration::from_millis(2);

/// How often an operation is begun.
const TRIES: u32 = 100;

/// How many rows are written at once.
const BATCH: u64 = 4_000;

/// After how many rows it is shown how far it is.
const SHOWN: u64 = 250_000;

/// The table that has the rows.
const TABLE: &str = "CREATE TABLE items (id TEXT PRIMARY KEY, kind INTEGER, body BLOB)";

/// What each shard has beside it.
const INDEX: &str = "CREATE INDEX items_by_kind ON items (kind)";

/// A row: one hundred bytes, and what goes with them.
pub(crate) const INSERT: &str = "INSERT INTO items
    WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
    SELECT printf('item-%08d', i), i % 1000, randomblob(100) FROM n";

/// What a cluster is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// How many nodes there are.
    pub(crate) nodes: u32,
    /// How many copies a shard has.
    pub(crate) copies: u32,
    /// For how long a copy has to be close before its source is sealed.
    pub(crate) calm: Duration,
    pub(crate) home: Home,
}

/// Where the nodes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// In this process, with a registry in memory.
    Here,
    /// Each in a process of its own, with a registry in a file.
    Apart,
}

/// A node that runs.
struct Running {
    id: NodeId,
    url: String,
    /// If it runs here.
    node: Option<Node>,
    /// If it does not; it ends with this.
    _process: Option<Subprocess>,
}

/// A running cluster.
pub(crate) struct Cluster {
    nodes: Vec<Running>,
    coordinator: Coordinator,
    url: String,
    registry: Registry,
    client: Client,
    _servers: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Starts nodes in directories of their own, with one shard for rows.
    pub(crate) async fn start(directory: &Path, shape: Shape) -> anyhow::Result<Self> {
        let store: Arc<dyn Store> = match shape.home {
            Home::Here => Arc::new(MemoryStore::new()),
            Home::Apart => Arc::new(SqliteStore::open(apart::registry(directory))?),
        };
        let shards = ClusterStore::new(Arc::clone(&store), KeyspaceName::main(), None)?;
        let policy = Box::new(ReplicaPolicy::default());
        let coordinator = Coordinator::builder(Arc::clone(&store), settings(shape)?, policy)
            .elastic(Arc::new(shards))
            .start();
        let (listener, coordinator_url) = listen().await?;
        let handle = coordinator.handle().clone();
        let api = Api::new(handle, Arc::clone(&store), HttpSettings::default());
        api.announce(&coordinator_url).await?;
        let mut servers = vec![tokio::spawn(async move {
            serve(listener, api, std::future::pending()).await;
        })];
        let mut running = Vec::new();
        for number in 1..=shape.nodes {
            let id = NodeId::new(format!("n{number}"))?;
            let (mut node, mut process) = (None, None);
            let url = match shape.home {
                Home::Here => {
                    let started = start_node(&store, &id, directory, &coordinator_url).await?;
                    servers.push(started.2);
                    node = Some(started.0);
                    started.1
                }
                Home::Apart => {
                    let (started, url) = apart::start(&id, directory, &coordinator_url)?;
                    process = Some(started);
                    url
                }
            };
            running.push(Running {
                id,
                url,
                node,
                _process: process,
            });
        }
        let cluster = Self {
            nodes: running,
            coordinator,
            url: coordinator_url,
            registry: Registry::new(store, KeyspaceName::main()),
            client: Client::builder().no_proxy().build()?,
            _servers: servers,
        };
        for sql in [TABLE, INDEX] {
            while cluster.sql(0, &json!({ "sql": sql })).await.is_err() {
                sleep(PAUSE).await;
            }
        }
        Ok(cluster)
    }

    /// Writes so many rows.
    pub(crate) async fn fill(&self, rows: u64) -> anyhow::Result<()> {
        let mut from = 0;
        while from < rows {
            let to = (from + BATCH).min(rows);
            let insert = json!({ "sql": INSERT, "args": [from, to] });
            self.sql(0, &insert).await?;
            if from / SHOWN < to / SHOWN {
                progress(&format!("{to} of {rows} rows are written"));
            }
            from = to;
        }
        Ok(())
    }

    /// Asks a node.
    pub(crate) async fn sql(&self, node: usize, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}/v1/sql", self.nodes[node].url);
        let sent = self.client.post(url).body(body.to_string()).send().await?;
        let text = sent.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Returns the shards that own ranges, in the order of those.
    pub(crate) async fn shards(&self) -> anyhow::Result<Vec<ShardId>> {
        let map = self.registry.map().await?;
        Ok(map
            .shards()
            .iter()
            .map(|shard| shard.id().clone())
            .collect())
    }

    /// Returns where the nodes are asked.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    /// Has shards split or merged, until the new shards own the rows.
    pub(crate) async fn reshape(&self, kind: &str) -> anyhow::Result<()> {
        let asked = self.asked(kind).await?;
        let begun = self.begin(&asked).await?;
        self.until(&begun, &["committed", "cleaning-up", "done"])
            .await
    }

    /// Has the first shard split, all shards merged, or the primary of the first one moved to a node without a copy, until nothing is left
    /// to be done. Returns when each phase was seen first.
    pub(crate) async fn carry_out(
        &self,
        kind: &str,
        clock: Clock,
    ) -> anyhow::Result<Vec<(Timestamp, String)>> {
        let asked = self.asked(kind).await?;
        let begun = self.begin(&asked).await?;
        let mut phases: Vec<(Timestamp, String)> = Vec::new();
        let see = |phase: &str| {
            if phases.last().is_none_or(|(_, last)| last != phase) {
                phases.push((clock.now(), phase.to_owned()));
            }
        };
        self.until_seen(&begun, &["done"], see).await?;
        Ok(phases)
    }

    /// Has the primary of the first shard moved to a node without a copy, until that is the one that serves.
    pub(crate) async fn migrate(&self) -> anyhow::Result<()> {
        let asked = self.asked("migrate").await?;
        let begun = self.begin(&asked).await?;
        self.until(&begun, &["cleaning-up", "done"]).await
    }

    /// Waits until no operation has anything left to do.
    pub(crate) async fn settled(&self) -> anyhow::Result<()> {
        loop {
            let operations = self.registry.operations().list().await?;
            if operations
                .iter()
                .all(|stored| stored.value.phase.is_final())
            {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    /// Returns the node of the first shard's primary.
    pub(crate) async fn primary(&self) -> anyhow::Result<NodeId> {
        let shard = self.shards().await?.swap_remove(0);
        let record = self.registry.shard(&shard).await?.value;
        record.primary().cloned().context("a primary")
    }

    async fn asked(&self, kind: &str) -> anyhow::Result<Value> {
        let shards = self.shards().await?;
        Ok(match kind {
            "split" => json!({ "kind": kind, "force": true, "shards": &shards[..1] }),
            "merge" => json!({ "kind": kind, "force": true, "shards": shards }),
            _ => {
                let (from, to) = self.way(&shards[0]).await?;
                json!({ "kind": kind, "shards": &shards[..1], "from": from, "to": to })
            }
        })
    }

    /// Returns the node of a shard's primary, and one that has no copy.
    async fn way(&self, shard: &ShardId) -> anyhow::Result<(NodeId, NodeId)> {
        let record = self.registry.shard(shard).await?.value;
        let active = record.active.context("it has members")?;
        let has = |node: &NodeId| active.members.iter().any(|member| member.node == *node);
        let mut nodes = self.nodes.iter().map(|node| &node.id);
        let free = nodes.find(|node| !has(node)).context("a node without")?;
        Ok((active.primary.node.clone(), free.clone()))
    }

    /// Has an operation begun, again and again while the last one is not over yet.
    async fn begin(&self, asked: &Value) -> anyhow::Result<String> {
        let url = format!("{}/api/v1/operations", self.url);
        for _ in 0..TRIES {
            let posting = self.client.post(&url);
            let posting = posting.header("content-type", "application/json");
            let begun = self.answer(posting.body(asked.to_string())).await?;
            if let Some(id) = begun["id"].as_str() {
                return Ok(id.to_owned());
            }
            sleep(PAUSE * 50).await;
        }
        anyhow::bail!("{asked} is not begun")
    }

    async fn answer(&self, asking: RequestBuilder) -> anyhow::Result<Value> {
        let text = asking.send().await?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    async fn until(&self, operation: &str, phases: &[&str]) -> anyhow::Result<()> {
        self.until_seen(operation, phases, |_| {}).await
    }

    async fn until_seen(
        &self,
        operation: &str,
        phases: &[&str],
        mut see: impl FnMut(&str),
    ) -> anyhow::Result<()> {
        let url = format!("{}/api/v1/operations/{operation}", self.url);
        loop {
            let found = self.answer(self.client.get(&url)).await?;
            let phase = found["phase"].as_str();
            phase.into_iter().for_each(&mut see);
            match phase {
                Some(phase) if phases.contains(&phase) => return Ok(()),
                Some("aborting" | "aborted") => anyhow::bail!("{found}"),
                _ => sleep(PAUSE).await,
            }
        }
    }

    pub(crate) async fn stop(self) {
        for running in self.nodes {
            if let Some(node) = running.node {
                node.stop().await;
            }
        }
        self.coordinator.stop().await;
    }
}

/// Starts a node here.
async fn start_node(
    store: &Arc<dyn Store>,
    id: &NodeId,
    directory: &Path,
    coordinator: &str,
) -> anyhow::Result<(Node, String, JoinHandle<()>)> {
    let (listener, url) = listen().await?;
    let options = NodeOptions {
        coordinators: vec![coordinator.to_owned()],
        ..NodeOptions::new(id.clone(), directory.join(id.as_str()), &url)
    };
    let node = Node::start(Arc::clone(store), options).await?;
    let router = node.router();
    let server = tokio::spawn(async move {
        axum::serve(listener, router).await.ok();
    });
    Ok((node, url, server))
}

async fn listen() -> anyhow::Result<(TcpListener, String)> {
    let listener = bind("127.0.0.1:0", None).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

fn settings(shape: Shape) -> anyhow::Result<Settings> {
    let usual = Settings::new(NodeId::new("c1")?, Incarnation(1));
    let replication = replication::Settings {
        factor: shape.copies,
        w_min: shape.copies.min(2),
        ..replication::Settings::default()
    };
    let mut operations = usual.operations;
    operations.calm = shape.calm;
    // What was replaced goes at once, while it is measured.
    operations.grace = Duration::ZERO;
    Ok(Settings {
        check_interval: Duration::from_millis(100),
        timing: Settings::timing_of(Duration::from_secs(3))?,
        replication: Replication::new(replication)?,
        shards: 1,
        replication_factor: shape.copies,
        operations,
        ..usual
    })
}
