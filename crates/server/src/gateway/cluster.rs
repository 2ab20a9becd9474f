//! The shards of a keyspace, wherever they are: who has the primary is found, and asked again when it has moved.

mod attempts;
mod names;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_http::{Token, reqwest::Client};
use shardwright_registry::Clock;
use shardwright_router::Router;
use shardwright_sql::shards::Fault;
use shardwright_topology::{NodeId, Timestamp};
use tokio::{runtime::Handle, sync::watch};

use self::attempts::Attempts;
pub(super) use self::names::Names;
use super::{
    host::Host,
    way::{There, Way},
    wire::{Ask, Point, Said},
};

/// The shards of one layout, and how they are reached. Where some are split or merged, there is another value of this for the next one.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) host: Host,
    pub(super) router: Router,
    pub(super) client: Client,
    pub(super) token: Option<Token>,
    pub(super) runtime: Handle,
    /// Closed when the gateway is over.
    pub(super) over: watch::Receiver<()>,
    pub(super) clock: Clock,
    pub(super) names: Names,
    /// The epoch that this node has claimed as the keyspace's writer; 0 before the first.
    pub(super) claimed: Arc<AtomicU64>,
}

/// Why a shard has not answered.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) fault: Fault,
    /// Whether what was asked may have been carried out, and the fault does not say so.
    pub(super) is_ambiguous: bool,
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            is_ambiguous: false,
        }
    }
}

/// An answer, and who gave it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) said: Said,
    pub(super) way: Way,
}

impl Cluster {
    /// Asks a shard, again and again until it answers or it is too late. What is asked must be safe to ask twice.
    ///
    /// # Errors
    /// What the shard says against it, or what is known at the end: [`Unreachable`](shardwright_sql::shards::FaultKind::Unreachable) if nothing was run,
    /// [`Indeterminate`](shardwright_sql::shards::FaultKind::Indeterminate) if that is not known. At once, if the shard is sealed or gone:
    /// [`LayoutChanged`](shardwright_sql::shards::FaultKind::LayoutChanged).
    pub(super) async fn ask(
        &self,
        shard: &PartitionId,
        ask: &Ask,
        deadline: Timestamp,
    ) -> Result<Heard, Unanswered> {
        let mut attempts = Attempts::new(self, shard);
        loop {
            let now = self.clock.now();
            if now >= deadline {
                return Err(attempts.too_late().into());
            }
            let left = deadline.since(now);
            if let Some(heard) = attempts.once(ask, left).await? {
                return Ok(heard);
            }
            attempts.wait(left).await;
        }
    }

    /// Waits for an answer, on a thread that may wait. Once the gateway is over, nobody knows what will have become of it: the runtime may
    /// end under it.
    pub(super) fn block_on<T, E>(
        &self,
        asking: impl Future<Output = Result<T, E>>,
        lost: impl FnOnce() -> E,
    ) -> Result<T, E> {
        let mut over = self.over.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = over.changed() => Err(lost()),
                answer = asking => answer,
            }
        })
    }

    /// Returns the same, for the shards of another map.
    pub(super) fn with_names(&self, names: Names) -> Self {
        Self {
            host: self.host.clone(),
            router: self.router.clone(),
            client: self.client.clone(),
            token: self.token.clone(),
            runtime: self.runtime.clone(),
            over: self.over.clone(),
            clock: self.clock,
            names,
            claimed: Arc::clone(&self.claimed),
        }
    }

    /// Returns the epoch that this node has claimed as the keyspace's writer.
    pub(super) fn claimed(&self) -> Option<u64> {
        Some(self.claimed.load(Ordering::Acquire)).filter(|epoch| *epoch > 0)
    }

    /// Returns the moment after that time from now.
    pub(super) fn deadline(&self, within: Duration) -> Timestamp {
        self.clock.now() + within
    }

    /// Returns the way to a node.
    pub(super) fn way(&self, node: &NodeId) -> Option<Way> {
        if node == self.router.node() {
            return Some(Way::Here(self.host.clone()));
        }
        let url = self.router.address(node)?;
        Some(Way::There(There {
            node: node.clone(),
            url: url.to_string(),
            client: self.client.clone(),
            token: self.token.clone(),
        }))
    }

    /// Returns the nodes that have copies of a shard, this one first.
    fn holders(&self, shard: &PartitionId) -> Vec<NodeId> {
        let map = self.router.map();
        let config = map.as_ref().and_then(|map| {
            let record = map.shard(&shard.shard)?.record();
            record.active.clone()
        });
        let members = config.map(|config| config.members).unwrap_or_default();
        let mut nodes: Vec<NodeId> = members.into_iter().map(|member| member.node).collect();
        nodes.sort_by_key(|node| node != self.router.node());
        nodes
    }
}

/// What was read and written by a statement: up to where, for each shard.
pub(super) type Reached = BTreeMap<PartitionId, Point>;

/// Returns a time in whole milliseconds, at least one.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
