//! A node: a worker that keeps copies, in a runtime of its own, which ends as a process does.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use shardwright_coordinator::{
    failover::replication::{CopyReport, Health, Instruction, Lead},
    protocol::{CopyInstruction, CopyState},
    rebalancer::PartitionId,
    registry::{Registry, Store},
    worker::{Copies, Worker},
};
use shardwright_quorum::log::{
    BoxError, Kind, Point, Record, Settings, ShardLog, Snapshot, StateError, StateMachine,
    peer::{Limits, PeerOptions, Peers, Resolve},
    segments::Options,
    shard_log::{Condition, InDirectory, LogOptions, Registrar, ShardRecords, Status},
};
use shardwright_topology::{Incarnation, KeyspaceName, Lsn, Member, NodeId, ShardId};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};

/// Where the nodes listen for one another.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<BTreeMap<NodeId, String>>);

impl Addresses {
    fn put(&self, node: &NodeId, address: String) {
        let mut known = self.0.lock().expect("addresses");
        known.insert(node.clone(), address);
    }
}

#[async_trait]
impl Resolve for Addresses {
    async fn address(&self, node: &NodeId) -> Result<Option<String>, BoxError> {
        Ok(self.0.lock().expect("addresses").get(node).cloned())
    }
}

/// A node that runs.
pub(crate) struct Node {
    pub(crate) worker: Worker,
    pub(crate) keeper: Arc<Keeper>,
    runtime: Option<Runtime>,
}

/// It ends as by a crash: nobody is told.
impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Node {
    pub(crate) async fn start(
        id: &NodeId,
        store: Arc<dyn Store>,
        coordinator: String,
        addresses: Arc<Addresses>,
    ) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let started = runtime.spawn(begin(id.clone(), store, coordinator, addresses));
        let (worker, keeper) = started.await.expect("it starts");
        Self {
            worker,
            keeper,
            runtime: Some(runtime),
        }
    }
}

async fn begin(
    id: NodeId,
    store: Arc<dyn Store>,
    coordinator: String,
    addresses: Arc<Addresses>,
) -> (Worker, Arc<Keeper>) {
    let options = PeerOptions {
        node: id.clone(),
        listen: "127.0.0.1:0".to_owned(),
        token: None,
        limits: Limits::default(),
    };
    let resolver: Arc<dyn Resolve> = Arc::clone(&addresses) as _;
    let peers = Peers::bind(options, resolver).await.expect("a port");
    addresses.put(&id, peers.address().to_string());
    let registry = Registry::new(store, KeyspaceName::main());
    let keeper = Arc::new(Keeper::new(registry, peers));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let worker = Worker::builder(id, address, vec![coordinator])
        .copies(Arc::clone(&keeper) as Arc<dyn Copies>)
        .start();
    let router = worker.router();
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    (worker, keeper)
}

/// The copies of a node.
#[derive(Debug)]
pub(crate) struct Keeper {
    options: LogOptions,
    directory: TempDir,
    kept: Mutex<BTreeMap<ShardId, Kept>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) log: ShardLog,
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
}

impl Keeper {
    fn new(registry: Registry, peers: Peers) -> Self {
        let ms = Duration::from_millis;
        let prefix = registry.shards().prefix().clone();
        let records = ShardRecords::follow(registry.store().clone(), prefix, ms(500));
        let registrar = Arc::new(Announcer(registry));
        let options = LogOptions {
            settings: Settings {
                heartbeat: ms(30),
                resend: ms(100),
                lease: ms(200),
                ..Settings::default()
            },
            pauses: (ms(10), ms(100)),
            tick: ms(5),
            ..LogOptions::new(peers, records, registrar)
        };
        Self {
            options,
            directory: tempfile::tempdir().expect("a directory"),
            kept: Mutex::default(),
        }
    }

    /// The copy of a shard.
    pub(crate) fn copy(&self, shard: &ShardId) -> Option<Kept> {
        self.kept.lock().expect("copies").get(shard).cloned()
    }

    fn create(&self, shard: ShardId) {
        let mut kept = self.kept.lock().expect("copies");
        if kept.contains_key(&shard) {
            return;
        }
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let data = Lines {
            applied: Point::default(),
            lines: Arc::clone(&lines),
        };
        let open = move |_: &Path| Ok(data.clone());
        let directory = self.directory.path().join(shard.as_str());
        let home = InDirectory::new(directory, Options::default(), open);
        let (log, _task) = ShardLog::start(shard.clone(), home, self.options.clone());
        kept.insert(shard, Kept { log, lines });
    }
}

impl Copies for Keeper {
    fn states(&self) -> Vec<CopyState> {
        let kept = self.kept.lock().expect("copies");
        let states = kept.iter().filter_map(|(shard, kept)| {
            let report = report(&kept.log.status().borrow())?;
            Some(CopyState {
                partition: PartitionId::from(shard.clone()),
                report,
            })
        });
        states.collect()
    }

    fn follow(&self, instructions: Vec<CopyInstruction>) {
        for CopyInstruction { instruction, .. } in instructions {
            match instruction {
                Instruction::Create { shard, .. } => self.create(shard),
                Instruction::Follow {
                    shard,
                    epoch,
                    learners,
                } => {
                    if let Some(Kept { log, .. }) = self.copy(&shard)
                        && log.status().borrow().leading() == Some(epoch)
                    {
                        // A copy that has stopped is told again.
                        tokio::spawn(async move { log.set_learners(learners).await });
                    }
                }
                Instruction::Drop { .. } => panic!("no copy is left over for that long"),
            }
        }
    }
}

fn report(status: &Status) -> Option<CopyReport> {
    let is_open = status.condition == Condition::Running;
    let me = status.me.as_ref().filter(|_| is_open)?;
    let lead = status.leading().map(|epoch| {
        let followers = status.followers.iter();
        let answered = followers.filter(|follower| follower.matched > Lsn(0));
        let is_of_epoch = status.last.epoch == epoch;
        Lead {
            epoch,
            last: status.last.lsn,
            commit: is_of_epoch.then_some(status.known_commit),
            followers: answered
                .map(|follower| (follower.replica_id, follower.matched))
                .collect(),
        }
    });
    Some(CopyReport {
        replica_id: status.replica_id?,
        incarnation: me.incarnation,
        epoch: status.last.epoch,
        durable: status.durable,
        health: Health::Whole,
        lead,
    })
}

/// Announces copies in the registry.
#[derive(Debug)]
struct Announcer(Registry);

#[async_trait]
impl Registrar for Announcer {
    async fn register(&self, shard: &ShardId, copy: &Member) -> Result<Incarnation, BoxError> {
        Ok(self.0.register_copy(shard, copy).await?)
    }
}

/// Data in memory: the payload of every record as a line.
#[derive(Debug, Clone)]
struct Lines {
    applied: Point,
    lines: Arc<Mutex<Vec<String>>>,
}

impl StateMachine for Lines {
    fn applied(&self) -> Point {
        self.applied
    }

    fn apply(&mut self, records: &[Arc<Record>]) -> Result<(), StateError> {
        let mut lines = self.lines.lock().expect("lines");
        for record in records {
            if record.kind == Kind::Batch {
                lines.push(String::from_utf8_lossy(&record.payload).into_owned());
            }
            self.applied = record.point();
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, StateError> {
        let lines = self.lines.lock().expect("lines").join("\n");
        Ok(Snapshot {
            base: self.applied,
            content: Box::new(Cursor::new(lines.into_bytes())),
        })
    }

    fn install(&mut self, base: Point, content: &mut dyn Read) -> Result<(), StateError> {
        let mut text = String::new();
        content.read_to_string(&mut text)?;
        *self.lines.lock().expect("lines") = text.lines().map(str::to_owned).collect();
        self.applied = base;
        Ok(())
    }
}
