//! Nodes that hold copies of one shard, and a coordinator that does what a test says.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use shardwright_quorum::{
    log::{
        BoxError, Kind, Level, ReadLevel, Settings, ShardLog,
        peer::{Limits, PeerOptions, Peers, Resolve, Token},
        shard_log::{
            AppendError, Appended, Condition, Entry, LogOptions, Registrar, ShardRecords, Status,
        },
    },
    topology::{
        Conditions, Config, ConfigId, Incarnation, KeyspaceName, Lsn, Member, NodeId, Primary,
        Proposal, ReplicaId, ShardId, ShardRecord,
    },
};
use shardwright_registry::{MemoryStore, Registry};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::disk::{Disk, OnDisk};

/// How long a condition may take on a machine that does a lot else. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const TOKEN: &str = "correct-horse-battery";

pub(crate) struct Cluster {
    pub(crate) registry: Registry,
    pub(crate) announced: Arc<Announced>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
}

pub(crate) struct Node {
    pub(crate) disk: Arc<Disk>,
    directory: TempDir,
    pub(crate) running: Option<Running>,
}

pub(crate) struct Running {
    pub(crate) peers: Peers,
    pub(crate) log: ShardLog,
}

/// Where nodes are, and which copies they have.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    addresses: Mutex<BTreeMap<NodeId, String>>,
    openings: Mutex<BTreeMap<NodeId, u64>>,
    copies: Mutex<BTreeMap<NodeId, ReplicaId>>,
}

#[async_trait]
impl Resolve for Announced {
    async fn address(&self, node: &NodeId) -> Result<Option<String>, BoxError> {
        Ok(self.addresses.lock().expect("addresses").get(node).cloned())
    }
}

#[async_trait]
impl Registrar for Announced {
    async fn register(&self, _: &ShardId, copy: &Member) -> Result<Incarnation, BoxError> {
        self.copies
            .lock()
            .expect("copies")
            .insert(copy.node.clone(), copy.replica_id);
        let mut openings = self.openings.lock().expect("openings");
        let count = openings.entry(copy.node.clone()).or_insert(0);
        *count += 1;
        Ok(Incarnation(*count))
    }
}

pub(crate) fn node_id(number: u32) -> NodeId {
    NodeId::new(format!("n{number}")).expect("a name")
}

pub(crate) fn shard() -> ShardId {
    ShardId::numbered(0)
}

/// Waits for something that comes within a minute.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let found = timeout(PATIENCE, future).await;
    found.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

impl Cluster {
    /// Nodes with empty disks, and a shard without a configuration.
    pub(crate) async fn new(nodes: u32) -> Self {
        Self::with(nodes, |_, _| {}).await
    }

    pub(crate) async fn with(nodes: u32, change: impl FnOnce(&mut Settings, &mut Limits)) -> Self {
        let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
        let record = ShardRecord::new(KeyspaceName::main(), shard(), None);
        let created = registry.shards().create(shard(), record).await;
        created.expect("a new shard");
        let mut settings = Settings {
            heartbeat: Duration::from_millis(30),
            resend: Duration::from_millis(100),
            lease: Duration::from_millis(200),
            ..Settings::default()
        };
        let mut limits = Limits::default();
        change(&mut settings, &mut limits);
        let mut cluster = Self {
            registry,
            announced: Arc::default(),
            nodes: BTreeMap::new(),
            settings,
            limits,
        };
        for number in 1..=nodes {
            let directory = tempfile::tempdir().expect("a directory");
            let node = Node {
                disk: Disk::new(directory.path()),
                directory,
                running: None,
            };
            cluster.nodes.insert(node_id(number), node);
            cluster.start(number).await;
        }
        cluster
    }

    /// Starts a node, and waits until its copy runs.
    pub(crate) async fn start(&mut self, number: u32) {
        self.start_with(number, Some(TOKEN)).await;
        self.until(number, "it runs", |status| {
            status.condition == Condition::Running
        })
        .await;
    }

    pub(crate) async fn start_with(&mut self, number: u32, token: Option<&str>) {
        let options = PeerOptions {
            node: node_id(number),
            listen: "127.0.0.1:0".to_owned(),
            token: token.map(|token| Token::new(token).expect("a token")),
            limits: self.limits.clone(),
        };
        let resolver: Arc<dyn Resolve> = Arc::clone(&self.announced) as _;
        let peers = Peers::bind(options, resolver).await.expect("a port");
        let address = peers.address().to_string();
        self.announced
            .addresses
            .lock()
            .expect("addresses")
            .insert(node_id(number), address);
        let records = ShardRecords::follow(
            self.registry.store().clone(),
            self.registry.shards().prefix().clone(),
            Duration::from_millis(500),
        );
        let registrar: Arc<dyn Registrar> = Arc::clone(&self.announced) as _;
        let options = LogOptions {
            settings: self.settings.clone(),
            pauses: (Duration::from_millis(10), Duration::from_millis(100)),
            tick: Duration::from_millis(5),
            ..LogOptions::new(peers.clone(), records, registrar)
        };
        let node = self.nodes.get_mut(&node_id(number)).expect("a node");
        let (log, _task) = ShardLog::start(shard(), OnDisk(Arc::clone(&node.disk)), options);
        node.running = Some(Running { peers, log });
    }

    /// Stops a node.
    pub(crate) async fn stop(&mut self, number: u32) {
        let node = self.nodes.get_mut(&node_id(number)).expect("a node");
        let running = node.running.take().expect("it runs");
        within("the end of a copy", running.log.shut_down()).await;
        running.peers.shut_down();
    }

    pub(crate) fn node(&self, number: u32) -> &Node {
        &self.nodes[&node_id(number)]
    }

    pub(crate) fn log(&self, number: u32) -> &ShardLog {
        &self.node(number).running.as_ref().expect("it runs").log
    }

    pub(crate) fn status(&self, number: u32) -> Status {
        self.log(number).status().borrow().clone()
    }

    /// Waits until a copy is so.
    pub(crate) async fn until(
        &self,
        number: u32,
        what: &str,
        is_so: impl FnMut(&Status) -> bool,
    ) -> Status {
        let mut status = self.log(number).status();
        let found = timeout(PATIENCE, status.wait_for(is_so)).await;
        match found {
            Ok(found) => found.expect("it runs").clone(),
            Err(_) => panic!("waited in vain until {what}: {:?}", self.status(number)),
        }
    }

    fn member(&self, number: u32) -> Member {
        let node = node_id(number);
        let known = self
            .announced
            .copies
            .lock()
            .expect("copies")
            .get(&node)
            .copied();
        let replica_id = known.expect("it was opened");
        Member { node, replica_id }
    }

    pub(crate) fn members(&self, numbers: &[u32]) -> BTreeSet<Member> {
        numbers.iter().map(|number| self.member(*number)).collect()
    }

    /// Lets the registry name a primary of these members.
    pub(crate) async fn propose(&self, primary: u32, numbers: &[u32]) -> ConfigId {
        let config_id = ConfigId::random(&mut rand::rng());
        let members = self.members(numbers);
        let clean: BTreeSet<ReplicaId> = members.iter().map(|member| member.replica_id).collect();
        let proposal = Proposal {
            config_id,
            primary: self.status(primary).me.expect("it was opened"),
            w: Config::majority(members.len()),
            members,
            zones: 1,
        };
        let conditions = Conditions { clean, w_min: 1 };
        let begin = |record: &ShardRecord| {
            let next = record.begin_attempt(proposal.clone(), &conditions);
            Ok(next.expect("the attempt may begin"))
        };
        let proposed = self.registry.shards().update(shard(), begin).await;
        proposed.expect("the registry answers");
        config_id
    }

    /// Lets a node become the primary of these members.
    pub(crate) async fn lead(&self, primary: u32, numbers: &[u32]) {
        let config_id = self.propose(primary, numbers).await;
        let leads = |status: &Status| {
            let config = status.leads.as_ref();
            config.is_some_and(|config| config.config_id == config_id)
        };
        self.until(primary, "it leads", leads).await;
    }

    pub(crate) async fn try_append(
        &self,
        to: u32,
        line: &str,
        level: Level,
    ) -> Result<Appended, AppendError> {
        let entry = Entry::new(Kind::Batch, line.as_bytes().to_vec());
        self.log(to).append(entry, level, PATIENCE).await
    }

    pub(crate) async fn append(&self, to: u32, line: &str, level: Level) -> Appended {
        let appended = self.try_append(to, line, level).await;
        appended.unwrap_or_else(|error| panic!("{line} is not appended: {error}"))
    }

    /// What a reader of the primary sees.
    pub(crate) async fn read(&self, from: u32, level: ReadLevel) -> Vec<String> {
        let read = within("a read", self.log(from).barrier(level)).await;
        read.expect("it is the primary");
        self.lines(from)
    }

    pub(crate) fn lines(&self, number: u32) -> Vec<String> {
        self.node(number).disk.shown.lines()
    }

    /// Waits until a copy has applied a record.
    pub(crate) async fn applied(&self, number: u32, lsn: Lsn) {
        self.until(number, "it has applied a record", |status| {
            status.applied >= lsn
        })
        .await;
    }

    pub(crate) fn primary(&self, number: u32) -> Primary {
        self.status(number).me.expect("it was opened")
    }

    pub(crate) fn directory(&self, number: u32) -> &std::path::Path {
        self.node(number).directory.path()
    }
}
