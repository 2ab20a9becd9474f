//! A journal in memory: for one process, whose shards end with it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use shardwright_topology::{Decision, OperationId, Phase, ShardId, Side};

use super::{Entry, Journal, JournalError, Version};
use crate::{Part, Record};

/// A journal in memory. Clones share what they hold.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    operations: BTreeMap<OperationId, Entry>,
    shards: BTreeMap<ShardId, Slot>,
    version: u64,
}

#[derive(Debug)]
struct Slot {
    part: Part,
    owns: bool,
    hold: Option<(OperationId, Side)>,
}

impl MemoryJournal {
    /// Returns a journal of shards that no operation holds.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        let slot = |part: Part| {
            let owns = true;
            let hold = None;
            (part.shard.clone(), Slot { part, owns, hold })
        };
        let kept = Kept {
            shards: parts.into_iter().map(slot).collect(),
            ..Kept::default()
        };
        Self {
            kept: Arc::new(Mutex::new(kept)),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn owns(&self, slot: &Slot) -> bool {
        let decision = slot.hold.as_ref().and_then(|(holder, side)| {
            let entry = self.operations.get(holder)?;
            match (entry.record.phase().decision(), side) {
                (Decision::Open, _) => None,
                (Decision::Commit, side) => Some(*side == Side::Target),
                (Decision::Abort, side) => Some(*side == Side::Source),
            }
        });
        decision.unwrap_or(slot.owns)
    }

    fn check_source(&self, record: &Record, part: &Part) -> Result<(), JournalError> {
        let shard = part.shard.clone();
        match self.shards.get(&shard) {
            Some(slot) => match &slot.hold {
                Some((holder, _)) if holder != record.id() => {
                    let holder = holder.clone();
                    Err(JournalError::Held { shard, holder })
                }
                Some(_) => Ok(()),
                None if slot.owns && slot.part == *part => Ok(()),
                None => Err(JournalError::Stale { shard }),
            },
            None => Err(JournalError::Stale { shard }),
        }
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn list(&self) -> Result<Vec<Entry>, JournalError> {
        Ok(self.kept().operations.values().cloned().collect())
    }

    async fn get(&self, id: &OperationId) -> Result<Option<Entry>, JournalError> {
        Ok(self.kept().operations.get(id).cloned())
    }

    async fn put(
        &self,
        record: &Record,
        expected: Option<Version>,
    ) -> Result<Version, JournalError> {
        let mut kept = self.kept();
        let found = kept.operations.get(record.id());
        if found.map(|entry| entry.version) != expected {
            let found = found.cloned().map(Box::new);
            return Err(JournalError::Conflict { found });
        }
        kept.version += 1;
        let version = Version(kept.version);
        let entry = Entry {
            record: record.clone(),
            version,
        };
        kept.operations.insert(record.id().clone(), entry);
        Ok(version)
    }

    async fn remove(&self, id: &OperationId, expected: Version) -> Result<(), JournalError> {
        let mut kept = self.kept();
        let found = kept.operations.get(id);
        if found.is_some_and(|entry| entry.version != expected) {
            let found = found.cloned().map(Box::new);
            return Err(JournalError::Conflict { found });
        }
        kept.operations.remove(id);
        Ok(())
    }

    async fn shards(&self) -> Result<Vec<Part>, JournalError> {
        let kept = self.kept();
        let owners = kept.shards.values().filter(|slot| kept.owns(slot));
        Ok(owners.map(|slot| slot.part.clone()).collect())
    }

    async fn hold(&self, record: &Record) -> Result<(), JournalError> {
        let mut kept = self.kept();
        let found = kept.operations.get(record.id());
        if found.is_none_or(|entry| entry.record.phase() != Phase::Planned) {
            let found = found.cloned().map(Box::new);
            return Err(JournalError::Conflict { found });
        }
        for part in &record.work.sources {
            kept.check_source(record, part)?;
        }
        for (side, parts) in [
            (Side::Source, &record.work.sources),
            (Side::Target, &record.work.targets),
        ] {
            for part in parts {
                let slot = Slot {
                    part: part.clone(),
                    owns: side == Side::Source,
                    hold: Some((record.id().clone(), side)),
                };
                kept.shards.insert(part.shard.clone(), slot);
            }
        }
        Ok(())
    }

    async fn resolve(&self, record: &Record) -> Result<(), JournalError> {
        let mut kept = self.kept();
        let owner = match record.phase().decision() {
            Decision::Open => return Ok(()),
            Decision::Commit => Side::Target,
            Decision::Abort => Side::Source,
        };
        kept.shards.retain(|_, slot| {
            let let_go = slot.hold.take_if(|(holder, _)| holder == record.id());
            if let Some((_, side)) = let_go {
                slot.owns = side == owner;
            }
            slot.owns || slot.hold.is_some()
        });
        Ok(())
    }
}
