//! The keyspace's writer: the node that does what one node at a time may do.
//!
//! It is the one that has the primary of the catalog shard. Before it begins, it writes the epoch of that into every shard; from then
//! on a shard refuses what an earlier writer still sends, so that two of them never decide about the same rows.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::future::try_join_all;
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_sql::{
    Value,
    shards::{Fault, Fragment},
};
use shardwright_topology::{Backoff, Epoch};
use tokio::{sync::watch, task::spawn_blocking};

use super::{
    cluster::Cluster,
    engine::{Engine, Present},
    host::WRITER,
    numbers::Numbering,
    wire::{Ask, Basis, CommitLevel},
};
use crate::shard::Shard;

/// Writes down who the writer is, unless a later one has.
const CLAIM: &str = "INSERT INTO main._meta(key, value) VALUES (?1, ?2)
    ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value < excluded.value";

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The waits between two attempts.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Takes the part of the writer whenever it falls to this node, and says so in `role`.
pub(super) async fn keep(engine: Engine, present: Present, role: watch::Sender<Option<u64>>) {
    // No shard takes the place of the catalog.
    let catalog = engine.cluster.names.catalog().clone();
    loop {
        let (shard, epoch) = until_leading(&engine.cluster, &catalog).await;
        let mut status = shard.status();
        let lost = status.wait_for(|status| status.leading() != Some(epoch));
        tokio::select! {
            () = take(engine.clone(), present.clone(), epoch, &role) => {}
            _ = lost => {}
        }
        role.send_replace(None);
    }
}

/// Takes the part, and keeps it until this is dropped. Ends what is left of changes that did not reach every shard, whenever there is
/// something.
async fn take(
    mut engine: Engine,
    mut present: Present,
    epoch: Epoch,
    role: &watch::Sender<Option<u64>>,
) {
    let waits = || Backoff::new(WAITS.0, WAITS.1, rand::random());
    let mut until_next = waits();
    loop {
        // With the shards of now: where some were split or merged, those that came know what the others knew.
        if let Some(now) = &*present.borrow_and_update() {
            engine = now.clone();
        }
        let prepared = prepare(&engine, epoch).await;
        // Where an earlier change cannot be ended, statements that it concerns are refused for that, and others go on.
        if prepared
            .as_ref()
            .err()
            .is_none_or(PrepareError::is_of_change)
            && role.borrow().is_none()
        {
            tracing::info!(%epoch, "this node is the writer of the keyspace");
            role.send_replace(Some(epoch.0));
        }
        if let Err(error) = prepared {
            tracing::warn!(%error, %epoch, "the writer of the keyspace has not ended what was begun before");
            let wait = tokio::time::sleep(until_next.next().unwrap_or(WAITS.1));
            tokio::select! {
                () = wait => {}
                Ok(()) = present.changed() => {}
            }
        } else {
            engine.unfinished.notified().await;
            until_next = waits();
        }
    }
}

/// Makes the shards refuse earlier writers, and ends what those have begun.
async fn prepare(engine: &Engine, epoch: Epoch) -> Result<(), PrepareError> {
    let cluster = &engine.cluster;
    let numbering = Numbering::Calls;
    let claims = cluster.names.all().map(|shard| {
        let ask = claim(epoch, &numbering);
        async move {
            let deadline = cluster.deadline(PATIENCE);
            let claimed = cluster.ask(shard, &ask, deadline).await.map(drop);
            claimed.map_err(|unanswered| unanswered.fault)
        }
    });
    try_join_all(claims).await.map_err(PrepareError::Claim)?;
    cluster.claimed.store(epoch.0, Ordering::Release);
    take_over(engine).await
}

async fn take_over(engine: &Engine) -> Result<(), PrepareError> {
    let database = engine.database.clone();
    let prepared = spawn_blocking(move || database.take_over()).await;
    prepared
        .map_err(|_| PrepareError::Panic)?
        .map_err(PrepareError::Engine)
}

fn claim(epoch: Epoch, numbering: &Numbering) -> Ask {
    let number = i64::try_from(epoch.0).unwrap_or(i64::MAX);
    let values = vec![Value::from(WRITER), Value::Integer(number)];
    Ask::Write {
        basis: Basis::default(),
        number: numbering.next(shardwright_sql::shards::Place::Catalog),
        unit: vec![Fragment::new(CLAIM, values)],
        level: CommitLevel::Quorum,
    }
}

/// Waits until this node has the primary of a shard, and returns its copy and since when.
async fn until_leading(cluster: &Cluster, shard: &PartitionId) -> (Shard, Epoch) {
    loop {
        let copies = cluster.host.copies();
        // Told before it is looked, so that no change is missed.
        let changed = copies.changed();
        let Some(copy) = copies.shard(shard) else {
            changed.await;
            continue;
        };
        let mut status = copy.status();
        let leading = tokio::select! {
            Ok(status) = status.wait_for(|status| status.leading().is_some()) => status.leading(),
            () = changed => None,
        };
        if let Some(epoch) = leading {
            return (copy, epoch);
        }
    }
}

/// Why the writer cannot begin, or go on.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("a shard does not take its epoch: {0}")]
    Claim(Fault),
    #[error(transparent)]
    Engine(shardwright_sql::Error),
    #[error("a thread failed")]
    Panic,
}

impl PrepareError {
    /// Whether it is an earlier change that no shard can be made to take.
    fn is_of_change(&self) -> bool {
        matches!(
            self,
            Self::Engine(shardwright_sql::Error::CannotFinish { .. })
        )
    }
}
