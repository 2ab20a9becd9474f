//! Nodes, a coordinator that is asked over HTTP, and what a test waits for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;
use shardwright_coordinator::{
    Coordinator,
    core::{Notice, Replication, Settings},
    failover::replication,
    http::{Api, Settings as HttpSettings, bind, serve},
    rebalancer::ReplicaPolicy,
    registry::{MemoryStore, Partitioning, Registry, Store},
    worker::Worker,
};
use shardwright_quorum::log::{
    Kind, Level, ReadLevel,
    shard_log::{AppendError, Entry},
};
use shardwright_topology::{Incarnation, KeyspaceName, NodeId, ShardId, ShardRecord};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};

use crate::node::{Addresses, Kept, Node};

/// How long a condition may take on a machine that does a lot else. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn name(text: &str) -> NodeId {
    NodeId::new(text).expect("a name")
}

pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    store: Arc<dyn Store>,
    addresses: Arc<Addresses>,
    leader: Option<Leader>,
    number: u64,
}

struct Leader {
    coordinator: Coordinator,
    url: String,
    server: JoinHandle<()>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }

    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) {
        let found = (self.status, self.body["error"]["code"].as_str());
        assert_eq!(found, (status, Some(code)), "{self:?}");
    }
}

fn settings(number: u64) -> Settings {
    let ms = Duration::from_millis;
    let replication = replication::Settings {
        patience: ms(3_000),
        patience_max: ms(6_000),
        grace: ms(1_500),
        bootstrap_wait: ms(60_000),
        steady: ms(100),
        resend: ms(200),
        // Of few nodes one that is down is a large share.
        down_percent_max: 67,
        ..replication::Settings::default()
    };
    Settings {
        check_interval: ms(100),
        // Late enough that no worker loses its lease to a machine that is busy with other tests.
        timing: Settings::timing_of(ms(3_000)).expect("a time-out"),
        replication: Replication::new(replication).expect("settings that fit"),
        ..Settings::new(name(&format!("c{number}")), Incarnation(number))
    }
}

async fn lead(store: &Arc<dyn Store>, number: u64) -> Leader {
    let policy = Box::new(ReplicaPolicy::default());
    let coordinator = Coordinator::start(store.clone(), settings(number), policy);
    let listener = bind("127.0.0.1:0", None).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let handle = coordinator.handle().clone();
    let api = Api::new(handle, store.clone(), HttpSettings::default());
    api.announce(&url).await.expect("a store");
    let server = tokio::spawn(serve(listener, api, std::future::pending()));
    let leads = coordinator.handle().view_when(|view| view.is_leading);
    leads.await.expect("it runs");
    Leader {
        coordinator,
        url,
        server,
    }
}

impl Cluster {
    /// Starts a coordinator, and these nodes; one shard exists, and nobody has a copy of it.
    pub(crate) async fn start(nodes: &[&str]) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let registry = Registry::new(store.clone(), KeyspaceName::main());
        let shards = ShardRecord::even(registry.name(), 1).map(ShardRecord::replicated);
        let created = registry.bootstrap_with(Partitioning::Ranges, shards).await;
        created.expect("a new keyspace");
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            leader: Some(lead(&store, 1).await),
            store,
            addresses: Arc::default(),
            number: 1,
        };
        for node in nodes {
            cluster.add(node).await;
        }
        cluster
    }

    pub(crate) async fn stop(mut self) {
        self.nodes.clear();
        if let Some(leader) = self.leader.take() {
            leader.coordinator.stop().await;
            leader.server.abort();
        }
    }

    fn leader(&self) -> &Leader {
        self.leader.as_ref().expect("one leads")
    }

    /// Stops the coordinator, and starts another one.
    pub(crate) async fn replace_coordinator(&mut self) {
        self.number += 1;
        let Leader {
            coordinator,
            server,
            ..
        } = self.leader.take().expect("one leads");
        coordinator.stop().await;
        server.abort();
        self.leader = Some(lead(&self.store, self.number).await);
    }

    pub(crate) async fn add(&mut self, id: &str) {
        let (store, url) = (self.store.clone(), self.leader().url.clone());
        let node = Node::start(&name(id), store, url, self.addresses.clone()).await;
        self.nodes.insert(name(id), node);
    }

    /// Starts a worker that keeps no copies.
    pub(crate) async fn plain_worker(&self, id: &str) -> Worker {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let worker = Worker::builder(name(id), address, vec![self.leader().url.clone()]).start();
        let router = worker.router();
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        worker.registered().await;
        worker
    }

    /// Ends a node as a crash does.
    pub(crate) fn kill(&mut self, node: &NodeId) {
        drop(self.nodes.remove(node).expect("it runs"));
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let url = format!("{}{path}", self.leader().url);
        let answer = reqwest::Client::new().post(url).json(body).send().await;
        let answer = answer.expect("the coordinator answers");
        Answer {
            status: answer.status().as_u16(),
            body: answer.json().await.expect("JSON"),
        }
    }

    pub(crate) async fn promote(&self, body: &Value) -> Answer {
        self.post("/api/v1/promote", body).await
    }

    /// Asks for another primary, again while that may come true later.
    pub(crate) async fn promote_when_settled(&self, body: &Value) {
        wait("a promotion", async || {
            let answer = self.promote(body).await;
            if answer.body["error"]["retryable"] == true {
                return None;
            }
            answer.ok();
            Some(())
        })
        .await;
    }

    /// The one shard, as the admin API shows it.
    pub(crate) async fn shard(&self) -> Value {
        let url = format!("{}/api/v1/shards?keyspace=main", self.leader().url);
        let answer = reqwest::get(url).await.expect("the coordinator answers");
        let mut shards: Value = answer.json().await.expect("JSON");
        shards[0].take()
    }

    pub(crate) async fn until_condition(&self, condition: &str) -> Value {
        wait(condition, async || {
            let shard = self.shard().await;
            (shard["condition"] == condition).then_some(shard)
        })
        .await
    }

    /// Waits until the shard has all its copies, on nodes that run.
    pub(crate) async fn until_whole(&self) -> Value {
        wait("a whole shard", async || {
            let shard = self.shard().await;
            let copies = shard["replicas"].as_array().map_or(0, Vec::len);
            let nodes = members_of(&shard);
            let are_up = nodes.iter().all(|node| self.nodes.contains_key(node));
            (shard["condition"] == "whole" && copies == 2 && are_up).then_some(shard)
        })
        .await
    }

    pub(crate) async fn until_primary(&self, is_right: impl Fn(&NodeId) -> bool) -> NodeId {
        wait("another primary", async || {
            let shard = self.shard().await;
            let node = name(shard["primary"].as_str()?);
            (is_right(&node) && self.nodes.contains_key(&node)).then_some(node)
        })
        .await
    }

    /// Waits until so many of the nodes that run have registered copies.
    pub(crate) async fn until_copies(&self, count: usize) {
        let registry = Registry::new(self.store.clone(), KeyspaceName::main());
        wait("registered copies", async || {
            let registered = registry.copies().list().await.expect("the store answers");
            let here = registered.iter().filter(|stored| {
                let runs = self.nodes.contains_key(&stored.value.node);
                runs && !stored.value.copies.is_empty()
            });
            (count <= here.count()).then_some(())
        })
        .await;
    }

    pub(crate) async fn primary(&self) -> NodeId {
        self.until_primary(|_| true).await
    }

    pub(crate) async fn members(&self) -> Vec<NodeId> {
        members_of(&self.shard().await)
    }

    fn copy(&self, node: &NodeId) -> Kept {
        let kept = self.nodes[node].keeper.copy(&ShardId::numbered(0));
        kept.expect("it has a copy")
    }

    /// Appends a line, again while the node is yet to become the primary.
    pub(crate) async fn append(&self, node: &NodeId, line: &str) {
        let log = self.copy(node).log;
        wait("a commit", async || {
            let entry = Entry::new(Kind::Batch, line.as_bytes().to_vec());
            match log.append(entry, Level::Quorum, PATIENCE).await {
                Ok(_) => Some(()),
                Err(AppendError::Indeterminate) => panic!("{line} may be there or not"),
                Err(_) => None,
            }
        })
        .await;
    }

    /// What a reader of the primary sees.
    pub(crate) async fn read(&self, node: &NodeId) -> Vec<String> {
        let copy = self.copy(node);
        let read = timeout(PATIENCE, copy.log.barrier(ReadLevel::Consistent)).await;
        read.expect("soon").expect("it is the primary");
        copy.lines.lock().expect("lines").clone()
    }

    pub(crate) fn events(&self) -> Vec<Notice> {
        let events = self.leader().coordinator.handle().events();
        let all = events.since(0, usize::MAX).into_iter();
        all.map(|event| event.notice).collect()
    }
}

fn members_of(shard: &Value) -> Vec<NodeId> {
    let replicas = shard["replicas"].as_array().into_iter().flatten();
    let replicas = replicas.filter_map(|replica| replica["node"].as_str());
    let primary = shard["primary"].as_str().into_iter();
    primary.chain(replicas).map(name).collect()
}

async fn wait<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let found = timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
