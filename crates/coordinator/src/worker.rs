//! The worker: a process that serves what the coordinator assigns to it.
//!
//! A [`Worker`] registers at a coordinator, answers its pings at [`WORKER_PATH`](crate::protocol::WORKER_PATH), and runs two callbacks:
//! one that begins to serve a shard, one that stops. Between the two, [`Worker::is_serving`] says at each moment whether it still may:
//! a worker that is cut off, or was stopped for a while, finds that its lease has ended.

mod builder;
mod copies;
mod driver;
mod event;
pub mod machine;
mod registrar;
mod served;
mod session;

use std::{sync::Arc, time::Duration};

use shardwright_rebalancer::PartitionId;
use shardwright_topology::{Epoch, NodeId};
use tokio::sync::{oneshot, watch};

pub use self::{
    builder::{CallbackResult, WorkerBuilder},
    copies::Copies,
};
use self::{
    driver::{Entrance, Heard},
    served::Served,
};
use crate::protocol::Assignment;

/// A running worker. A clone is the same one.
#[doc(alias = "NewServer")]
#[derive(Debug, Clone)]
pub struct Worker {
    id: NodeId,
    served: Arc<Served>,
    entrance: Entrance,
    state: watch::Receiver<Standing>,
}

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Whether a coordinator has registered it.
    pub registered: bool,
    /// Whether a worker that leaves has nothing left that others could take.
    pub drained: bool,
    /// Whether no callback runs or is to be run.
    pub idle: bool,
}

impl Worker {
    /// Returns the builder of a worker.
    ///
    /// `address` is where coordinators reach it, such as `http://10.0.0.7:9090`; `coordinators` are the addresses of some or all of
    /// them.
    #[must_use]
    pub fn builder(
        id: NodeId,
        address: impl Into<String>,
        coordinators: Vec<String>,
    ) -> WorkerBuilder {
        WorkerBuilder::new(id, address.into(), coordinators)
    }

    /// Returns its name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Returns the epoch at which this worker may serve a shard at this moment; `None` if it may not. Takes no lock.
    #[must_use]
    pub fn is_serving(&self, partition: &PartitionId) -> Option<Epoch> {
        self.served.epoch_of(partition)
    }

    /// Returns what this worker may serve at this moment.
    #[must_use]
    pub fn serving(&self) -> Vec<Assignment> {
        self.served.all()
    }

    /// Returns whether this worker's lease holds at this moment: it is registered, and may serve what it has been given. Takes no lock.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        self.served.holds()
    }

    /// Tells coordinators how far this worker's copy of a shard is, in whatever the service counts, and whether it has all that was
    /// acknowledged. When the primary is down, the replica that is in sync and the furthest is promoted. Forgotten when the worker stops
    /// serving the shard.
    pub fn report_progress(
        &self,
        partition: PartitionId,
        position: Option<u64>,
        in_sync: Option<bool>,
    ) {
        // A worker that has ended has nothing to report.
        let _sent = self.entrance.heard.send(Heard::Progress {
            partition,
            position,
            in_sync,
        });
    }

    /// Waits until a coordinator has registered the worker.
    pub async fn registered(&self) {
        let mut state = self.state.clone();
        // A worker that has stopped will never be registered, and whoever waits learns it by that.
        let _state = state.wait_for(|state| state.registered).await;
    }

    /// Leaves: what the worker serves goes to others first. Returns whether that was done within `limit`; then, or when there is nobody
    /// to take it, the worker stops serving, says so, and is forgotten.
    pub async fn leave(&self, limit: Duration) -> bool {
        let (done, left) = oneshot::channel();
        let asked = self.entrance.heard.send(Heard::Leave { limit, done });
        asked.is_ok() && left.await.unwrap_or(false)
    }

    /// The routes to mount in the worker's own router: its `/shardz`.
    pub fn router(&self) -> axum::Router {
        driver::router(self.entrance.clone())
    }
}
