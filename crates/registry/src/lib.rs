//! The durable shard map: a compare-and-set store contract with backends, leases, and the registry on top.

mod codec;
pub mod conformance;
mod error;

mod key;
mod keyspace;
mod memory;
mod records;
mod registry;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod store_error;

#[cfg(feature = "sqlite")]
pub use crate::sqlite::{OpenError, SqliteStore};
pub use crate::{
    codec::{FormatError, Record, decode, encode},
    error::Error,
    key::{InvalidKey, KEY_MAX, Key, Prefix},
    keyspace::{KeyspaceRecord, Partitioning},
    memory::MemoryStore,
    records::{Records, Stored},
    registry::{Assignment, MapWatch, Registration, Registry},
    store::{Entry, Event, Listing, Revision, Store, VALUE_MAX, Watch},
    store_error::{BoxError, StoreError},
};
