//! A sharding toolkit and a sharded SQLite database, as one crate with a feature per part.
//!
//! Each module is a crate of its own, so a program that needs one part can depend on that part
//! alone. What they share are a few nouns: a *position* is where a key falls on the line from 0 to
//! 2^64, a *shard* owns a range of positions, and a *shard map* says which shard owns which.
//!
//! | module | crate | use it when |
//! | --- | --- | --- |
//! | [`hashing`] | `shardwright-hashing` | a key has to find its shard, the same in every process |
//! | [`topology`] | `shardwright-topology` | you speak of shards, ranges, epochs and shard maps |
//! | `registry` | `shardwright-registry` | several processes have to agree on who owns what |
//! | `router` | `shardwright-router` | a request has to reach the node that owns its shard |
//! | `failover` | `shardwright-failover` | a replica has to take over when a node is down |
//! | `quorum` | `shardwright-quorum` | an event has to be on several nodes before it counts |
//! | `rebalancer` | `shardwright-rebalancer` | somebody has to decide which node holds which shard |
//! | `elastic` | `shardwright-elastic` | shards have to be split, merged or moved while they are written to |
//! | `coordinator` | `shardwright-coordinator` | processes have to be told which shards to serve |
//! | `store` | `shardwright-store` | a shard is one SQLite file |
//! | `sql` | `shardwright-sql` | many SQLite files have to answer as one database |
//! | `server` | `shardwright-server` | a shard has to survive the node that it is on |
//!
//! ```
//! use shardwright::hashing::{Position, hash_to_shard};
//!
//! assert_eq!(hash_to_shard("tenant-123", 10), 3);
//! assert_eq!(Position::of("tenant-123").equal_range(8), 0);
//! ```
//!
//! # Features
//!
//! [`hashing`] and [`topology`] are always there. A feature only adds names.
//!
//! | feature | adds |
//! | --- | --- |
//! | `registry` | the module `registry`, with a store in memory |
//! | `sqlite` | `registry`, and its store in a SQLite file; with `quorum`, its store of events |
//! | `router` | the module `router`, with calls within one process, and `registry` |
//! | `http` | `router`, and its calls over HTTP; with `quorum`, its servers and their client |
//! | `failover` | `registry`, and the module `failover` with its drivers on tokio |
//! | `campaign` | `registry`, and its task that takes part in an election |
//! | `nats` | `registry`, and its store in NATS JetStream; with `router`, its calls over NATS |
//! | `quorum` | the module `quorum` |
//! | `log` | `quorum`, and its replicated log |
//! | `rebalancer` | the module `rebalancer` |
//! | `elastic` | the module `elastic`, and `registry` |
//! | `coordinator` | the module `coordinator`, and those it speaks of |
//! | `store` | the module `store` |
//! | `sql` | the module `sql` |
//! | `server` | the module `server`, and those it speaks of. It needs a flag for SQLite, which its front page gives |
//! | `full` | all of these |

#[cfg(feature = "coordinator")]
pub use shardwright_coordinator as coordinator;
#[cfg(feature = "elastic")]
pub use shardwright_elastic as elastic;
#[cfg(feature = "failover")]
pub use shardwright_failover as failover;
pub use shardwright_hashing as hashing;
#[cfg(feature = "quorum")]
pub use shardwright_quorum as quorum;
#[cfg(feature = "rebalancer")]
pub use shardwright_rebalancer as rebalancer;
#[cfg(feature = "registry")]
pub use shardwright_registry as registry;
#[cfg(feature = "router")]
pub use shardwright_router as router;
#[cfg(feature = "server")]
pub use shardwright_server as server;
#[cfg(feature = "sql")]
pub use shardwright_sql as sql;
#[cfg(feature = "store")]
pub use shardwright_store as store;
pub use shardwright_topology as topology;
