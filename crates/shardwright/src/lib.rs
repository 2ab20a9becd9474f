//! A sharding toolkit and a sharded SQLite database, as one crate with a feature per part.

pub use shardwright_hashing as hashing;
#[cfg(feature = "registry")]
pub use shardwright_registry as registry;
#[cfg(feature = "sql")]
pub use shardwright_sql as sql;
#[cfg(feature = "store")]
pub use shardwright_store as store;
pub use shardwright_topology as topology;
