//! The control plane: one elected coordinator assigns shards to workers, so that each is served by exactly one.
//!
//! A [`Coordinator`] runs in as many processes as you like, over one [store](shardwright_registry::Store); one of them leads. A
//! [`Worker`](worker::Worker) registers, is pinged, and begins or stops to serve shards as it is told. What it serves, and until when
//! it may, it can ask at every moment.
//!
//! ```
//! use std::sync::Arc;
//! use shardwright_coordinator::{
//!     Coordinator,
//!     core::{Command, Settings},
//!     rebalancer::ReplicaPolicy,
//!     registry::MemoryStore,
//!     topology::{Incarnation, NodeId, ShardId},
//! };
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let settings = Settings::new(NodeId::new("c1")?, Incarnation(1));
//! let policy = Box::new(ReplicaPolicy::default());
//! let coordinator = Coordinator::start(Arc::new(MemoryStore::new()), settings, policy);
//! let handle = coordinator.handle();
//! handle.view_when(|view| view.is_leading).await;
//!
//! let ids = vec![ShardId::new("orders")?, ShardId::new("invoices")?];
//! handle.command(Command::AddPartitions { ids, replicas: None }).await?;
//! assert_eq!(handle.view().shards.len(), 2);
//! coordinator.stop().await;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why no shard is served by two
//!
//! - Every worker has a lease in the store, which the leader renews on its behalf, after an answer and before it says so. The worker
//!   counts from when it *sent* that answer, and stops a tenth earlier than anybody else begins: the leader counts from when it *got* the
//!   answer, and others from when they saw it renewed.
//! - Before the leader gives a silent worker's shards to others, it marks the worker's session and ends its lease, each by
//!   compare-and-set. Nobody can renew it after that, and the session never gets another: the process has to register again.
//! - A worker that is alive lets go first: it stops, says that it will never serve that epoch again, and only then the next epoch is
//!   written with its new owner.
//! - Every list that a worker gets has its leader's term. One of an older term is refused.
//! - Coordinators may be wrong about who leads: whatever they write, they write by compare-and-set on what they have seen.
//!
//! # Shards that commit on several members
//!
//! [Replicated](topology::ShardRecord::replicated) shards have logs of their own that decide who is primary and what is committed. There
//! the leader only begins what [`failover::replication`] asks for, by compare-and-set, and tells workers which
//! [copies](worker::Copies) to make, fill and delete. No lease and no assignment counts for them. The shards of the keyspace `main`
//! are replicated if there are workers that keep copies when the leader creates it.
//!
//! # Splits and merges
//!
//! With a [`ShardStore`](elastic::ShardStore) ([`Builder::elastic`]) the leader carries out splits and merges of the shards of `main`
//! ([`operations`]). They are in the registry: the next leader goes on with them.
//!
//! # What this crate does not do
//!
//! It moves no data itself. Clocks may differ by any time, and run at rates that differ by less than a tenth.

pub mod balance;
pub mod clock;
pub mod core;
pub mod directory;
pub mod driver;
pub mod event_log;
pub mod handle;
pub mod http;
pub mod operations;
pub mod protocol;
pub mod worker;

mod client;

/// How shards are split and merged.
pub use shardwright_elastic as elastic;
/// How shards are looked after that commit on several members.
pub use shardwright_failover as failover;
/// Who should hold what.
pub use shardwright_rebalancer as rebalancer;
/// Where all state is kept.
pub use shardwright_registry as registry;
/// The vocabulary.
pub use shardwright_topology as topology;

pub use crate::{
    driver::{Builder, Coordinator},
    handle::Handle,
};
