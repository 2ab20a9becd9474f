//! The comparison of copies in the background: of those shards that the node has the primary of, one after the other, now and then.

use std::{collections::BTreeMap, sync::Weak, time::Duration};

use rand::Rng;
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_quorum::log::peer::{Content, Contents};
use shardwright_registry::Clock;
use shardwright_topology::{Lsn, ShardId, Timestamp};

use super::copies::{Copies, Shared};
use crate::shard::{ScrubOptions, Shard};

/// When copies are compared, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrubbing {
    /// How long it takes from one comparison of a shard's copies to the next. A day.
    pub every: Duration,
    /// How they are compared.
    pub options: ScrubOptions,
}

impl Default for Scrubbing {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(24 * 60 * 60),
            options: ScrubOptions::default(),
        }
    }
}

/// How often it is looked which shards there are, at most and at least.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));

/// Compares copies until the node stops.
pub(super) async fn run(copies: Weak<Shared>, scrubbing: Scrubbing) {
    let clock = Clock::start();
    let mut due = BTreeMap::new();
    loop {
        tokio::time::sleep((scrubbing.every / 10).clamp(LOOK.0, LOOK.1)).await;
        let Some(copies) = copies.upgrade().map(Copies::of) else {
            return;
        };
        let Some(shards) = copies.leading() else {
            return;
        };
        drop(copies);
        plan(&mut due, &shards, clock.now(), scrubbing.every);
        for (partition, shard) in shards {
            let now = clock.now();
            let Some(at) = due.get_mut(&partition).filter(|at| **at <= now) else {
                continue;
            };
            *at = now + scrubbing.every;
            scrub(&partition, &shard, scrubbing.options).await;
        }
    }
}

/// Lets each shard have its turn: a new one at any moment, so that not all come at once.
fn plan(
    due: &mut BTreeMap<PartitionId, Timestamp>,
    shards: &[(PartitionId, Shard)],
    now: Timestamp,
    every: Duration,
) {
    due.retain(|partition, _| shards.iter().any(|(other, _)| other == partition));
    for (partition, _) in shards {
        let first = || now + every.mul_f64(rand::rng().random());
        due.entry(partition.clone()).or_insert_with(first);
    }
}

async fn scrub(partition: &PartitionId, shard: &Shard, options: ScrubOptions) {
    match shard.scrub(options).await {
        Ok(found) if found.differing.is_empty() && found.undecided == 0 => {
            metrics::counter!("shardwright_scrubs_total", "result" => "equal").increment(1);
            tracing::debug!(shard = %partition, ?found, "compared the copies");
        }
        Ok(found) => {
            metrics::counter!("shardwright_scrubs_total", "result" => "different").increment(1);
            tracing::error!(shard = %partition, ?found, "copies differ");
        }
        Err(error) => {
            metrics::counter!("shardwright_scrubs_total", "result" => "broken-off").increment(1);
            tracing::debug!(shard = %partition, %error, "did not compare all of the copies");
        }
    }
}

/// What other nodes are told of the copies here.
pub(super) struct Shown(pub(super) Weak<Shared>);

impl Contents for Shown {
    fn content(&self, shard: &ShardId, lsn: Lsn) -> Option<Content> {
        let copies = Copies::of(self.0.upgrade()?);
        copies.by_id(shard)?.content(lsn)
    }
}
