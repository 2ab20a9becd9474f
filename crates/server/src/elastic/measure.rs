//! How much the shards have of which a node has the primaries, and what they are used for.
//!
//! Rows have to be counted, all others are known. What has not changed is not counted again; nor is what changes all the time, for whoever asks only
//! to see where the load is, as long as counting would take more than a small part of the time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_registry::Clock;
use shardwright_topology::{Lsn, Timestamp};

use super::{
    content,
    local::{Local, ShardCopies, read},
    refusals::not_fresh,
    wire::{Answer, Refusal, Said},
};
use crate::shard::{Fresh, ReadLevel, split::ShardCopy};

/// How many shards are measured at the same time for one question.
const AT_ONCE: usize = 4;

/// How much longer than it took to count rows the number counts for whoever does not want it exactly.
const SHARE: u32 = 20;

/// How exactly somebody wants to know the number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// As they are at this moment.
    Exact,
    /// As they were a while ago, if counting them takes long.
    Recent,
}

/// What was counted. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    clock: Clock,
    known: Arc<Mutex<HashMap<PartitionId, Counted>>>,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    /// The record after which it was counted: the rows are the same until the next one.
    at: Lsn,
    rows: u64,
    since: Timestamp,
    took: Duration,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            clock: Clock::start(),
            known: Arc::default(),
        }
    }
}

impl Counts {
    fn rows(&self, id: &PartitionId, at: Lsn, exactness: Rows) -> Option<u64> {
        let known = *self.lock().get(id)?;
        let age = self.clock.now().since(known.since);
        let is_recent = exactness == Rows::Recent && age < known.took * SHARE;
        (known.at == at || is_recent).then_some(known.rows)
    }

    /// Remembers a number, and forgets those of shards that are not here any more.
    fn learn(&self, id: PartitionId, counted: Counted, is_here: impl Fn(&PartitionId) -> bool) {
        let mut known = self.lock();
        if known.insert(id, counted).is_none() {
            known.retain(|id, _| is_here(id));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PartitionId, Counted>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: ShardCopies> Local<S> {
    /// Returns how much each of these shards has and does, as far as this node is the primary.
    pub(super) async fn metrics_of(&self, shards: Vec<PartitionId>) -> Vec<Answer> {
        let answers = stream::iter(shards).map(async |id| {
            let shard = self.copies.copy(&id);
            let shard = shard.ok_or(Refusal::NotPrimary { hint: None })?;
            if shard.standing().leads.is_none() {
                return Err(Refusal::NotPrimary { hint: None });
            }
            // Whoever it was a moment ago knows as well as anybody what the shard is used for: no member has to be asked.
            let fresh = shard.fresh(ReadLevel::Any, Duration::ZERO).await;
            let fresh = fresh.map_err(not_fresh)?;
            self.metrics(&id, &shard, fresh, Rows::Recent).await
        });
        answers.buffered(AT_ONCE).collect().await
    }

    pub(super) async fn metrics(
        &self,
        id: &PartitionId,
        shard: &S::Copy,
        fresh: Fresh,
        exactness: Rows,
    ) -> Answer {
        let rows = match self.counts.rows(id, fresh.token.lsn, exactness) {
            Some(rows) => rows,
            None => self.count(id, shard, &fresh).await?,
        };
        let bytes = fresh.file.size_bytes();
        let bytes = bytes.map_err(|error| Refusal::Later(error.to_string()))?;
        let usage = shard.usage();
        Ok(Said::Metrics {
            bytes,
            rows,
            reads: usage.reads_per_second,
            writes: usage.writes_per_second,
            cpu: usage.cpu,
        })
    }

    async fn count(
        &self,
        id: &PartitionId,
        shard: &S::Copy,
        fresh: &Fresh,
    ) -> Result<u64, Refusal> {
        let placement = self.placement(id, shard, fresh).await?;
        let (at, since) = (fresh.token.lsn, self.counts.clock.now());
        let counted = read(shard, fresh.clone(), move |snapshot| {
            Ok(Ok(content::count(snapshot, &placement)?))
        });
        let rows = counted.await?;
        let counted = Counted {
            at,
            rows,
            since,
            took: self.counts.clock.now().since(since),
        };
        let is_here = |id: &PartitionId| self.copies.copy(id).is_some();
        self.counts.learn(id.clone(), counted, is_here);
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::ShardId;

    use super::*;

    #[test]
    fn what_has_not_changed_is_not_counted_again() {
        let (counts, id) = (Counts::default(), PartitionId::from(ShardId::numbered(1)));
        let counted = |took| Counted {
            at: Lsn(7),
            rows: 100,
            since: counts.clock.now(),
            took,
        };
        assert_eq!(counts.rows(&id, Lsn(7), Rows::Exact), None);
        counts.learn(id.clone(), counted(Duration::ZERO), |_| true);
        assert_eq!(counts.rows(&id, Lsn(7), Rows::Exact), Some(100));
        assert_eq!(counts.rows(&id, Lsn(8), Rows::Recent), None);
        counts.learn(id.clone(), counted(Duration::from_secs(60)), |_| true);
        assert_eq!(counts.rows(&id, Lsn(8), Rows::Recent), Some(100));
        assert_eq!(counts.rows(&id, Lsn(8), Rows::Exact), None);
    }
}
