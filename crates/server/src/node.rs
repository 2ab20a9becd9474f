//! A node: it keeps copies of shards as the coordinators tell it, and serves those of which it has the primary.

mod copies;
pub(crate) mod deletion;
mod layout;
mod peers;
mod report;
mod scrub;
mod unannounced;

use std::{path::PathBuf, sync::Arc};

use shardwright_coordinator::{rebalancer::PartitionId, worker::Worker};
use shardwright_http::{BindError, ClientError, Token, axum::Router};
use shardwright_quorum::log::{
    Settings,
    peer::{Limits, PeerOptions, Peers},
};
use shardwright_registry::{Addresses, Error as RegistryError, Store};
use shardwright_store::Config;
use shardwright_topology::{Halts, KeyspaceName, Location, NodeId};

pub(crate) use self::copies::Copies;
use self::{layout::Layout, peers::PeerAddresses};
pub use self::{layout::LayoutError, scrub::Scrubbing};
use crate::{
    elastic::{self, Members},
    gateway::Gateway,
    hrana::{Hrana, Settings as StreamSettings},
    shard::{CopyGap, Memory, Shard},
};

/// What a node is made of.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Its name, which is nobody else's.
    pub id: NodeId,
    /// Where its copies are kept; nobody else's.
    pub directory: PathBuf,
    /// Where coordinators and clients reach it, such as `http://10.0.0.7:7558`.
    pub address: String,
    /// Where it listens for other nodes, such as `127.0.0.1:7559`; port 0 for any.
    pub listen_peers: String,
    /// At which host other nodes find it; where it listens, if none is given.
    pub advertise_peers: Option<String>,
    /// The addresses of some or all coordinators; those that the registry names, whenever one is needed, if there are none.
    pub coordinators: Vec<String>,
    /// Where it runs.
    pub location: Location,
    /// What the processes of the cluster share.
    pub token: Option<Token>,
    /// What the copies of a shard agree on: equal on all nodes.
    pub log: Settings,
    /// What its shards remember of the writes of clients, where it is the primary.
    pub memory: Memory,
    /// How the files of the shards are opened.
    pub file: Config,
    /// When the copies of the shards that it has the primaries of are compared.
    pub scrub: Scrubbing,
    /// How long the streams of libSQL's clients may be idle, and how many there are.
    pub streams: StreamSettings,
    /// Who is told of each gap between two steps of an operation: a test that stops the process there.
    pub halts: Halts<CopyGap>,
}

impl NodeOptions {
    /// Returns the usual options of a node on loopback, without a token.
    #[must_use]
    pub fn new(id: NodeId, directory: impl Into<PathBuf>, address: impl Into<String>) -> Self {
        Self {
            id,
            directory: directory.into(),
            address: address.into(),
            listen_peers: "127.0.0.1:0".to_owned(),
            advertise_peers: None,
            coordinators: Vec::new(),
            location: Location::default(),
            token: None,
            log: Settings::default(),
            memory: Memory::default(),
            file: Config::default(),
            scrub: Scrubbing::default(),
            streams: StreamSettings::default(),
            halts: Halts::default(),
        }
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    worker: Worker,
    copies: Copies,
    peers: Peers,
    gateway: Gateway,
    hrana: Hrana,
    members: Members,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It cannot listen for other nodes.
    #[error("listen for other nodes")]
    Peers(#[source] BindError),
    /// The registry did not take note of where it listens.
    #[error("say in the registry where the node listens for others")]
    Announce(#[source] RegistryError),
    /// There is no way to speak to other nodes.
    #[error("speak to other nodes")]
    Client(#[from] ClientError),
    /// Its directory cannot be used.
    #[error(transparent)]
    Directory(#[from] LayoutError),
}

impl Node {
    /// Starts a node in the present tokio runtime: it opens the copies that it has, and registers at a coordinator. Mount
    /// [`Node::router`] where its address leads to.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(store: Arc<dyn Store>, options: NodeOptions) -> Result<Self, StartError> {
        let layout = Layout::open(&options.directory, &options.id)?;
        let addresses = Addresses::of_peers(Arc::clone(&store));
        let peer_options = PeerOptions {
            node: options.id.clone(),
            listen: options.listen_peers.clone(),
            token: options.token.clone(),
            limits: Limits::default(),
        };
        let resolver = Arc::new(PeerAddresses::new(addresses.clone()));
        let peers = Peers::bind(peer_options, resolver).await;
        let peers = peers.map_err(StartError::Peers)?;
        let here = peers::advertised(&options, peers.address());
        let announced = addresses.announce(&options.id, &here).await;
        announced.map_err(StartError::Announce)?;
        let copies = Copies::open(Arc::clone(&store), &options, peers.clone(), layout)?;
        let (id, token) = (options.id.clone(), options.token.clone());
        let (main, guard) = (KeyspaceName::main(), token.clone());
        let members = Members::new(id.clone(), Arc::clone(&store), main, guard)?;
        let gateway = Gateway::start(id.clone(), &store, copies.clone(), token)?;
        let hrana = Hrana::start(id, &options.address, options.streams, gateway.client());
        let is_told = !options.coordinators.is_empty();
        let worker = Worker::builder(options.id, options.address, options.coordinators)
            .location(options.location)
            .token(options.token)
            .copies(Arc::new(copies.clone()));
        let worker = if is_told {
            worker
        } else {
            worker.coordinators_of(Addresses::of_coordinators(store))
        };
        let worker = worker.start();
        Ok(Self {
            worker,
            copies,
            peers,
            gateway,
            hrana,
            members,
        })
    }

    /// Returns the part of the node that coordinators know.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Returns the copy of a shard that the node has.
    #[must_use]
    pub fn shard(&self, shard: &PartitionId) -> Option<Shard> {
        self.copies.shard(shard)
    }

    /// Waits until the node has the primary of a shard, and returns that.
    pub async fn until_leading(&self, shard: &PartitionId) -> Shard {
        loop {
            // Told before it is looked, so that no change is missed.
            let changed = self.copies.changed();
            if let Some(copy) = self.shard(shard) {
                let mut status = copy.status();
                tokio::select! {
                    Ok(_) = status.wait_for(|status| status.leading().is_some()) => {}
                    () = changed => continue,
                }
                return copy;
            }
            changed.await;
        }
    }

    /// Returns the names of the shards that it has copies of.
    #[must_use]
    pub fn shards(&self) -> Vec<PartitionId> {
        self.copies.shards()
    }

    /// Returns what coordinators, other nodes and clients ask of the node.
    pub fn router(&self) -> Router {
        let operations = elastic::router(self.copies.clone(), self.members.clone());
        let routes = self.worker.router();
        let routes = routes.merge(self.gateway.router(operations));
        routes.merge(self.hrana.router())
    }

    /// Stops: all that its copies took in becomes durable. Whoever wants others to take over first calls [`Worker::leave`] before.
    pub async fn stop(self) {
        self.copies.stop().await;
        self.gateway.stop();
        self.peers.shut_down();
    }
}
