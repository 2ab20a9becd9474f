//! Connections between the nodes that hold copies of logs.
//!
//! A node dials each node to which one of its copies has something to say, sends requests there, and gets the answers on the same
//! connection; all its shards share it. Messages that do not fit, or whose connection breaks, are lost: the protocol asks again.
//! A snapshot has a connection of its own.
//!
//! Both sides prove that they have the cluster token without sending it. What follows is neither encrypted nor signed: the network between
//! the nodes has to be a closed one.

mod accept;
mod contents;
mod encode;
mod frame;
mod handshake;
mod limits;
mod link;
mod queue;
mod resolve;
mod snapshot;

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use bytes::Bytes;
/// The token that nodes prove to have, and why a node cannot listen: as for what speaks HTTP.
pub use shardwright_http::{BindError, InvalidToken, Token};
use shardwright_registry::Clock;
use shardwright_topology::{NodeId, ShardId};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub(crate) use self::encode::Encoder;
use self::{contents::Questions, frame::FrameError, queue::Queue};
pub use self::{
    contents::{Content, Contents},
    limits::Limits,
    resolve::Resolve,
    snapshot::SnapshotError,
};
use super::{Reply, Request, Snapshot, snapshot::StoredSnapshot};

/// What a node needs to speak with others.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    /// The node.
    pub node: NodeId,
    /// Where it listens, such as `127.0.0.1:7559`; port 0 for any.
    pub listen: String,
    /// What the nodes of the cluster share. Without it the node listens on loopback only.
    pub token: Option<Token>,
    /// The limits of its connections.
    pub limits: Limits,
}

/// The connections of a node. Clones are the same connections; they end with the last one, or with [`Peers::shut_down`].
#[derive(Debug, Clone)]
pub struct Peers {
    shared: Arc<Shared>,
    alive: Arc<Alive>,
}

/// What all tasks of a node's connections share.
struct Shared {
    node: NodeId,
    token: Option<Token>,
    limits: Limits,
    resolver: Arc<dyn Resolve>,
    shards: RwLock<HashMap<ShardId, mpsc::Sender<Inbound>>>,
    links: Mutex<HashMap<NodeId, Queue>>,
    questions: Questions,
    snapshots: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

/// Ends all tasks when it is dropped.
#[derive(Debug)]
struct Alive {
    address: SocketAddr,
    clock: Clock,
    stop: watch::Sender<bool>,
}

/// What comes in for a copy.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// Another node asks.
    Request {
        from: NodeId,
        request: Request,
        back: Back,
    },
    /// Another node answers.
    Reply { from: NodeId, reply: Reply },
    /// Another node wants a snapshot; dropping this refuses it.
    Snapshot(oneshot::Sender<Snapshot>),
}

/// Where the answer to a request goes.
#[derive(Debug, Clone)]
pub(crate) struct Back {
    queue: Queue,
    shard: ShardId,
}

/// What comes in for the copy of one shard, until it is dropped.
#[derive(Debug)]
pub(crate) struct Attached {
    shared: Arc<Shared>,
    shard: ShardId,
    pub(crate) inbound: mpsc::Receiver<Inbound>,
}

/// How much may wait for one copy.
const INBOUND_MAX: usize = 1_024;

impl Peers {
    /// Listens for other nodes, which `resolver` finds.
    ///
    /// # Errors
    /// [`BindError`] when the system does not let it listen there, or other machines reach the address and there is no token.
    pub async fn bind(options: PeerOptions, resolver: Arc<dyn Resolve>) -> Result<Self, BindError> {
        let listener = shardwright_http::bind(&options.listen, options.token.as_ref()).await?;
        let address = listener
            .local_addr()
            .map_err(|source| BindError::NoAddress {
                address: options.listen.clone(),
                source: Some(source),
            })?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            snapshots: Arc::new(Semaphore::new(options.limits.snapshots)),
            node: options.node,
            token: options.token,
            limits: options.limits,
            resolver,
            shards: RwLock::default(),
            links: Mutex::default(),
            questions: Questions::default(),
            stopped,
        });
        tokio::spawn(accept::accept(Arc::clone(&shared), listener));
        let alive = Arc::new(Alive {
            address,
            clock: Clock::start(),
            stop,
        });
        Ok(Self { shared, alive })
    }

    /// Returns the node.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.shared.node
    }

    /// Returns the clock that all copies of the node share.
    pub(crate) fn clock(&self) -> Clock {
        self.alive.clock
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.alive.address
    }

    /// Ends all connections, and listens no more.
    pub fn shut_down(&self) {
        self.alive.stop.send_replace(true);
    }

    /// Hands whatever comes in for a shard to one copy, in place of the one before.
    pub(crate) fn attach(&self, shard: ShardId) -> Attached {
        let (sender, inbound) = mpsc::channel(INBOUND_MAX);
        self.shared.write_shards().insert(shard.clone(), sender);
        let shared = Arc::clone(&self.shared);
        Attached {
            shared,
            shard,
            inbound,
        }
    }

    /// Sends a frame to a node, or drops it.
    pub(crate) fn send(&self, to: &NodeId, frame: Bytes) {
        let mut links = self.shared.links();
        if let Some(queue) = links.get(to).filter(|queue| !queue.is_closed()) {
            queue.push(frame);
            return;
        }
        let (queue, waiting) = queue::queue(&self.shared.limits);
        queue.push(frame);
        links.insert(to.clone(), queue);
        tokio::spawn(link::run(Arc::clone(&self.shared), to.clone(), waiting));
    }

    /// Fetches a snapshot of a shard from a node, and stores it aside.
    pub(crate) async fn fetch_snapshot(
        &self,
        from: &NodeId,
        shard: &ShardId,
        directory: &Path,
    ) -> Result<StoredSnapshot, SnapshotError> {
        snapshot::fetch(&self.shared, from, shard, directory).await
    }
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, HashMap<NodeId, Queue>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_shards(
        &self,
    ) -> std::sync::RwLockWriteGuard<'_, HashMap<ShardId, mpsc::Sender<Inbound>>> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands something to the copy of a shard, or drops it.
    fn deliver(&self, shard: &ShardId, inbound: Inbound) {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let is_taken = shards
            .get(shard)
            .is_some_and(|copy| copy.try_send(inbound).is_ok());
        if !is_taken {
            metrics::counter!("shardwright_quorum_messages_dropped_total").increment(1);
        }
    }

    /// Returns once all connections are to end.
    async fn stopped(&self) {
        let mut stopped = self.stopped.clone();
        // An error means that nobody is left who could use them.
        let _ended = stopped.wait_for(|stopped| *stopped).await;
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Back {
    /// Answers, unless the connection is gone.
    pub(crate) fn reply(self, reply: Reply) {
        match encode::reply(&self.shard, reply) {
            Ok(frame) => {
                self.queue.push(frame);
            }
            Err(error) => {
                tracing::error!(shard = %self.shard, %error, "an answer cannot be encoded")
            }
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut shards = self.shared.write_shards();
        // Another copy may have taken its place.
        self.inbound.close();
        if shards.get(&self.shard).is_some_and(mpsc::Sender::is_closed) {
            shards.remove(&self.shard);
        }
    }
}
