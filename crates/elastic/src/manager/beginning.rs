//! How an operation begins: its shards are reserved, it is written down, and then it runs.
//!
//! From the reservation on all of it is done by a task of its own: a caller who stops waiting leaves nothing half done. The name of an operation is
//! chosen before it is written down, so if the journal does not say what became of that, the operation is looked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use shardwright_topology::{OperationId, ShardId};
use tokio::{sync::oneshot, time::timeout};

use super::{Inner, Notice};
use crate::{Entry, Error, JournalError, Record, Version, Work};

/// The shards of operations that are not written down yet, by their operation.
pub(super) type Reserved = BTreeMap<OperationId, Vec<ShardId>>;

/// Keeps the shards of an operation from all others, until it is dropped.
struct Reservation {
    inner: Arc<Inner>,
    operation: OperationId,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.inner.reserved().remove(&self.operation);
    }
}

impl Inner {
    /// Returns the operation that has a shard: nobody else may begin one with it.
    pub(super) fn operation_of(&self, shard: &ShardId) -> Option<OperationId> {
        self.holder(&self.reserved(), shard)
    }

    fn holder(&self, reserved: &Reserved, shard: &ShardId) -> Option<OperationId> {
        let running = self.running();
        let runs = running.iter().find(|(_, each)| each.holds(shard));
        let begins = || reserved.iter().find(|(_, shards)| shards.contains(shard));
        let runs = runs.map(|(id, _)| id.clone());
        runs.or_else(|| begins().map(|(id, _)| id.clone()))
    }

    fn reserved(&self) -> MutexGuard<'_, Reserved> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an operation down, and begins to run it.
    ///
    /// Dropped, it goes on nevertheless.
    pub(super) async fn begin(
        self: &Arc<Self>,
        id: OperationId,
        work: Work,
    ) -> Result<OperationId, Error> {
        if self.is_stopped() {
            return Err(Error::Closed);
        }
        let reservation = self.reserve(&id, &work)?;
        let record = Record::planned(id.clone(), self.keyspace.clone(), work)?;
        let (caller, told) = oneshot::channel();
        let inner = self.clone();
        tokio::spawn(async move {
            let outcome = inner.write_down(&record).await.map(|entry| {
                inner.tell(Notice::Begun {
                    operation: record.id().clone(),
                    kind: record.work.kind,
                    reason: record.work.reason,
                });
                inner.run(entry);
            });
            // By now it runs, or never will.
            drop(reservation);
            // Nobody has to wait.
            drop(caller.send(outcome));
        });
        match timeout(self.driver.settings().call_timeout, told).await {
            Ok(Ok(outcome)) => Ok(outcome.map(|()| id)?),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::Unsettled { operation: id }),
        }
    }

    /// Reserves the shards of an operation, if they are as it expects and nobody has them.
    fn reserve(self: &Arc<Self>, id: &OperationId, work: &Work) -> Result<Reservation, Error> {
        let mut reserved = self.reserved();
        for part in &work.sources {
            if let Some(operation) = self.holder(&reserved, &part.shard) {
                let shard = part.shard.clone();
                return Err(Error::InOperation { shard, operation });
            }
        }
        // Read after that: what has let go of a shard has changed the layout before.
        let layout = self.layout();
        for part in &work.sources {
            // Where it is says nothing of whether it is the same: a replicated shard may have another primary.
            let now = layout.part(part.shard.as_str());
            if now.is_none_or(|now| now.extent != part.extent) {
                let shard = part.shard.clone();
                return Err(Error::StalePlan { shard });
            }
        }
        let shards = work.sources.iter().map(|part| part.shard.clone());
        reserved.insert(id.clone(), shards.collect());
        Ok(Reservation {
            inner: self.clone(),
            operation: id.clone(),
        })
    }

    /// Writes an operation down, and returns how it is in the journal. If the journal does not say what became of a try, it is looked for, and
    /// tried again as long as it is not there: of several tries under one name at most one succeeds.
    async fn write_down(&self, record: &Record) -> Result<Entry, JournalError> {
        let ours = |found: &Entry| found.record.work == record.work;
        let mut is_unsettled = false;
        loop {
            match self.put_new(record).await {
                Ok(version) => {
                    let record = record.clone();
                    return Ok(Entry { record, version });
                }
                Err(JournalError::Conflict { found: Some(found) })
                    if is_unsettled && ours(&found) =>
                {
                    return Ok(*found);
                }
                Err(JournalError::Unknown(_)) => is_unsettled = true,
                // This try changed nothing, and the one before may have.
                Err(_) if is_unsettled => {}
                Err(error) => return Err(error),
            }
            let journal = self.driver.journal();
            let found = timeout(
                self.driver.settings().call_timeout,
                journal.get(record.id()),
            );
            match found.await {
                Ok(Ok(Some(found))) if ours(&found) => return Ok(found),
                _ => tokio::time::sleep(self.driver.settings().retry).await,
            }
        }
    }

    async fn put_new(&self, record: &Record) -> Result<Version, JournalError> {
        let within = self.driver.settings().call_timeout;
        let written = timeout(within, self.driver.journal().put(record, None));
        written.await.unwrap_or_else(|_| {
            let silent = format!("the journal has said nothing within {within:?}");
            Err(JournalError::Unknown(silent.into()))
        })
    }
}
