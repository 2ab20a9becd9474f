//! One request after the other, to whoever has the shard at that moment.

use std::time::Duration;

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_sql::shards::{Fault, FaultKind};
use shardwright_topology::{Backoff, NodeId};
use tokio::sync::watch;

use super::{Cluster, Heard, milliseconds};
use crate::gateway::{
    fault::{fault, indeterminate},
    way::{Lost, Way},
    wire::{Answer, Ask, Freshness, Refusal, Request},
};

/// The waits between two attempts.
const WAITS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// The attempts to have something answered.
pub(super) struct Attempts<'c> {
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

impl<'c> Attempts<'c> {
    pub(super) fn new(cluster: &'c Cluster, shard: &'c PartitionId) -> Self {
        Self {
            cluster,
            shard,
            changes: cluster.router.changes(),
            waits: waits(),
            hint: None,
            tried: 0,
            is_ambiguous: false,
        }
    }

    /// Asks whoever seems to have the shard; `None` if it has to be asked again.
    pub(super) async fn once(&mut self, ask: &Ask, left: Duration) -> Result<Option<Heard>, Fault> {
        let Some((node, way)) = self.next(ask) else {
            return Ok(None);
        };
        let request = Request {
            shard: self.shard.clone(),
            within_ms: milliseconds(self.share(ask, left)),
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
        let node = if asks_primary(ask) {
            self.hint.take().or_else(|| self.owner())
        } else {
            let holders = self.cluster.holders(self.shard);
            let next = self.tried.checked_rem(holders.len())?;
            holders.into_iter().nth(next)
        }?;
        let way = self.cluster.way(&node)?;
        Some((node, way))
    }

    /// Returns how long one node may take: where several can answer, one that is behind leaves time for the others.
    fn share(&self, ask: &Ask, left: Duration) -> Duration {
        if asks_primary(ask) {
            return left;
        }
        let holders = self.cluster.holders(self.shard).len();
        left / u32::try_from(holders.max(1)).unwrap_or(u32::MAX)
    }

    fn owner(&self) -> Option<NodeId> {
        let route = self.cluster.router.route(&self.shard.shard);
        route.ok().map(|route| route.owner)
    }

    /// Ends when the primary is elsewhere than where it is asked. A node that was stopped answers nobody, and keeps its connections.
    async fn has_moved(&self, ask: &Ask, node: &NodeId) {
        let before = self.owner();
        let mut changes = self.changes.clone();
        let is_elsewhere = |_: &u64| {
            let owner = self.owner();
            owner != before && owner.as_ref() != Some(node)
        };
        if !asks_primary(ask) || changes.wait_for(is_elsewhere).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits for a moment, or for news.
    pub(super) async fn wait(&mut self, left: Duration) {
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

    pub(super) fn too_late(&self) -> Fault {
        if self.is_ambiguous {
            return indeterminate();
        }
        Fault::new(
            FaultKind::Unreachable,
            "no copy of the shard that may answer did so in time",
        )
    }
}

/// Returns the waits between attempts, from the shortest one.
fn waits() -> Backoff {
    Backoff::new(WAITS.0, WAITS.1, rand::random())
}

/// Whether only the primary may answer.
fn asks_primary(ask: &Ask) -> bool {
    !matches!(
        ask,
        Ask::Read {
            freshness: Freshness::Any | Freshness::AtLeast(_),
            ..
        }
    )
}
