//! What the registry says of the shards of a node.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use rand::RngCore;
use shardwright_registry::{Prefix, Records, Revision, Seen, Store, Stored, watch_below};
use shardwright_topology::{Backoff, ConfigId, Epoch, ShardId, ShardRecord};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{MissedTickBehavior, interval, sleep},
};

/// The first and the longest pause after the registry could not be read.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How many records are read again at once. With more shards than that, each is read less often.
const AGAIN_MAX: usize = 64;

/// The records of the shards of which a node has copies, as they change: one watch for all of them, and a reading now and then in case
/// that shows nothing. Clones are the same.
#[derive(Debug, Clone)]
pub struct ShardRecords {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    records: Records<ShardRecord>,
    followed: Mutex<BTreeMap<ShardId, watch::Sender<Latest>>>,
    wanted: Notify,
}

/// The newest record seen.
pub(super) type Latest = Option<(Revision, Arc<ShardRecord>)>;

#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What became of an attempt to activate a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    /// It is active.
    Done,
    /// Another one has taken its place.
    Superseded,
    /// Nobody knows yet.
    Unknown,
}

impl ShardRecords {
    /// Follows the shard records below a prefix of a store, and reads those that are wanted again every `again`, so many at once that a
    /// registry can bear it.
    #[must_use]
    pub fn follow(store: Arc<dyn Store>, prefix: Prefix, again: Duration) -> Self {
        let shared = Arc::new(Shared {
            records: Records::new(Arc::clone(&store), prefix),
            store,
            followed: Mutex::default(),
            wanted: Notify::new(),
        });
        let task = tokio::spawn(run(Arc::clone(&shared), again));
        let task = Arc::new(Task(task.abort_handle()));
        Self {
            shared,
            _task: task,
        }
    }

    /// Returns the record of a shard as it changes; revisions only grow.
    pub(super) fn watch(&self, shard: &ShardId) -> watch::Receiver<Latest> {
        let mut followed = self.shared.followed();
        let sender = followed
            .entry(shard.clone())
            .or_insert_with(|| watch::channel(None).0);
        self.shared.wanted.notify_one();
        sender.subscribe()
    }

    /// Makes a pending configuration the active one.
    pub(super) async fn activate(
        &self,
        shard: &ShardId,
        config_id: ConfigId,
        epoch: Epoch,
    ) -> Activation {
        let records = &self.shared.records;
        let next = |record: &ShardRecord| Ok(record.activate(config_id).unwrap_or(record.clone()));
        match records.update(shard, next).await {
            Ok(stored) => {
                let active = stored.value.active.as_ref();
                let is_active = active.is_some_and(|active| active.config_id == config_id);
                // A listing may lag behind the attempt.
                let is_past = stored.value.epoch >= epoch;
                self.shared.show(stored);
                match (is_active, is_past) {
                    (true, _) => Activation::Done,
                    (false, true) => Activation::Superseded,
                    (false, false) => Activation::Unknown,
                }
            }
            Err(error) => {
                tracing::warn!(%shard, %error, "it is not known whether a configuration is active");
                Activation::Unknown
            }
        }
    }
}

impl Shared {
    fn followed(&self) -> MutexGuard<'_, BTreeMap<ShardId, watch::Sender<Latest>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, stored: Stored<ShardRecord>) {
        let followed = self.followed();
        let Some(sender) = followed.get(&stored.value.id) else {
            return;
        };
        sender.send_if_modified(|latest| {
            let is_newer = latest
                .as_ref()
                .is_none_or(|(seen, _)| *seen < stored.revision);
            if is_newer {
                *latest = Some((stored.revision, Arc::new(stored.value)));
            }
            is_newer
        });
    }

    /// Returns the shards of which nothing is known yet.
    fn unknown(&self) -> Vec<ShardId> {
        let followed = self.followed();
        let unknown = followed
            .iter()
            .filter(|(_, sender)| sender.borrow().is_none());
        unknown.map(|(shard, _)| shard.clone()).collect()
    }

    /// Returns the shards whose turn it is to be read again, after the one that was read last.
    fn next_turn(&self, last: &mut Option<ShardId>) -> Vec<ShardId> {
        let mut followed = self.followed();
        followed.retain(|_, sender| !sender.is_closed());
        let after = match last.as_ref() {
            Some(last) => followed.range::<ShardId, _>((Excluded(last), Unbounded)),
            None => followed.range::<ShardId, _>(..),
        };
        let turn: Vec<_> = after
            .take(AGAIN_MAX)
            .map(|(shard, _)| shard.clone())
            .collect();
        // After the last one the first one has its turn again.
        *last = turn.last().filter(|_| turn.len() == AGAIN_MAX).cloned();
        turn
    }

    async fn read(&self, wanted: Vec<ShardId>) {
        for shard in wanted {
            match self.records.get(&shard).await {
                Ok(Some(stored)) => self.show(stored),
                Ok(None) => {}
                Err(error) => tracing::debug!(%shard, %error, "a shard record cannot be read"),
            }
        }
    }
}

async fn run(shared: Arc<Shared>, again: Duration) {
    let watched = async {
        let mut seen = watch_below(Arc::clone(&shared.store), shared.records.prefix().clone());
        let backoff = || Backoff::new(PAUSES.0, PAUSES.1, rand::rng().next_u64());
        let mut waits = backoff();
        while let Some(next) = seen.next().await {
            match next {
                Ok(Seen::Shard(stored)) => {
                    waits = backoff();
                    shared.show(stored);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the registry cannot be followed");
                    sleep(waits.next().unwrap_or(PAUSES.1)).await;
                }
            }
        }
    };
    let read = async {
        let mut ticks = interval(again);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            let wanted = tokio::select! {
                _ = ticks.tick() => shared.next_turn(&mut last),
                () = shared.wanted.notified() => shared.unknown(),
            };
            shared.read(wanted).await;
        }
    };
    tokio::join!(watched, read);
}

#[cfg(test)]
mod tests {
    use shardwright_registry::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn each_record_has_its_turn() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let prefix = Prefix::new("shard/main/").expect("a prefix");
        let records = ShardRecords::follow(store, prefix, Duration::from_secs(60));
        let shards = (0..150).map(ShardId::numbered);
        let _watches: Vec<_> = shards.map(|shard| records.watch(&shard)).collect();
        let mut last = None;
        let turns = [(); 4].map(|()| records.shared.next_turn(&mut last));
        let counts: Vec<_> = turns.iter().map(Vec::len).collect();
        assert_eq!(
            counts,
            [AGAIN_MAX, AGAIN_MAX, 150 - 2 * AGAIN_MAX, AGAIN_MAX]
        );
        assert_eq!(turns[3], turns[0]);
        let mut all = turns[..3].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 150);
        assert_eq!(records.shared.unknown().len(), 150);
    }
}
