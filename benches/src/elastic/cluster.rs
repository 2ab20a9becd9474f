//! A coordinator and nodes in this process, whose shards are split and merged.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use reqwest::Client;
use serde_json::{Value, json};
use shardwright_registry::{MemoryStore, Registry, Store};
use shardwright_server::{
    ClusterStore, Node, NodeOptions,
    coordinator::{
        Coordinator,
        core::{Replication, Settings},
        failover::replication,
        http::{Api, Settings as HttpSettings, serve},
        rebalancer::{PartitionId, ReplicaPolicy},
    },
    http::{axum, bind},
    shard::Write,
    store::Member,
};
use shardwright_topology::{Incarnation, KeyspaceName, NodeId, ShardId};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

/// How long a condition is waited for at once.
const PAUSE: Duration = Duration::from_millis(5);

/// How many rows are written at once.
const BATCH: u64 = 4_000;

/// The table that has the rows.
const TABLE: &str = "CREATE TABLE items (id TEXT PRIMARY KEY, kind INTEGER, body BLOB)";

/// What each shard has beside it.
const INDEX: &str = "CREATE INDEX items_by_kind ON items (kind)";

/// A row: one hundred bytes, and what goes with them.
pub(super) const INSERT: &str = "INSERT INTO items
    WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
    SELECT printf('item-%08d', i), i % 1000, randomblob(100) FROM n";

/// A running cluster.
pub(super) struct Cluster {
    nodes: Vec<(Node, String)>,
    coordinator: Coordinator,
    url: String,
    registry: Registry,
    client: Client,
    _servers: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Starts nodes in directories of their own, with one shard for rows, of which each has a copy.
    pub(super) async fn start(directory: &Path, nodes: u32) -> anyhow::Result<Self> {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let shards = ClusterStore::new(Arc::clone(&store), KeyspaceName::main(), None)?;
        let policy = Box::new(ReplicaPolicy::default());
        let coordinator = Coordinator::builder(Arc::clone(&store), settings(nodes)?, policy)
            .elastic(Arc::new(shards))
            .start();
        let (listener, url) = listen().await?;
        let handle = coordinator.handle().clone();
        let api = Api::new(handle, Arc::clone(&store), HttpSettings::default());
        api.announce(&url).await?;
        let mut servers = vec![tokio::spawn(async move {
            serve(listener, api, std::future::pending()).await;
        })];
        let mut running = Vec::new();
        for number in 1..=nodes {
            let (listener, address) = listen().await?;
            let id = NodeId::new(format!("n{number}"))?;
            let options = NodeOptions {
                coordinators: vec![url.clone()],
                ..NodeOptions::new(id.clone(), directory.join(id.as_str()), &address)
            };
            let node = Node::start(Arc::clone(&store), options).await?;
            let router = node.router();
            servers.push(tokio::spawn(async move {
                axum::serve(listener, router).await.ok();
            }));
            running.push((node, address));
        }
        let cluster = Self {
            nodes: running,
            coordinator,
            url,
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
    pub(super) async fn fill(&self, rows: u64) -> anyhow::Result<()> {
        let shard = self.shards().await?.swap_remove(0);
        let shard = PartitionId::new(KeyspaceName::main(), shard);
        let primaries = self.nodes.iter().filter_map(|(node, _)| node.shard(&shard));
        let primary = primaries
            .into_iter()
            .find(|copy| copy.status().borrow().leading().is_some());
        let primary = primary.context("a primary")?;
        let mut from = 0;
        while from < rows {
            let to = (from + BATCH).min(rows);
            let range = [from, to].map(|bound| i64::try_from(bound).unwrap_or(i64::MAX));
            let insert = move |member: &mut Member<'_>| {
                let range = range.map(shardwright_store::Value::from);
                member.execute(INSERT, &range)?;
                Ok(Vec::new())
            };
            primary.write(Write::new(insert)).await?;
            from = to;
        }
        Ok(())
    }

    /// Asks a node.
    pub(super) async fn sql(&self, node: usize, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}/v1/sql", self.nodes[node].1);
        let sent = self.client.post(url).body(body.to_string()).send().await?;
        let text = sent.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Returns the shards that own ranges, in the order of those.
    pub(super) async fn shards(&self) -> anyhow::Result<Vec<ShardId>> {
        let map = self.registry.map().await?;
        Ok(map
            .shards()
            .iter()
            .map(|shard| shard.id().clone())
            .collect())
    }

    /// Has an operation carried out, until the new shards own the rows.
    pub(super) async fn reshape(&self, kind: &str) -> anyhow::Result<()> {
        let shards = self.shards().await?;
        let shards = match kind {
            "split" => &shards[..1],
            _ => &shards[..],
        };
        let asked = json!({ "kind": kind, "shards": shards, "force": true });
        let url = format!("{}/api/v1/operations", self.url);
        let posting = self
            .client
            .post(&url)
            .header("content-type", "application/json");
        let begun = posting.body(asked.to_string()).send().await?;
        let begun: Value = serde_json::from_str(&begun.text().await?)?;
        let id = begun["id"].as_str().with_context(|| begun.to_string())?;
        loop {
            let found = self.client.get(format!("{url}/{id}")).send().await?;
            let found: Value = serde_json::from_str(&found.text().await?)?;
            match found["phase"].as_str() {
                Some("committed" | "cleaning-up" | "done") => return Ok(()),
                Some("aborting" | "aborted") => anyhow::bail!("{found}"),
                _ => sleep(PAUSE).await,
            }
        }
    }

    pub(super) async fn stop(self) {
        for (node, _) in self.nodes {
            node.stop().await;
        }
        self.coordinator.stop().await;
    }
}

async fn listen() -> anyhow::Result<(TcpListener, String)> {
    let listener = bind("127.0.0.1:0", None).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

fn settings(nodes: u32) -> anyhow::Result<Settings> {
    let usual = Settings::new(NodeId::new("c1")?, Incarnation(1));
    let replication = replication::Settings {
        factor: nodes,
        w_min: nodes.min(2),
        ..replication::Settings::default()
    };
    let mut operations = usual.operations;
    // A copy is close at once, as nothing else is measured.
    operations.calm = Duration::from_millis(100);
    operations.grace = Duration::ZERO;
    Ok(Settings {
        check_interval: Duration::from_millis(100),
        timing: Settings::timing_of(Duration::from_secs(3))?,
        replication: Replication::new(replication)?,
        shards: 1,
        replication_factor: nodes,
        operations,
        ..usual
    })
}
