//! Makes the changes that a machine wants.

use std::{sync::Arc, time::Duration};

use shardwright_registry::{
    Error, Key, LeaseRecord, PinRecord, Prefix, Record, Records, Revision, Seen, Store, StoreError,
    Stored,
};
use shardwright_topology::{Gap, Halts, NodeRecord, Operation, ShardRecord};
use tokio::sync::mpsc;

use super::Heard;
use crate::core::{Change, Event, Value, WriteId, WriteOutcome};

/// Makes a change in a task of its own and reports what became of it. After `limit` that is unknown.
pub(super) fn spawn(
    store: Arc<dyn Store>,
    write: WriteId,
    change: Change,
    limit: Duration,
    halts: Halts<Gap>,
    heard: mpsc::UnboundedSender<Heard>,
) {
    tokio::spawn(async move {
        let gap = change.gap;
        let written = tokio::time::timeout(limit, self::write(&store, change)).await;
        let (found, outcome) = written.unwrap_or((None, WriteOutcome::Unknown));
        if let (Some(gap), WriteOutcome::Done(_)) = (gap, &outcome) {
            halts.reached(gap);
        }
        // A driver that has stopped wants to know nothing.
        let _sent = heard.send(Heard::Wrote {
            write,
            found,
            outcome,
        });
    });
}

/// Reads the record of a shard in a task of its own and shows it. If that fails, it is asked for again.
pub(super) fn read_shard(
    store: Arc<dyn Store>,
    key: Key,
    limit: Duration,
    heard: mpsc::UnboundedSender<Heard>,
) {
    tokio::spawn(async move {
        let records = Records::<ShardRecord>::new(store, parent(&key));
        let found = tokio::time::timeout(limit, records.get(key.last_name())).await;
        if let Ok(Ok(Some(stored))) = found {
            // A driver that has stopped wants to know nothing.
            let _sent = heard.send(Heard::Event(Event::Found(Seen::Shard(stored))));
        }
    });
}

/// Makes a change. After a conflict, returns also what was in its way.
pub(super) async fn write(store: &Arc<dyn Store>, change: Change) -> (Option<Seen>, WriteOutcome) {
    let Change {
        key,
        expected,
        value,
        gap: _,
    } = change;
    match value {
        Some(Value::Node(record)) => {
            put::<NodeRecord>(store, key, expected, record, Seen::Node).await
        }
        Some(Value::Shard(record)) => {
            put::<ShardRecord>(store, key, expected, record, Seen::Shard).await
        }
        Some(Value::Lease(record)) => {
            put::<LeaseRecord>(store, key, expected, record, Seen::Lease).await
        }
        Some(Value::Operation(record)) => {
            put::<Operation>(store, key, expected, record, Seen::Operation).await
        }
        Some(Value::Pin(record)) => put::<PinRecord>(store, key, expected, record, Seen::Pin).await,
        None => delete(store, &key, expected).await,
    }
}

async fn put<T: Record>(
    store: &Arc<dyn Store>,
    key: Key,
    expected: Option<Revision>,
    record: T,
    seen: fn(Stored<T>) -> Seen,
) -> (Option<Seen>, WriteOutcome) {
    let records = Records::<T>::new(store.clone(), parent(&key));
    let name = key.last_name();
    match records.put(name, expected, record).await {
        Ok(stored) => (None, WriteOutcome::Done(stored.revision)),
        Err(Error::Store(StoreError::Conflict { .. })) => {
            let found = records.get(name).await.ok().flatten();
            (found.map(seen), WriteOutcome::Conflict)
        }
        Err(error) => {
            tracing::warn!(%error, "a write of the registry failed");
            (None, WriteOutcome::Unknown)
        }
    }
}

async fn delete(
    store: &Arc<dyn Store>,
    key: &Key,
    expected: Option<Revision>,
) -> (Option<Seen>, WriteOutcome) {
    let revision = expected.unwrap_or_default();
    match store.delete(key, revision).await {
        Ok(()) => (None, WriteOutcome::Done(revision)),
        Err(StoreError::Conflict { .. }) => (None, WriteOutcome::Conflict),
        Err(_) => (None, WriteOutcome::Unknown),
    }
}

fn parent(key: &Key) -> Prefix {
    let text = key.as_str();
    let end = text.rfind('/').map_or(0, |slash| slash + 1);
    Prefix::new(&text[..end]).expect("the beginning of a key is a prefix")
}
