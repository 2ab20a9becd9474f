//! One request after the other, to whoever has the shard at that moment.

use std::time::Duration;

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_sql::shards::{Fault, FaultKind};
use shardwright_topology::{Backoff, NodeId};
use tokio::sync::watch;

use super::{Cluster, Heard, Unanswered, milliseconds};
use crate::gateway::{
    fault::{fault, indeterminate},
    way::{Lost, Way},
    wire::{Answer, Ask, Refusal, Request},
};

/// The waits between two attempts.
const WAITS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// The attempts to have something answered.
pub(super) struct Attempts<'c> {
    cluster: &'c Cluster,
    shard: &'c PartitionId,
    waits: Waits,
    /// Who has the primary, as the last one said who was asked.
    hint: Option<NodeId>,
    /// Whether whom it asked last was asked for such a hint: two that name one another are not asked again and again without a wait.
    is_hinted: bool,
    /// How many of those that have copies were asked.
    tried: usize,
    /// Whether an attempt may have been carried out.
    is_ambiguous: bool,
}

impl<'c> Attempts<'c> {
    pub(super) fn new(cluster: &'c Cluster, shard: &'c PartitionId) -> Self {
        Self {
            cluster,
            shard,
            waits: Waits::new(cluster.router.changes()),
            hint: None,
            is_hinted: false,
            tried: 0,
            is_ambiguous: false,
        }
    }

    /// Asks whoever seems to have the shard; `None` if it has to be asked again.
    pub(super) async fn once(
        &mut self,
        ask: &Ask,
        left: Duration,
    ) -> Result<Option<Heard>, Unanswered> {
        self.waits.look();
        let Some((node, way)) = self.next(ask) else {
            return self.is_there().map(|()| None);
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
        match answered {
            Ok(answer) => self.take(ask, answer, way, &node),
            Err(lost) => {
                // Of what only reads, or begins what nobody goes on with, nothing is left behind.
                self.is_ambiguous |= lost == Lost::Unknown && matches!(ask, Ask::Write { .. });
                self.hint = None;
                Ok(None)
            }
        }
    }

    fn take(
        &mut self,
        ask: &Ask,
        answer: Answer,
        way: Way,
        node: &NodeId,
    ) -> Result<Option<Heard>, Unanswered> {
        let refusal = match answer {
            Ok(said) => return Ok(Some(Heard { said, way })),
            Err(refusal) => refusal,
        };
        self.hint = None;
        match refusal {
            Refusal::NotPrimary { hint } => self.hint = hint.filter(|hint| hint != node),
            Refusal::Later => {}
            // That copy may be the one that is behind.
            Refusal::SchemaChanged if !ask.needs_primary() && self.has_others() => {}
            Refusal::Indeterminate => self.is_ambiguous = true,
            Refusal::Sealed => return Err(self.moves(fault(Refusal::Sealed, false))),
            refusal => return Err(fault(refusal, self.is_ambiguous).into()),
        }
        Ok(None)
    }

    /// Finds out whether the shard is one of those that there are, where nobody is known to have it.
    fn is_there(&self) -> Result<(), Unanswered> {
        let map = self.cluster.router.map();
        match map.is_none_or(|map| map.shard(&self.shard.shard).is_some()) {
            true => Ok(()),
            false => {
                let message = "the shard is no more: it was split or merged";
                Err(self.moves(Fault::new(FaultKind::LayoutChanged, message)))
            }
        }
    }

    fn moves(&self, fault: Fault) -> Unanswered {
        Unanswered {
            fault,
            is_ambiguous: self.is_ambiguous,
        }
    }

    /// Returns whom to ask now.
    fn next(&mut self, ask: &Ask) -> Option<(NodeId, Way)> {
        let hint = self.hint.take();
        self.is_hinted = hint.is_some();
        let node = if ask.needs_primary() {
            hint.or_else(|| self.owner())
        } else {
            let holders = self.cluster.holders(self.shard);
            let next = self.tried.checked_rem(holders.len())?;
            self.tried += 1;
            holders.into_iter().nth(next)
        }?;
        let way = self.cluster.way(&node)?;
        Some((node, way))
    }

    /// Whether there are copies that were not asked yet.
    fn has_others(&self) -> bool {
        self.tried < self.cluster.holders(self.shard).len()
    }

    /// Returns how long one node may take: where several can answer, one that is behind leaves time for the others.
    fn share(&self, ask: &Ask, left: Duration) -> Duration {
        if ask.needs_primary() {
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
        let mut changes = self.waits.changes.clone();
        let is_elsewhere = |_: &u64| {
            let owner = self.owner();
            owner != before && owner.as_ref() != Some(node)
        };
        if !ask.needs_primary() || changes.wait_for(is_elsewhere).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits for a moment, or for news.
    pub(super) async fn wait(&mut self, left: Duration) {
        if self.hint.is_none() || self.is_hinted {
            self.waits.wait(left).await;
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

/// The waits between two attempts: each is longer than the one before, until the map of the shards changes.
struct Waits {
    /// The changes of the map.
    changes: watch::Receiver<u64>,
    next: Backoff,
}

impl Waits {
    fn new(changes: watch::Receiver<u64>) -> Self {
        Self {
            changes,
            next: Self::from_the_shortest(),
        }
    }

    fn from_the_shortest() -> Backoff {
        Backoff::new(WAITS.0, WAITS.1, rand::random())
    }

    /// Takes in that the map is looked at now: what changes from here on is news.
    fn look(&mut self) {
        self.changes.mark_unchanged();
    }

    /// Waits for the next moment to ask, or for news since the map was looked at.
    async fn wait(&mut self, left: Duration) {
        let wait = self.next.next().unwrap_or(WAITS.1).min(left);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Ok(()) = self.changes.changed() => {
                // The registry may show a primary before that knows of it itself: it is not to be waited for as one that is down.
                self.next = Self::from_the_shortest();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const LEFT: Duration = Duration::from_secs(60);

    async fn took(waits: &mut Waits) -> Duration {
        let begun = Instant::now();
        waits.wait(LEFT).await;
        begun.elapsed()
    }

    /// Waits as after a primary that has not answered for long.
    async fn patient(changes: watch::Receiver<u64>) -> Waits {
        let mut waits = Waits::new(changes);
        for _ in 0..10 {
            took(&mut waits).await;
        }
        assert!(WAITS.1 / 2 <= took(&mut waits).await);
        waits
    }

    #[tokio::test(start_paused = true)]
    async fn a_primary_that_the_map_has_just_shown_is_asked_again_soon() {
        let (news, changes) = watch::channel(0);
        let mut waits = patient(changes).await;
        waits.look();
        let shown = async {
            tokio::time::sleep(WAITS.0).await;
            news.send(1).expect("somebody listens");
        };
        let (waited, ()) = tokio::join!(took(&mut waits), shown);
        assert!(waited < WAITS.0 * 2, "{waited:?}");
        // It does not know of it itself yet.
        waits.look();
        let next = took(&mut waits).await;
        assert!(next < WAITS.0 * 2, "{next:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn news_that_came_while_a_node_was_asked_end_the_wait_before_it_begins() {
        let (news, changes) = watch::channel(0);
        let mut waits = patient(changes).await;
        waits.look();
        news.send(1).expect("somebody listens");
        assert_eq!(took(&mut waits).await, Duration::ZERO);
        news.send(2).expect("somebody listens");
        waits.look();
        assert!(
            Duration::ZERO < took(&mut waits).await,
            "that was looked at"
        );
    }
}
