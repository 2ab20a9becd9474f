//! A coordinator, nodes with directories of their own, and what a test waits for.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use shardwright_coordinator::{
    Builder, Coordinator, Handle, balance,
    core::{Command, Done, Notice, Refusal, Replication, Settings},
    failover::replication,
    http::{Api, Settings as HttpSettings, bind, serve},
    rebalancer::{PartitionId, ReplicaPolicy},
    registry::{MemoryStore, Registry, Store},
};
use shardwright_quorum::log::Settings as LogSettings;
use shardwright_server::{
    ClusterStore, Node, NodeOptions, Shard,
    node::Scrubbing,
    shard::{CopyGap, Memory, ReadLevel, Transaction, Write},
};
use shardwright_store::{Config, Digest, Member, ShardFile, Value};
use shardwright_topology::{Config as Members, Halts, Incarnation, KeyspaceName, NodeId, ShardId};
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinHandle, time::timeout};

/// How long a condition may take on a machine that does a lot else. Nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// Clones are the same cluster.
#[derive(Clone)]
pub(crate) struct Cluster {
    store: Arc<dyn Store>,
    leader: Arc<Mutex<Option<Leader>>>,
    log: LogSettings,
    memory: Memory,
    scrub: Scrubbing,
    nodes: Arc<Mutex<BTreeMap<String, Place>>>,
}

/// The coordinator that leads.
struct Leader {
    coordinator: Coordinator,
    url: String,
    server: JoinHandle<()>,
}

impl Leader {
    /// Starts one, and waits until it leads.
    async fn start(store: &Arc<dyn Store>, settings: Settings) -> Self {
        Self::of(store, Self::builder(store, settings)).await
    }

    /// Starts one that splits and merges shards, too.
    async fn reshaping(store: &Arc<dyn Store>, settings: Settings) -> Self {
        let shards = ClusterStore::new(Arc::clone(store), KeyspaceName::main(), None);
        let shards = Arc::new(shards.expect("a client"));
        let builder = Self::builder(store, settings).elastic(shards);
        Self::of(store, builder).await
    }

    fn builder(store: &Arc<dyn Store>, settings: Settings) -> Builder {
        let policy = Box::new(ReplicaPolicy::default());
        Coordinator::builder(Arc::clone(store), settings, policy)
    }

    async fn of(store: &Arc<dyn Store>, builder: Builder) -> Self {
        let coordinator = builder.start();
        let listener = bind("127.0.0.1:0", None).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let handle = coordinator.handle().clone();
        let api = Api::new(handle, Arc::clone(store), HttpSettings::default());
        api.announce(&url).await.expect("a store");
        let server = tokio::spawn(serve(listener, api, std::future::pending()));
        let leads = coordinator.handle().view_when(|view| view.is_leading);
        leads.await.expect("it runs");
        Self {
            coordinator,
            url,
            server,
        }
    }

    async fn stop(self) {
        self.coordinator.stop().await;
        self.server.abort();
    }
}

/// Where a node runs, if it does.
struct Place {
    directory: TempDir,
    running: Option<(Node, Runtime)>,
    url: String,
}

fn settings(number: u64, nodes: u32, shards: u32) -> Settings {
    let ms = Duration::from_millis;
    let replication = replication::Settings {
        factor: nodes,
        w_min: Members::majority(nodes as usize).min(2),
        patience: ms(3_000),
        patience_max: ms(6_000),
        grace: ms(1_500),
        steady: ms(100),
        resend: ms(200),
        // Of few nodes one that is down is a large share.
        down_percent_max: 67,
        ..replication::Settings::default()
    };
    Settings {
        check_interval: ms(100),
        // Late enough that no node loses its lease to a machine that is busy with other tests.
        timing: Settings::timing_of(ms(3_000)).expect("a time-out"),
        replication: Replication::new(replication).expect("settings that fit"),
        shards,
        replication_factor: nodes,
        ..Settings::new(node_id(&format!("c{number}")), Incarnation(number))
    }
}

pub(crate) fn node_id(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

fn shard() -> PartitionId {
    PartitionId::from(ShardId::numbered(0))
}

/// What inserts a value that must not be there.
pub(crate) fn insert(value: &str) -> impl Transaction + use<> {
    let value = [Value::from(value)];
    move |member: &mut Member<'_>| {
        let outcome = member.execute("INSERT INTO written(value) VALUES (?1)", &value)?;
        Ok(outcome.last_insert_rowid.to_be_bytes().to_vec())
    }
}

/// How many rows a file has.
pub(crate) fn count(file: &ShardFile) -> u64 {
    file.snapshot()
        .and_then(|snapshot| snapshot.row_count("written"))
        .expect("it can be read")
}

impl Cluster {
    /// Starts a coordinator and nodes, and waits until their shard has a primary and all its copies.
    pub(crate) async fn start(nodes: u32) -> Self {
        Self::with(nodes, |_, _| {}).await
    }

    /// Starts them with other settings.
    pub(crate) async fn with(
        nodes: u32,
        change: impl FnOnce(&mut LogSettings, &mut Memory),
    ) -> Self {
        Self::with_scrubbing(nodes, Scrubbing::default(), change).await
    }

    /// Starts them, and has their copies compared at other times.
    pub(crate) async fn with_scrubbing(
        nodes: u32,
        scrub: Scrubbing,
        change: impl FnOnce(&mut LogSettings, &mut Memory),
    ) -> Self {
        let cluster = Self::of_nodes(nodes, 1, scrub, change).await;
        cluster.create_table().await;
        cluster
    }

    /// Starts a coordinator and nodes for so many shards, without waiting for these.
    pub(crate) async fn of_shards(nodes: u32, shards: u32) -> Self {
        Self::of_nodes(nodes, shards, Scrubbing::default(), |_, _| {}).await
    }

    async fn of_nodes(
        nodes: u32,
        shards: u32,
        scrub: Scrubbing,
        change: impl FnOnce(&mut LogSettings, &mut Memory),
    ) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let leader = Leader::start(&store, settings(1, nodes, shards)).await;
        let mut log = LogSettings {
            heartbeat: Duration::from_millis(30),
            resend: Duration::from_millis(100),
            lease: Duration::from_millis(200),
            ..LogSettings::default()
        };
        let mut memory = Memory::default();
        change(&mut log, &mut memory);
        let cluster = Self {
            store,
            leader: Arc::new(Mutex::new(Some(leader))),
            log,
            memory,
            scrub,
            nodes: Arc::default(),
        };
        for number in 1..=nodes {
            cluster.add(&format!("n{number}")).await;
        }
        cluster
    }

    /// The store of the registry.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Where a node is reached.
    pub(crate) fn url_of(&self, name: &str) -> String {
        self.places()[name].url.clone()
    }

    /// Starts one more node, in a directory of its own.
    pub(crate) async fn add(&self, name: &str) {
        let place = Place {
            directory: tempfile::tempdir().expect("a directory"),
            running: None,
            url: String::new(),
        };
        self.places().insert(name.to_owned(), place);
        self.restart(name).await;
    }

    /// Stops the coordinator, and starts another one.
    pub(crate) async fn replace_coordinator(&self, nodes: u32) {
        let leader = self.leader.lock().expect("a leader").take();
        leader.expect("one leads").stop().await;
        let next = Leader::start(&self.store, settings(2, nodes, 1)).await;
        *self.leader.lock().expect("a leader") = Some(next);
    }

    /// Where the coordinator is.
    pub(crate) fn url(&self) -> String {
        let leader = self.leader.lock().expect("a leader");
        leader.as_ref().expect("one leads").url.clone()
    }

    /// Stops the coordinator, and starts one that splits and merges shards, and balances so.
    pub(crate) async fn balance(&self, nodes: u32, shards: u32, balance: balance::Settings) {
        let leader = self.leader.lock().expect("a leader").take();
        leader.expect("one leads").stop().await;
        let mut settings = settings(2, nodes, shards);
        settings.balance = balance;
        settings.operations.calm = Duration::from_millis(100);
        let next = Leader::reshaping(&self.store, settings).await;
        *self.leader.lock().expect("a leader") = Some(next);
    }

    /// The coordinator that leads.
    pub(crate) fn handle(&self) -> Handle {
        let leader = self.leader.lock().expect("a leader");
        let leader = leader.as_ref().expect("one leads");
        leader.coordinator.handle().clone()
    }

    /// Asks the coordinator that leads.
    pub(crate) async fn command(&self, command: Command) -> Result<Done, Refusal> {
        self.handle().command(command).await
    }

    /// What the coordinator has told people.
    pub(crate) fn events(&self) -> Vec<Notice> {
        let leader = self.leader.lock().expect("a leader");
        let events = leader
            .as_ref()
            .expect("one leads")
            .coordinator
            .handle()
            .events();
        let all = events.since(0, usize::MAX).into_iter();
        all.map(|event| event.notice).collect()
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry::new(Arc::clone(&self.store), KeyspaceName::main())
    }

    /// The nodes that have registered copies, among those that run.
    pub(crate) async fn registered(&self) -> usize {
        let registered = self
            .registry()
            .copies()
            .list()
            .await
            .expect("the store answers");
        let has_copies = |name: &str| {
            registered
                .iter()
                .any(|stored| stored.value.node.as_str() == name && !stored.value.copies.is_empty())
        };
        self.names().iter().filter(|name| has_copies(name)).count()
    }

    /// Whether a node is to serve anything by assignment.
    pub(crate) fn is_assigned(&self, name: &str) -> bool {
        let places = self.places();
        let (node, _) = places[name].running.as_ref().expect("it runs");
        !node.worker().serving().is_empty()
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.nodes.lock().expect("nodes")
    }

    pub(crate) async fn stop(self) {
        let places = std::mem::take(&mut *self.places());
        for (node, runtime) in places.into_values().filter_map(|place| place.running) {
            node.stop().await;
            runtime.shutdown_background();
        }
        let leader = self.leader.lock().expect("a leader").take();
        leader.expect("it leads until the end").stop().await;
    }

    /// The nodes that run.
    pub(crate) fn names(&self) -> Vec<String> {
        let places = self.places();
        let running = places.iter().filter(|(_, place)| place.running.is_some());
        running.map(|(name, _)| name.clone()).collect()
    }

    /// Ends a node as a crash does.
    pub(crate) fn kill(&self, name: &str) {
        let running = self.places().get_mut(name).expect("a node").running.take();
        let (node, runtime) = running.expect("it runs");
        runtime.shutdown_background();
        drop(node);
    }

    /// Ends a node in good order.
    pub(crate) async fn shut_down(&self, name: &str) {
        let running = self.places().get_mut(name).expect("a node").running.take();
        let (node, runtime) = running.expect("it runs");
        node.stop().await;
        runtime.shutdown_background();
    }

    /// Lets a node hand over what it is the primary of, before it ends.
    pub(crate) async fn leave(&self, name: &str) {
        let worker = {
            let places = self.places();
            let (node, _) = places[name].running.as_ref().expect("it runs");
            node.worker().clone()
        };
        assert!(worker.leave(PATIENCE).await, "it may go");
    }

    /// Where a node keeps its copy.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let directory = self.places()[name].directory.path().join("shards");
        directory
            .join(shard().keyspace.as_str())
            .join(shard().shard.as_str())
    }

    /// Starts a node in a runtime of its own.
    pub(crate) async fn restart(&self, name: &str) {
        self.restart_with(name, Config::default()).await;
    }

    /// Starts a node that opens its files in another way.
    pub(crate) async fn restart_with(&self, name: &str, file: Config) {
        self.begin(name, file, Halts::default()).await;
    }

    /// Starts a node that says to a test how far it is.
    pub(crate) async fn restart_halting(&self, name: &str, halts: Halts<CopyGap>) {
        self.begin(name, Config::default(), halts).await;
    }

    async fn begin(&self, name: &str, file: Config, halts: Halts<CopyGap>) {
        let directory = self.places()[name].directory.path().to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        // The threads of one that was killed may not have let go of the directory yet.
        let (node, url) = wait("the directory", async || {
            let listener = bind("127.0.0.1:0", None).await.expect("a port");
            let address = format!("http://{}", listener.local_addr().expect("an address"));
            let url = address.clone();
            let options = NodeOptions {
                coordinators: vec![self.url()],
                log: self.log.clone(),
                memory: self.memory,
                file: file.clone(),
                scrub: self.scrub,
                halts: halts.clone(),
                ..NodeOptions::new(node_id(name), &directory, address)
            };
            let store = Arc::clone(&self.store);
            let started = runtime.spawn(async move { Node::start(store, options).await });
            let node = started.await.expect("no panic").ok()?;
            let router = node.router();
            runtime.spawn(async move {
                shardwright_http::axum::serve(listener, router)
                    .await
                    .expect("it serves");
            });
            Some((node, url))
        })
        .await;
        let mut places = self.places();
        let place = places.get_mut(name).expect("a node");
        (place.running, place.url) = (Some((node, runtime)), url);
    }

    /// The copy of a node.
    pub(crate) fn shard(&self, name: &str) -> Option<Shard> {
        self.copy(name, &shard())
    }

    fn copy(&self, name: &str, shard: &PartitionId) -> Option<Shard> {
        let places = self.places();
        let (node, _) = places.get(name)?.running.as_ref()?;
        node.shard(shard)
    }

    /// The node of a shard's primary, and its copy.
    pub(crate) async fn leading(&self, shard: &PartitionId) -> (String, Shard) {
        let found = async {
            loop {
                let shards = self.names().into_iter().filter_map(|name| {
                    let copy = self.copy(&name, shard)?;
                    Some((name, copy))
                });
                let mut shards = shards.collect::<Vec<_>>().into_iter();
                let leading = shards.find(|(_, shard)| shard.status().borrow().leading().is_some());
                if let Some(leading) = leading {
                    return leading;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let found = timeout(PATIENCE, found).await;
        found.expect("waited in vain for a primary")
    }

    pub(crate) async fn primary_name(&self) -> String {
        self.leading(&shard()).await.0
    }

    pub(crate) async fn primary(&self) -> Shard {
        self.leading(&shard()).await.1
    }

    /// The node that runs what one node alone may.
    pub(crate) async fn writer_name(&self) -> String {
        self.leading(&ShardId::catalog().into()).await.0
    }

    async fn create_table(&self) {
        let sql = "CREATE TABLE written(id INTEGER PRIMARY KEY, value TEXT UNIQUE NOT NULL)";
        let create = move |member: &mut Member<'_>| {
            member.execute(sql, ())?;
            Ok(Vec::new())
        };
        let created = self.primary().await.write(Write::new(create)).await;
        created.expect("it is written");
    }

    /// Waits until all copies have applied the same record, and checks that they hold the same then.
    pub(crate) async fn until_equal(&self) {
        let digests = wait("copies at one place", async || {
            let mut digests = Vec::new();
            for name in self.names() {
                let snapshot = self.file(&name).await?.snapshot().ok()?;
                let place = snapshot.replica().ok()??.applied;
                digests.push((place, snapshot.content_digest().ok()?));
            }
            let (first, _) = digests[0];
            let is_one = digests.iter().all(|(place, _)| *place == first);
            is_one.then_some(digests)
        })
        .await;
        let digests: Vec<Digest> = digests.into_iter().map(|(_, digest)| digest).collect();
        assert!(
            digests.windows(2).all(|pair| pair[0] == pair[1]),
            "{digests:?}"
        );
    }

    /// Waits until a copy has applied what the primary has.
    pub(crate) async fn until_applied(&self, name: &str) {
        wait("a copy that follows", async || {
            let last = self.primary().await.status().borrow().known_commit;
            let applied = self.shard(name)?.status().borrow().applied;
            (applied >= last).then_some(())
        })
        .await;
    }

    /// The file of a copy, as it is.
    pub(crate) async fn file(&self, name: &str) -> Option<Arc<ShardFile>> {
        let fresh = self.shard(name)?.fresh(ReadLevel::Any, PATIENCE).await;
        fresh.ok().map(|fresh| fresh.file)
    }

    /// How many rows a copy has.
    pub(crate) async fn rows(&self, name: &str) -> u64 {
        count(&self.file(name).await.expect("it is open"))
    }
}

pub(crate) async fn wait<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
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
