//! Gates: writers of a shard hold it open together, and a copy closes it for the moment in which it looks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shardwright_registry::Clock;
use shardwright_topology::ShardId;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::{MemoryNode, StoreError};

/// The gates of the shards of one store, and the mirror of what operations do with them.
#[derive(Debug)]
pub(crate) struct Gates {
    pub(super) clock: Clock,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) mirror: MemoryNode,
    locks: BTreeMap<ShardId, Arc<RwLock<()>>>,
    /// The keys that were written and not yet looked at.
    pub(super) written: BTreeMap<ShardId, BTreeSet<Vec<u8>>>,
}

/// The right to write one key, or [several](WriteGuard::also) of one shard, while it is held.
///
/// It keeps the shard from changing hands. What was written under it is part of whatever operation is under way; it counts as written also
/// if the write has failed.
///
/// A task holds one guard at a time: a copy that waits for the first one lets nobody else in, so the second would wait for the first as well, until
/// [`Error::Busy`](crate::Error::Busy).
#[must_use = "a guard that is dropped at once guards nothing"]
#[derive(Debug)]
pub struct WriteGuard {
    shard: ShardId,
    keys: Vec<Vec<u8>>,
    hold: Option<(Arc<Gates>, OwnedRwLockReadGuard<()>)>,
}

impl Gates {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::start(),
            kept: Mutex::default(),
        }
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock(&self, shard: &ShardId) -> Arc<RwLock<()>> {
        self.kept().locks.entry(shard.clone()).or_default().clone()
    }

    /// Lets a writer in, once no copy looks.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        shard: &ShardId,
        key: &[u8],
    ) -> Result<WriteGuard, StoreError> {
        let held = self.lock(shard).read_owned().await;
        {
            let kept = self.kept();
            let pending = kept.written.get(shard).map_or(0, BTreeSet::len);
            kept.mirror.admit(self.clock.now(), shard, pending)?;
        }
        Ok(WriteGuard {
            shard: shard.clone(),
            keys: vec![key.to_vec()],
            hold: Some((self.clone(), held)),
        })
    }
}

impl WriteGuard {
    /// Returns a guard of a shard whose store itself refuses what comes too late.
    pub(crate) fn free(shard: ShardId) -> Self {
        Self {
            shard,
            keys: Vec::new(),
            hold: None,
        }
    }

    /// Takes in another key, and returns whether it may be written under this guard: it belongs to the same shard. Never waits.
    /// Under the guard of a store that was added by [`ManagerBuilder::store`](crate::ManagerBuilder::store) every key may: the store itself refuses.
    pub fn also(&mut self, key: impl AsRef<[u8]>) -> bool {
        let Some((gates, _)) = &self.hold else {
            return true;
        };
        let kept = gates.kept();
        let extent = kept.mirror.extent(&self.shard);
        let belongs = extent.is_ok_and(|extent| extent.contains(key.as_ref()));
        if belongs {
            self.keys.push(key.as_ref().to_vec());
        }
        belongs
    }

    /// Returns the shard to write to.
    #[must_use]
    pub fn shard(&self) -> &ShardId {
        &self.shard
    }
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        // Before the gate may close: who closes it finds the keys.
        if let Some((gates, _)) = &self.hold {
            let mut kept = gates.kept();
            if kept.mirror.is_followed(&self.shard) {
                let written = kept.written.entry(self.shard.clone()).or_default();
                written.extend(self.keys.drain(..));
            }
        }
    }
}
