//! Ours: a log with a copy here and one in each of two other processes, each with its own files and its own connections.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use shardwright_quorum::{
    log::{
        BoxError, Kind, Level, Point, Record, ShardLog, Snapshot, StateError, StateMachine,
        peer::{Limits, PeerOptions, Peers, Resolve},
        segments::Options,
        shard_log::{Entry, InDirectory, LogOptions, Registrar, ShardRecords, Status},
    },
    topology::{
        Conditions, Config, ConfigId, Incarnation, KeyspaceName, Member, NodeId, Primary, Proposal,
        ReplicaId, ShardId, ShardRecord,
    },
};
use shardwright_registry::{Registry, SqliteStore};
use tokio::runtime::{Builder, Runtime};

use super::{Appends, PAYLOAD};

/// Tells a process to hold a copy: the directory, the number of the node, and the address of the leader.
const VARIABLE: &str = "SHARDWRIGHT_BENCH_COPY";

/// The log, and the processes with the other copies.
#[derive(Debug, Clone)]
pub(super) struct Replicated {
    log: ShardLog,
    _others: Arc<Vec<Other>>,
}

/// A process with a copy.
#[derive(Debug)]
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to end, and nobody to tell.
        if self.0.kill().is_ok() {
            self.0.wait().ok();
        }
    }
}

/// Where the nodes are, as far as it is known.
#[derive(Debug, Default)]
struct Addresses(Mutex<BTreeMap<NodeId, String>>);

impl Addresses {
    fn add(&self, node: NodeId, address: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(node, address);
    }
}

#[async_trait]
impl Resolve for Addresses {
    async fn address(&self, node: &NodeId) -> Result<Option<String>, BoxError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.get(node).cloned())
    }
}

/// Every copy is opened once.
#[derive(Debug)]
struct Once;

#[async_trait]
impl Registrar for Once {
    async fn register(&self, _: &ShardId, _: &Member) -> Result<Incarnation, BoxError> {
        Ok(Incarnation(1))
    }
}

/// Data that is nothing but its place: what it costs to apply a record is not the log's.
#[derive(Debug, Default)]
struct Place(Point);

impl StateMachine for Place {
    fn applied(&self) -> Point {
        self.0
    }

    fn apply(&mut self, records: &[Arc<Record>]) -> Result<(), StateError> {
        self.0 = records.last().map_or(self.0, |last| last.point());
        Ok(())
    }

    fn save(&mut self) -> Result<(), StateError> {
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, StateError> {
        let content = Box::new(std::io::empty());
        Ok(Snapshot {
            base: self.0,
            content,
        })
    }

    fn install(&mut self, base: Point, _: &mut dyn Read) -> Result<(), StateError> {
        self.0 = base;
        Ok(())
    }
}

/// A node with a copy.
struct Node {
    log: ShardLog,
    address: String,
    addresses: Arc<Addresses>,
    registry: Registry,
}

async fn start(directory: &Path, number: usize) -> anyhow::Result<Node> {
    let addresses = Arc::new(Addresses::default());
    let options = PeerOptions {
        node: node_id(number)?,
        listen: "127.0.0.1:0".to_owned(),
        token: None,
        limits: Limits::default(),
    };
    let peers = Peers::bind(options, Arc::clone(&addresses) as Arc<dyn Resolve>).await?;
    let address = peers.address().to_string();
    let store = Arc::new(SqliteStore::open(directory.join("registry.db"))?);
    let registry = Registry::new(store, KeyspaceName::main());
    let prefix = registry.shards().prefix().clone();
    let records = ShardRecords::follow(registry.store().clone(), prefix, Duration::from_secs(1));
    let home = directory.join(format!("copy-{number}"));
    let home = InDirectory::new(home, Options::default(), |_: &Path| Ok(Place::default()));
    let options = LogOptions::new(peers, records, Arc::new(Once));
    let (log, _task) = ShardLog::start(ShardId::numbered(0), home, options);
    Ok(Node {
        log,
        address,
        addresses,
        registry,
    })
}

impl Replicated {
    /// Starts the three copies, this one as the primary.
    pub(super) fn start(directory: &Path, runtime: &Runtime) -> anyhow::Result<Self> {
        runtime.block_on(async {
            let own = start(directory, 0).await?;
            let status = until(&own.log, |status| status.replica_id.is_some()).await?;
            let mut members = vec![member(0, status.replica_id.context("it is open")?)?];
            let mut others = Vec::new();
            for number in 1..=2 {
                let place = format!("{number} {} {}", own.address, directory.display());
                let mut command = Command::new(env::current_exe()?);
                command.env(VARIABLE, place).stdout(Stdio::piped());
                let mut child = command.spawn().context("start a copy")?;
                let output = child.stdout.take().context("it is piped")?;
                others.push(Other(child));
                let mut line = String::new();
                BufReader::new(output).read_line(&mut line)?;
                let (address, replica_id) = line.trim().split_once(' ').context("two words")?;
                own.addresses.add(node_id(number)?, address.to_owned());
                members.push(member(number, replica_id.parse()?)?);
            }
            begin(&own.registry, members).await?;
            until(&own.log, |status| status.leads.is_some()).await?;
            Ok(Self {
                log: own.log,
                _others: Arc::new(others),
            })
        })
    }
}

/// Writes the first configuration.
async fn begin(registry: &Registry, members: Vec<Member>) -> anyhow::Result<()> {
    let record = ShardRecord::new(KeyspaceName::main(), ShardId::numbered(0), None);
    let clean = members.iter().map(|member| member.replica_id).collect();
    let proposal = Proposal {
        config_id: ConfigId::from_bits(1),
        primary: Primary {
            node: node_id(0)?,
            incarnation: Incarnation(1),
        },
        w: Config::majority(members.len()),
        members: members.into_iter().collect(),
        zones: 1,
    };
    let record = record.begin_attempt(proposal, &Conditions { clean, w_min: 2 })?;
    let shards = registry.shards();
    shards.create(ShardId::numbered(0), record).await?;
    Ok(())
}

async fn until(log: &ShardLog, is: impl FnMut(&Status) -> bool) -> anyhow::Result<Status> {
    let mut status = log.status();
    Ok(status.wait_for(is).await?.clone())
}

fn node_id(number: usize) -> anyhow::Result<NodeId> {
    Ok(NodeId::new(format!("n{number}"))?)
}

fn member(number: usize, replica_id: ReplicaId) -> anyhow::Result<Member> {
    let node = node_id(number)?;
    Ok(Member { node, replica_id })
}

/// Holds a copy, if this process is to do so, until it is killed.
#[expect(clippy::print_stdout, reason = "the leader reads the address there")]
pub(crate) fn hold_copy() -> Option<anyhow::Result<()>> {
    let place = env::var(VARIABLE).ok()?;
    let hold = async || {
        let mut words = place.splitn(3, ' ');
        let mut word = || words.next().context("three words");
        let (number, leader): (usize, _) = (word()?.parse()?, word()?.to_owned());
        let directory = PathBuf::from(word()?);
        let own = start(&directory, number).await?;
        own.addresses.add(node_id(0)?, leader);
        let status = until(&own.log, |status| status.replica_id.is_some()).await?;
        let replica_id = status.replica_id.context("it is open")?;
        println!("{} {replica_id}", own.address);
        std::future::pending().await
    };
    let runtime = Builder::new_current_thread().enable_all().build();
    Some(
        runtime
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(hold())),
    )
}

impl Appends for Replicated {
    async fn append(&self) -> anyhow::Result<()> {
        let entry = Entry::new(Kind::Batch, PAYLOAD.to_vec());
        let patience = Duration::from_secs(10);
        self.log.append(entry, Level::Quorum, patience).await?;
        Ok(())
    }
}
