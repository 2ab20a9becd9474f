//! The durable shard map: a compare-and-set store contract with backends, leases, and the registry on top.
//!
//! A [`Store`] holds few small values, each changed by compare-and-set, and shows changes as a stream. A [`Registry`] keeps the
//! records of one keyspace there: its nodes, its shards and who holds them, its operations; and makes a [`ShardMap`] of them
//! that follows every change. [`Leases`] say which process may try to lead.
//!
//! ```
//! use std::sync::Arc;
//! use shardwright_registry::{
//!     MemoryStore, Partitioning, Registration, Registry,
//!     topology::{KeyspaceName, NodeId, Position, ShardId},
//! };
//!
//! # futures_executor::block_on(async {
//! let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
//! registry.bootstrap(Partitioning::Ranges, 4).await?;
//!
//! let node = NodeId::new("node-1")?;
//! let shards = vec![ShardId::numbered(0), ShardId::numbered(1)];
//! let address = "http://localhost:3000";
//! registry.register(Registration { shards, ..Registration::new(node.clone(), address) }).await?;
//!
//! let owner = registry.owner(&ShardId::numbered(0)).await?.expect("claimed");
//! assert_eq!((owner.node, owner.epoch.to_string()), (node, "e1".to_owned()));
//!
//! let map = registry.map().await?;
//! assert_eq!(map.at(Position::of("tenant-123")).id(), &ShardId::numbered(0));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - Of two changes that were decided on the same state, at most one happens.
//! - A change whose outcome the store does not know is read back, or reported as [`StoreError::Unknown`].
//! - A watch has no gap: a listing, changed by the events after it, is a later listing.
//! - A shard map shows one side of every operation.
//! - A value that another release wrote in another format is refused by name.
//!
//! # What this crate does not do
//!
//! It moves no data, and holds nothing per key. It runs on any executor, reads no clock of its own accord outside the threads
//! and tasks of its stores and campaigns, and never waits before it tries again: [`Error::is_retryable`] and a backoff are the caller's.
//!
//! # Features
//!
//! - `campaign`: `Campaign`, a task on tokio that takes part in an [`Election`].
//! - `nats`: `NatsStore`, a store in NATS JetStream for the processes of several machines. It needs a tokio runtime, and waits
//!   before it tries again.
//! - `sqlite`: `SqliteStore`, a store in one SQLite file for the processes of one machine.
//!
//! [`ShardMap`]: shardwright_topology::ShardMap

pub mod assign;
pub mod conformance;

mod addresses;
#[cfg(feature = "campaign")]
mod campaign;
mod clock;
mod codec;
mod doctor;
mod election;
mod error;
mod key;
mod keyspace;
mod lease;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod pin;
mod record_watch;
mod records;
mod registry;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod store_error;

#[cfg(feature = "campaign")]
pub use crate::campaign::Campaign;
#[cfg(feature = "nats")]
pub use crate::nats::{
    NatsConnection, NatsConnectionError, NatsError, NatsOptions, NatsStore, NatsTls,
};
#[cfg(feature = "sqlite")]
pub use crate::sqlite::{OpenError, SqliteStore};
/// The vocabulary that the records are written in.
pub use shardwright_topology as topology;

pub use crate::{
    addresses::Addresses,
    clock::Clock,
    codec::{FormatError, Record, decode, encode},
    doctor::{Finding, Level},
    election::{Election, ElectionAction, WriteOutcome},
    error::Error,
    key::{InvalidKey, KEY_MAX, Key, Prefix},
    keyspace::{KeyspaceRecord, Partitioning},
    lease::{
        Held, Holder, InvalidTiming, LeaseRecord, LeaseTiming, LeaseWatcher, Leases, Vacancy,
        node_lease, node_of_lease,
    },
    memory::MemoryStore,
    pin::PinRecord,
    record_watch::{RecordWatch, Seen, watch_below, watch_records},
    records::{Records, Stored},
    registry::{Assignment, MapWatch, Registration, Registry, assignments_of},
    store::{Entry, Event, Listing, Revision, Store, VALUE_MAX, Watch},
    store_error::{BoxError, StoreError},
};
