//! What both drivers ask of the store: writes with a patience, reads, and the stream of all records.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use shardwright_registry::{
    Entry, Error, Key, LeaseRecord, Leases, Prefix, Record, Records, Registry, Revision, Seen,
    Store, StoreError, Stored, WriteOutcome, decode, watch_records,
};
use shardwright_topology::{Backoff, NodeId, ShardRecord};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::{Copies, Reports, Written};

/// The store of a driver, and how long it waits for an answer.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    pub(crate) registry: Registry,
    leases: Leases,
    patience: Duration,
}

impl Calls {
    pub(crate) fn new(registry: Registry, timing: shardwright_registry::LeaseTiming) -> Self {
        Self {
            leases: Leases::new(registry.store().clone(), timing),
            patience: timing.renew_every(),
            registry,
        }
    }

    pub(crate) fn timing(&self) -> shardwright_registry::LeaseTiming {
        self.leases.timing()
    }

    /// Writes a lease, and tells what became of it as an election asks.
    pub(crate) async fn write_lease(
        &self,
        key: Key,
        expected: Option<Revision>,
        record: LeaseRecord,
    ) -> WriteOutcome {
        let write = write(self.leases.records(), key, expected, record);
        match timeout(self.patience, write).await {
            Ok(Ok(stored)) => WriteOutcome::Written(stored.revision),
            Ok(Err(Error::Store(StoreError::Conflict { found, .. }))) => {
                WriteOutcome::Conflict(found.and_then(|found| readable(*found)))
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a lease was not written");
                WriteOutcome::Failed
            }
            Err(_) => WriteOutcome::Failed,
        }
    }

    /// Writes the lease of somebody else.
    pub(crate) async fn fence(
        &self,
        key: Key,
        expected: Option<Revision>,
        record: LeaseRecord,
    ) -> Written {
        let write = write(self.leases.records(), key, expected, record);
        outcome(timeout(self.patience, write).await)
    }

    /// Writes a shard's record.
    pub(crate) async fn write_shard(
        &self,
        key: Key,
        expected: Revision,
        record: ShardRecord,
    ) -> Written {
        let shards = self.registry.shards();
        let write = write(&shards, key, Some(expected), record);
        outcome(timeout(self.patience, write).await)
    }

    /// Reads a lease or a shard's record.
    pub(crate) async fn read(&self, key: Key) -> Option<Seen> {
        let name = key.last_name();
        if key.as_str().starts_with("lease/") {
            let found = timeout(self.patience, self.leases.records().get(name)).await;
            return found.ok()?.ok()?.map(Seen::Lease);
        }
        let shards = self.registry.shards();
        let found = timeout(self.patience, shards.get(name)).await;
        found.ok()?.ok()?.map(Seen::Shard)
    }

    /// Reads what all nodes say of their copies. One that cannot be read says nothing.
    pub(crate) async fn read_reports(&self) -> Option<Reports> {
        let prefix = reports_prefix(&self.registry);
        let listing = match timeout(self.patience, self.registry.store().list(&prefix)).await {
            Ok(Ok(listing)) => listing,
            Ok(Err(error)) => {
                tracing::warn!(%error, "reports of copies were not read");
                return None;
            }
            Err(_) => {
                tracing::warn!("reports of copies were not read in time");
                return None;
            }
        };
        Some(Reports {
            copies: listing.entries.iter().filter_map(reported).collect(),
            revision: listing.revision,
        })
    }
}

/// Where the reports of a keyspace's nodes are.
pub(crate) fn reports_prefix(registry: &Registry) -> Prefix {
    Prefix::new(format!("copy/{}/", registry.name())).expect("a keyspace's name makes a prefix")
}

fn reported(entry: &Entry) -> Option<(NodeId, Copies)> {
    match decode::<Copies>(&entry.value) {
        Ok(copies) => Some((copies.node.clone(), copies)),
        Err(error) => {
            tracing::warn!(key = %entry.key, %error, "a report of copies cannot be read");
            None
        }
    }
}

async fn write<T: Record + Clone>(
    records: &Records<T>,
    key: Key,
    expected: Option<Revision>,
    value: T,
) -> Result<Stored<T>, Error> {
    match expected {
        None => records.create(key.last_name(), value).await,
        Some(revision) => {
            let current = Stored {
                key,
                value: value.clone(),
                revision,
            };
            records.replace(&current, value).await
        }
    }
}

fn outcome<T>(answer: Result<Result<Stored<T>, Error>, tokio::time::error::Elapsed>) -> Written {
    match answer {
        Ok(answer) => Written::of(&answer),
        // The call was dropped on its way.
        Err(_) => Written::Unknown,
    }
}

fn readable(entry: Entry) -> Option<Stored<LeaseRecord>> {
    let Entry {
        key,
        value,
        revision,
    } = entry;
    decode(&value).ok().map(|value| Stored {
        key,
        value,
        revision,
    })
}

/// Passes on everything that the store shows, until nobody listens. While the store is away it waits longer and longer.
pub(crate) fn follow<T: Send + 'static>(
    store: Arc<dyn Store>,
    patience: Duration,
    seed: u64,
    heard: mpsc::UnboundedSender<T>,
    item: impl Fn(Seen) -> T + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut records = watch_records(store);
        let backoff = || Backoff::new(patience / 50, patience / 3, seed);
        let mut waits = backoff();
        while let Some(seen) = records.next().await {
            match seen {
                Ok(seen) => {
                    if heard.send(item(seen)).is_err() {
                        return;
                    }
                    waits = backoff();
                }
                Err(error) => {
                    tracing::warn!(%error, "the registry cannot be watched");
                    tokio::time::sleep(waits.next().unwrap_or(patience)).await;
                }
            }
        }
    })
}
