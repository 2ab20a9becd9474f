//! How much the shards have of which a node has the primaries, and what they are used for.
//!
//! Rows have to be counted, all others are known. What has not changed is not counted again; nor is what changes all the time, for whoever asks only
//! to see where the load is, as long as counting would take more than a small part of the time. Nor does such a one wait for a count that takes long:
//! it goes on without them, once for each shard, and until it has ended the last number counts.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_registry::Clock;
use shardwright_topology::{Lsn, Timestamp};
use tokio::sync::{Notify, Semaphore};

use super::{
    content,
    local::{Local, ShardCopies, read},
    refusals::not_fresh,
    wire::{Answer, Refusal, Said},
};
use crate::shard::{Fresh, ReadLevel, split::ShardCopy};

/// How many shards are counted at the same time for whoever does not want it exactly.
const AT_ONCE: usize = 4;

/// How long the counts that one question needs are waited for in all: less than it is waited for the answer.
const COUNTING: Duration = Duration::from_secs(5);

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
    /// The shards that are being counted, or are about to be, whoever waits for that.
    under_way: Arc<Mutex<HashSet<PartitionId>>>,
    /// Told when one of them is not any more.
    ended: Arc<Notify>,
    room: Arc<Semaphore>,
}

/// A shard that is being counted, until this is dropped.
struct UnderWay {
    counts: Counts,
    id: PartitionId,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.counts.under_way).remove(&self.id);
        self.counts.ended.notify_waiters();
    }
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
            under_way: Arc::default(),
            ended: Arc::default(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Counts {
    fn rows(&self, id: &PartitionId, at: Lsn, exactness: Rows) -> Option<u64> {
        let known = *lock(&self.known).get(id)?;
        let age = self.clock.now().since(known.since);
        let is_recent = exactness == Rows::Recent && age < known.took * SHARE;
        (known.at == at || is_recent).then_some(known.rows)
    }

    /// Remembers a number, and forgets those of shards that are not here any more.
    fn learn(&self, id: PartitionId, counted: Counted, is_here: impl Fn(&PartitionId) -> bool) {
        let mut known = lock(&self.known);
        if known.insert(id, counted).is_none() {
            known.retain(|id, _| is_here(id));
        }
    }

    /// Returns the last number, however old it is.
    fn last(&self, id: &PartitionId) -> Option<u64> {
        lock(&self.known).get(id).map(|known| known.rows)
    }

    /// Has a shard counted in a task of its own, unless that is under way, and waits for its end, but no longer than up to `until`.
    async fn counted<C: Future<Output = ()> + Send + 'static>(
        &self,
        id: &PartitionId,
        until: Timestamp,
        count: impl FnOnce() -> C,
    ) {
        if lock(&self.under_way).insert(id.clone()) {
            let (counts, id) = (self.clone(), id.clone());
            let under_way = UnderWay { counts, id };
            let (room, counting) = (Arc::clone(&self.room), count());
            tokio::spawn(async move {
                let _under_way = under_way;
                if let Ok(_permit) = room.acquire().await {
                    counting.await;
                }
            });
        }
        let ended = async {
            loop {
                let mut notified = std::pin::pin!(self.ended.notified());
                notified.as_mut().enable();
                if !lock(&self.under_way).contains(id) {
                    return;
                }
                notified.await;
            }
        };
        let within = until.since(self.clock.now());
        // What is not there in time is there for a later question.
        let _in_time = tokio::time::timeout(within, ended).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: ShardCopies> Local<S> {
    /// Returns how much each of these shards has and does, as far as this node is the primary and the rows were ever counted.
    pub(super) async fn metrics_of(&self, shards: Vec<PartitionId>) -> Vec<Answer> {
        let until = self.counts.clock.now() + COUNTING;
        let answers = stream::iter(shards).map(async |id| {
            let shard = self.copies.copy(&id);
            let shard = shard.ok_or(Refusal::NotPrimary { hint: None })?;
            if shard.standing().leads.is_none() {
                return Err(Refusal::NotPrimary { hint: None });
            }
            let fresh = whatever_is_there(&shard).await?;
            let rows = self.recent_rows(&id, &fresh, until).await?;
            said(&shard, &fresh, rows)
        });
        answers.buffered(AT_ONCE).collect().await
    }

    /// Returns how much a shard has and does at this moment.
    pub(super) async fn metrics(&self, id: &PartitionId, shard: &S::Copy, fresh: Fresh) -> Answer {
        let rows = match self.counts.rows(id, fresh.token.lsn, Rows::Exact) {
            Some(rows) => rows,
            None => self.count(id, shard, &fresh).await?,
        };
        said(shard, &fresh, rows)
    }

    /// Returns how many rows there were a while ago, of a shard that takes long to be counted.
    async fn recent_rows(
        &self,
        id: &PartitionId,
        fresh: &Fresh,
        until: Timestamp,
    ) -> Result<u64, Refusal> {
        let known = self.counts.rows(id, fresh.token.lsn, Rows::Recent);
        if let Some(rows) = known {
            return Ok(rows);
        }
        let (local, counting) = (self.clone(), id.clone());
        let count = move || async move {
            if let Err(refusal) = local.count_later(&counting).await {
                tracing::debug!(shard = %counting.shard, ?refusal, "rows were not counted");
            }
        };
        self.counts.counted(id, until, count).await;
        let not_yet = || Refusal::Later("its rows are being counted".into());
        self.counts.last(id).ok_or_else(not_yet)
    }

    /// Counts the rows that a shard has after others were counted. A copy that is not here any more by then does not go on for that.
    async fn count_later(&self, id: &PartitionId) -> Result<u64, Refusal> {
        let shard = self.copies.copy(id);
        let shard = shard.ok_or(Refusal::NotPrimary { hint: None })?;
        let fresh = whatever_is_there(&shard).await?;
        self.count(id, &shard, &fresh).await
    }

    async fn count(
        &self,
        id: &PartitionId,
        shard: &S::Copy,
        fresh: &Fresh,
    ) -> Result<u64, Refusal> {
        let placement = self.placement(id, shard, fresh).await?;
        let (at, since) = (fresh.token.lsn, self.counts.clock.now());
        let (counts, copies, id) = (self.counts.clone(), self.copies.clone(), id.clone());
        read(shard, fresh.clone(), move |snapshot| {
            let rows = content::count(snapshot, &placement)?;
            let counted = Counted {
                at,
                rows,
                since,
                took: counts.clock.now().since(since),
            };
            // Here, as whoever asked may have gone by now.
            counts.learn(id, counted, |id| copies.copy(id).is_some());
            Ok(Ok(rows))
        })
        .await
    }
}

/// Whoever was the primary a moment ago knows as well as anybody what the shard is used for: no member has to be asked.
async fn whatever_is_there(shard: &impl ShardCopy) -> Result<Fresh, Refusal> {
    let fresh = shard.fresh(ReadLevel::Any, Duration::ZERO).await;
    fresh.map_err(not_fresh)
}

fn said(shard: &impl ShardCopy, fresh: &Fresh, rows: u64) -> Answer {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

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
    #[tokio::test]
    async fn a_count_that_takes_long_goes_on_once_and_counts_for_the_next_question() {
        let (counts, id) = (Counts::default(), PartitionId::from(ShardId::numbered(1)));
        let (begun, goes_on) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
        let count = || {
            let (counts, id, begun) = (counts.clone(), id.clone(), Arc::clone(&begun));
            let goes_on = Arc::clone(&goes_on);
            move || async move {
                begun.fetch_add(1, Ordering::SeqCst);
                goes_on.acquire().await.expect("it is open").forget();
                let counted = Counted {
                    at: Lsn(7),
                    rows: 100,
                    since: Timestamp::default(),
                    took: Duration::ZERO,
                };
                counts.learn(id, counted, |_| true);
            }
        };
        let at_once = Timestamp::default();
        counts.counted(&id, at_once, count()).await;
        counts.counted(&id, at_once, count()).await;
        assert_eq!(counts.last(&id), None, "nobody waits for it");
        goes_on.add_permits(1);
        let later = counts.clock.now() + Duration::from_secs(600);
        counts.counted(&id, later, count()).await;
        assert_eq!(counts.last(&id), Some(100));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        goes_on.add_permits(1);
        counts.counted(&id, later, count()).await;
        assert_eq!(begun.load(Ordering::SeqCst), 2, "it is counted anew");
    }
}
