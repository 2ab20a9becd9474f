//! Gates: writers of a shard hold it open together, and a copy closes it for the moment in which it looks.

use std::{
    collections::BTreeMap,
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
    pub(super) written: BTreeMap<ShardId, Vec<Vec<u8>>>,
}

/// The right to write one key, while it is held.
///
/// It keeps the shard from changing hands. What was written under it is part of whatever operation is under way; it counts as written also
/// if the write has failed.
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
            let pending = kept.written.get(shard).map_or(0, Vec::len);
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
                written.append(&mut self.keys);
            }
        }
    }
}
