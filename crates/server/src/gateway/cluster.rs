//! The shards of a keyspace, wherever they are: who has the primary is found, and asked again when it has moved.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_http::{Token, reqwest::Client};
use shardwright_registry::Clock;
use shardwright_router::Router;
use shardwright_sql::shards::{Fault, FaultKind, Place};
use shardwright_topology::{Backoff, NodeId, ShardMap, Timestamp};
use tokio::{runtime::Handle, sync::watch};

use super::{
    host::Host,
    way::{Lost, There, Way},
    wire::{Answer, Ask, Freshness, Refusal, Request, Said},
};

/// The waits between two attempts.
const WAITS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// The shards, and how they are reached.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) host: Host,
    pub(super) router: Router,
    pub(super) client: Client,
    pub(super) token: Option<Token>,
    pub(super) runtime: Handle,
    pub(super) clock: Clock,
    pub(super) names: Names,
    /// The epoch that this node has claimed as the keyspace's writer; 0 before the first.
    pub(super) claimed: AtomicU64,
}

/// The names of the places, in the order of the shard map.
#[derive(Debug)]
pub(super) struct Names {
    shards: Vec<PartitionId>,
    catalog: PartitionId,
}

impl Names {
    /// Returns the names in a map; `None` if it has no catalog shard.
    pub(super) fn of(map: &ShardMap) -> Option<Self> {
        let keyspace = map.keyspace();
        let name = |shard: &shardwright_topology::Shard| PartitionId {
            keyspace: keyspace.clone(),
            shard: shard.id().clone(),
        };
        Some(Self {
            shards: map.shards().iter().map(name).collect(),
            catalog: map.catalog().map(name)?,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.shards.len()
    }

    pub(super) fn of_place(&self, place: Place) -> &PartitionId {
        match place {
            Place::Shard(index) => &self.shards[index],
            Place::Catalog => &self.catalog,
        }
    }

    pub(super) fn catalog(&self) -> &PartitionId {
        &self.catalog
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &PartitionId> {
        std::iter::once(&self.catalog).chain(&self.shards)
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
    /// What the shard says against it, or what is known at the end: [`FaultKind::Unreachable`] if nothing was run,
    /// [`FaultKind::Indeterminate`] if that is not known.
    pub(super) async fn ask(
        &self,
        shard: &PartitionId,
        ask: &Ask,
        deadline: Timestamp,
    ) -> Result<Heard, Fault> {
        let mut attempts = Attempts {
            cluster: self,
            shard,
            changes: self.router.changes(),
            waits: waits(),
            hint: None,
            tried: 0,
            is_ambiguous: false,
        };
        loop {
            let now = self.clock.now();
            if now >= deadline {
                return Err(attempts.too_late());
            }
            let left = deadline.since(now);
            if let Some(heard) = attempts.once(ask, left).await? {
                return Ok(heard);
            }
            attempts.wait(left).await;
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

/// Returns the waits between attempts, from the shortest one.
fn waits() -> Backoff {
    Backoff::new(WAITS.0, WAITS.1, rand::random())
}

/// The attempts to have something answered.
struct Attempts<'c> {
    cluster: &'c Cluster,
    shard: &'c PartitionId,
    changes: watch::Receiver<u64>,
    waits: Backoff,
    /// Who has the primary, as the last one said who was asked.
    hint: Option<NodeId>,
    tried: usize,
    /// Whether an attempt may have been carried out.
    is_ambiguous: bool,
}

impl Attempts<'_> {
    async fn once(&mut self, ask: &Ask, left: Duration) -> Result<Option<Heard>, Fault> {
        let Some((node, way)) = self.next(ask) else {
            return Ok(None);
        };
        let request = Request {
            shard: self.shard.clone(),
            within_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1),
            ask: ask.clone(),
        };
        let asking = way.ask(request);
        let answered = tokio::select! {
            answered = asking => answered,
            () = self.has_moved(ask, &node) => Err(Lost::Unknown),
        };
        self.tried += 1;
        match answered {
            Ok(answer) => self.take(answer, way, &node),
            Err(lost) => {
                self.is_ambiguous |= lost == Lost::Unknown;
                self.hint = None;
                Ok(None)
            }
        }
    }

    fn take(&mut self, answer: Answer, way: Way, node: &NodeId) -> Result<Option<Heard>, Fault> {
        let refusal = match answer {
            Ok(said) => return Ok(Some(Heard { said, way })),
            Err(refusal) => refusal,
        };
        self.hint = None;
        match refusal {
            Refusal::NotPrimary { hint } => self.hint = hint.filter(|hint| hint != node),
            Refusal::Later => {}
            Refusal::Indeterminate => self.is_ambiguous = true,
            refusal => return Err(fault(refusal, self.is_ambiguous)),
        }
        Ok(None)
    }

    /// Returns whom to ask now.
    fn next(&mut self, ask: &Ask) -> Option<(NodeId, Way)> {
        let node = match ask {
            Ask::Read {
                freshness: Freshness::Any | Freshness::AtLeast(_),
                ..
            } => {
                let holders = self.cluster.holders(self.shard);
                let next = self.tried.checked_rem(holders.len())?;
                holders.into_iter().nth(next)
            }
            _ => self.hint.take().or_else(|| self.owner()),
        }?;
        let way = self.cluster.way(&node)?;
        Some((node, way))
    }

    fn owner(&self) -> Option<NodeId> {
        let route = self.cluster.router.route(&self.shard.shard);
        route.ok().map(|route| route.owner)
    }

    /// Ends when the primary is elsewhere than where it is asked. A node that was stopped answers nobody, and keeps its connections.
    async fn has_moved(&self, ask: &Ask, node: &NodeId) {
        let asks_primary = !matches!(
            ask,
            Ask::Read {
                freshness: Freshness::Any | Freshness::AtLeast(_),
                ..
            }
        );
        let before = self.owner();
        let mut changes = self.changes.clone();
        let is_elsewhere = |_: &u64| {
            let owner = self.owner();
            owner != before && owner.as_ref() != Some(node)
        };
        if !asks_primary || changes.wait_for(is_elsewhere).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits for a moment, or for news.
    async fn wait(&mut self, left: Duration) {
        if self.hint.is_some() {
            return;
        }
        let wait = self.waits.next().unwrap_or(WAITS.1).min(left);
        self.changes.mark_unchanged();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Ok(()) = self.changes.changed() => {
                // The registry may show a primary before that knows of it itself: it is not to be waited for as one that is down.
                self.waits = waits();
            }
        }
    }

    fn too_late(&self) -> Fault {
        if self.is_ambiguous {
            return indeterminate();
        }
        Fault::new(
            FaultKind::Unreachable,
            "no copy of the shard that may answer did so in time",
        )
    }
}

/// Returns what a refusal means for the caller of the engine.
pub(super) fn fault(refusal: Refusal, is_ambiguous: bool) -> Fault {
    match refusal {
        // It happened at the first attempt or not at all, and what is remembered does not reach so far back.
        Refusal::Fault { fault, .. } if is_ambiguous && fault.kind == FaultKind::Forgotten => {
            indeterminate()
        }
        Refusal::Fault { fault, .. } => fault,
        Refusal::SchemaChanged => Fault::new(
            FaultKind::SchemaChanged,
            "the schema of the shard is not the one that the statement was planned for",
        ),
        Refusal::NotWriter => Fault::new(
            FaultKind::NotWriter,
            "another node has taken over what one node alone may do",
        ),
        Refusal::Indeterminate => indeterminate(),
        Refusal::NotPrimary { .. } | Refusal::Later | Refusal::NoSession => Fault::new(
            FaultKind::Unreachable,
            "the primary of the shard has moved, and nothing of the transaction has happened",
        ),
    }
}

pub(super) fn indeterminate() -> Fault {
    Fault::new(
        FaultKind::Indeterminate,
        "the shard was lost while it worked, and it is not known whether the write was made",
    )
}

/// What was read and written by a statement: up to where, for each shard.
pub(super) type Reached = BTreeMap<PartitionId, super::wire::Point>;

/// A place that is asked for what it is not.
pub(super) fn unexpected(said: &Said) -> Fault {
    tracing::error!(?said, "a shard answers what it was not asked");
    Fault::new(FaultKind::Other, "the shard answered what it was not asked")
}
