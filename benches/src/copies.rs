//! A shard of three copies: one here, and one in each of two other processes, each with its own files and its own connections.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use shardwright_quorum::{
    log::{
        BoxError, ShardLog,
        peer::{Limits, PeerOptions, Peers, Resolve},
        shard_log::{LogOptions, Registrar, ShardRecords, Status},
    },
    topology::{
        Conditions, Config, ConfigId, Incarnation, KeyspaceName, Member, NodeId, Primary, Proposal,
        ReplicaId, ShardId, ShardRecord,
    },
};
use shardwright_registry::{Registry, SqliteStore};
use tokio::runtime::{Builder, Runtime};

use crate::subprocess::Subprocess;

/// Tells a process to hold a copy: what kind, the number of the node, the address of the leader, and the directory.
const VARIABLE: &str = "SHARDWRIGHT_BENCH_COPY";

/// What there are three copies of.
pub(crate) trait Replica: Sized {
    /// What tells the other processes which kind to hold.
    const KIND: &'static str;

    /// Starts a copy that is kept in a directory.
    fn start(shard: ShardId, directory: PathBuf, options: LogOptions) -> Self;

    /// Returns its log.
    fn log(&self) -> &ShardLog;
}

/// A shard, whose primary is here.
#[derive(Debug)]
pub(crate) struct ThreeCopies<R> {
    own: R,
    _others: Vec<Subprocess>,
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

/// A node with a copy.
struct Node<R> {
    replica: R,
    address: String,
    addresses: Arc<Addresses>,
    registry: Registry,
}

impl<R: Replica> Node<R> {
    async fn start(directory: &Path, number: usize) -> anyhow::Result<Self> {
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
        let again = Duration::from_secs(1);
        let records = ShardRecords::follow(registry.store().clone(), prefix, again);
        let home = directory.join(format!("copy-{number}"));
        let options = LogOptions::new(peers, records, Arc::new(Once));
        Ok(Self {
            replica: R::start(ShardId::numbered(0), home, options),
            address,
            addresses,
            registry,
        })
    }

    /// Waits until the copy is open, and returns its name.
    async fn opened(&self) -> anyhow::Result<ReplicaId> {
        let status = until(self.replica.log(), |status| status.replica_id.is_some()).await?;
        status.replica_id.context("it is open")
    }
}

impl<R: Replica> ThreeCopies<R> {
    /// Starts the three copies in a directory, this one as the primary.
    pub(crate) fn start(directory: &Path, runtime: &Runtime) -> anyhow::Result<Arc<Self>> {
        runtime.block_on(async {
            let own = Node::<R>::start(directory, 0).await?;
            let mut members = vec![member(0, own.opened().await?)?];
            let mut others = Vec::new();
            for number in 1..=2 {
                let place = format!(
                    "{} {number} {} {}",
                    R::KIND,
                    own.address,
                    directory.display()
                );
                let (other, line) = Subprocess::start(VARIABLE, place)?;
                others.push(other);
                let (address, replica_id) = line.split_once(' ').context("two words")?;
                own.addresses.add(node_id(number)?, address.to_owned());
                members.push(member(number, replica_id.parse()?)?);
            }
            let primary = Primary {
                node: node_id(0)?,
                incarnation: Incarnation(1),
            };
            begin(&own.registry, ShardId::numbered(0), primary, members).await?;
            until(own.replica.log(), |status| status.leads.is_some()).await?;
            Ok(Arc::new(Self {
                own: own.replica,
                _others: others,
            }))
        })
    }

    /// Returns the copy that is here.
    pub(crate) fn own(&self) -> &R {
        &self.own
    }
}

/// Writes the first configuration of a shard.
pub(crate) async fn begin(
    registry: &Registry,
    shard: ShardId,
    primary: Primary,
    members: Vec<Member>,
) -> anyhow::Result<()> {
    let record = ShardRecord::new(KeyspaceName::main(), shard.clone(), None);
    let clean = members.iter().map(|member| member.replica_id).collect();
    let w = Config::majority(members.len());
    let proposal = Proposal {
        config_id: ConfigId::from_bits(1),
        primary,
        w,
        members: members.into_iter().collect(),
        zones: 1,
    };
    let record = record.begin_attempt(proposal, &Conditions { clean, w_min: w })?;
    registry.shards().create(shard, record).await?;
    Ok(())
}

/// Waits until it stands so with a log.
pub(crate) async fn until(
    log: &ShardLog,
    is: impl FnMut(&Status) -> bool,
) -> anyhow::Result<Status> {
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

/// Holds a copy, if this process is to hold one of that kind, until it is killed.
pub(crate) fn hold<R: Replica>() -> Option<anyhow::Result<()>> {
    let place = env::var(VARIABLE).ok()?;
    let (_, place) = place.split_once(' ').filter(|(kind, _)| *kind == R::KIND)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    Some(
        runtime
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(hold_at::<R>(place))),
    )
}

#[expect(clippy::print_stdout, reason = "the leader reads the address there")]
async fn hold_at<R: Replica>(place: &str) -> anyhow::Result<()> {
    let mut words = place.splitn(3, ' ');
    let mut word = || words.next().context("three words");
    let (number, leader): (usize, _) = (word()?.parse()?, word()?.to_owned());
    let directory = PathBuf::from(word()?);
    let own = Node::<R>::start(&directory, number).await?;
    own.addresses.add(node_id(0)?, leader);
    let replica_id = own.opened().await?;
    println!("{} {replica_id}", own.address);
    std::future::pending().await
}
