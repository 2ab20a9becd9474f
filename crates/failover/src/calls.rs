//! What both drivers ask of the store: writes with a patience, reads, and the stream of all records.

use std::time::Duration;

use futures_util::StreamExt;
use shardwright_registry::{
    Entry, Error, Key, LeaseRecord, Leases, Prefix, RecordWatch, Registry, Revision, Seen,
    StoreError, Stored, WriteOutcome, decode,
};
use shardwright_topology::{Backoff, NodeId, NodeRecord, ShardRecord};
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
        let write = self.leases.records().put(key.last_name(), expected, record);
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
        let write = self.leases.records().put(key.last_name(), expected, record);
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
        let write = shards.put(key.last_name(), Some(expected), record);
        outcome(timeout(self.patience, write).await)
    }

    /// Reads a lease or a shard's record.
    pub(crate) async fn read(&self, key: Key) -> Option<Seen> {
        if key.as_str().starts_with("lease/") {
            return self.read_lease(key).await?.map(Seen::Lease);
        }
        let shards = self.registry.shards();
        let found = timeout(self.patience, shards.get(key.last_name())).await;
        found.ok()?.ok()?.map(Seen::Shard)
    }

    /// Reads a lease; `None` without an answer.
    pub(crate) async fn read_lease(&self, key: Key) -> Option<Option<Stored<LeaseRecord>>> {
        let read = self.leases.records().get(key.last_name());
        timeout(self.patience, read).await.ok()?.ok()
    }

    /// Reads the record of a node; `None` without one or an answer.
    pub(crate) async fn read_node(&self, node: &NodeId) -> Option<NodeRecord> {
        let nodes = self.registry.nodes();
        let found = timeout(self.patience, nodes.get(node)).await;
        found.ok()?.ok()?.map(|stored| stored.value)
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

/// Passes on everything that a watch shows, until nobody listens. While the store is away it waits longer and longer.
pub(crate) fn follow<T: Send + 'static>(
    mut records: RecordWatch,
    patience: Duration,
    seed: u64,
    heard: mpsc::UnboundedSender<T>,
    item: impl Fn(Seen) -> T + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
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
