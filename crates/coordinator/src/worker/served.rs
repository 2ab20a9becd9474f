//! What a worker may serve at this moment, for threads that ask all the time.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use shardwright_rebalancer::PartitionId;
use shardwright_registry::Clock;
use shardwright_topology::{Epoch, Timestamp};

use crate::protocol::Assignment;

/// The shards that a worker serves, and until when it may.
#[derive(Debug)]
pub(super) struct Served {
    clock: Clock,
    /// In nanoseconds of the clock; 0 before the first lease.
    ends_at: AtomicU64,
    shards: ArcSwap<HashMap<PartitionId, Assignment>>,
}

impl Served {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            ends_at: AtomicU64::new(0),
            shards: ArcSwap::default(),
        }
    }

    /// Whether anything may be served at this moment.
    pub(super) fn holds(&self) -> bool {
        let now = u64::try_from(self.clock.now().0.as_nanos()).unwrap_or(u64::MAX);
        now < self.ends_at.load(Ordering::Acquire)
    }

    /// The list is read before the clock: a list that was put in place later than the moment is not asked about it.
    pub(super) fn epoch_of(&self, partition: &PartitionId) -> Option<Epoch> {
        let shards = self.shards.load();
        let epoch = shards.get(partition)?.epoch;
        self.holds().then_some(epoch)
    }

    pub(super) fn all(&self) -> Vec<Assignment> {
        let shards = self.shards.load();
        if !self.holds() {
            return Vec::new();
        }
        let mut all: Vec<_> = shards.values().cloned().collect();
        all.sort_by(|a, b| a.partition.cmp(&b.partition));
        all
    }

    pub(super) fn set_end(&self, end: Option<Timestamp>) {
        let nanos = end.map_or(0, |end| u64::try_from(end.0.as_nanos()).unwrap_or(u64::MAX));
        self.ends_at.store(nanos, Ordering::Release);
    }

    pub(super) fn set_shards<'a>(&self, serving: impl Iterator<Item = &'a Assignment>) {
        let serving: Vec<_> = serving.collect();
        let shown = self.shards.load();
        let is_shown = |each: &&Assignment| shown.get(&each.partition) == Some(*each);
        if serving.len() == shown.len() && serving.iter().all(is_shown) {
            return;
        }
        let shards = serving.into_iter();
        let shards = shards.map(|each| (each.partition.clone(), each.clone()));
        self.shards.store(std::sync::Arc::new(shards.collect()));
    }
}
