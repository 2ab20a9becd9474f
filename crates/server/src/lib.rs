//! The data plane: SQLite shards that commit on a majority of the nodes that hold them.
//!
//! A [`Node`] keeps copies of shards, as the coordinators tell it, and answers SQL over all of them. A [`Shard`] is one copy: a SQLite file, and a replicated log that
//! decides what happens to it. Here is a whole cluster, of one node:
//!
//! ```
//! use std::{future::pending, sync::Arc, time::Duration};
//! use shardwright_server::{
//!     Node, NodeOptions,
//!     coordinator::{
//!         Coordinator,
//!         core::{Replication, Settings},
//!         failover::replication,
//!         http::{self, Api, bind},
//!         rebalancer::{PartitionId, ReplicaPolicy},
//!         registry::{MemoryStore, Store},
//!         topology::{Incarnation, NodeId, ShardId},
//!     },
//!     http::axum,
//!     shard::{ReadLevel, Write},
//!     store::Member,
//! };
//!
//! # let directory = tempfile::tempdir()?;
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
//! let one = replication::Settings { factor: 1, w_min: 1, ..replication::Settings::default() };
//! let settings = Settings {
//!     shards: 1,
//!     replication_factor: 1,
//!     replication: Replication::new(one)?,
//!     check_interval: Duration::from_millis(100),
//!     ..Settings::new(NodeId::new("c1")?, Incarnation(1))
//! };
//! let leader = Coordinator::start(store.clone(), settings, Box::new(ReplicaPolicy::default()));
//! let listener = bind("127.0.0.1:0", None).await?;
//! let coordinator = format!("http://{}", listener.local_addr()?);
//! let api = Api::new(leader.handle().clone(), store.clone(), http::Settings::default());
//! tokio::spawn(http::serve(listener, api, pending()));
//!
//! let listener = bind("127.0.0.1:0", None).await?;
//! let address = format!("http://{}", listener.local_addr()?);
//! let options = NodeOptions {
//!     coordinators: vec![coordinator],
//!     ..NodeOptions::new(NodeId::new("n1")?, directory.path(), address)
//! };
//! let node = Node::start(store, options).await?;
//! tokio::spawn(axum::serve(listener, node.router()).into_future());
//!
//! let shard = node.until_leading(&PartitionId::from(ShardId::numbered(0))).await;
//! let create = |member: &mut Member<'_>| {
//!     member.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)", ())?;
//!     Ok(Vec::new())
//! };
//! let written = shard.write(Write::new(create)).await?;
//! let fresh = shard.fresh(ReadLevel::Leased, Duration::from_secs(5)).await?;
//! assert!(fresh.token >= written.token);
//! assert_eq!(fresh.file.snapshot()?.row_count("users")?, 0);
//! node.stop().await;
//! # leader.stop().await;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! The changes of a transaction are captured with SQLite's preupdate hook, which has to be compiled in. Put this into the file
//! `.cargo/config.toml` beside your `Cargo.toml`:
//!
//! ```toml
//! [env]
//! LIBSQLITE3_FLAGS = "-DSQLITE_ENABLE_SESSION -DSQLITE_ENABLE_PREUPDATE_HOOK"
//! ```
//!
//! # Guarantees
//!
//! - A write that was acknowledged at the levels quorum and all is on a majority of the copies, durably, and survives the loss of
//!   any minority of them at any moment.
//! - A write with a number of its client happens once, however often it is tried, and each try is answered alike, while the number is
//!   among those that are remembered; later tries are refused. A SQL statement too, through whichever node it is tried, and whatever keys
//!   each try would give its rows.
//! - A read that asks for it sees all that was acknowledged before it began.
//! - The copies hold the same rows at the same place of their history. One that does not is set aside, and made anew.
//! - A full or broken disk stops the copies on it, never the process.
//!
//! - `POST /v1/sql`, part of [`Node::router`], answers for all shards of the keyspace `main`, wherever their primaries are. A statement
//!   whose shard loses its primary waits for the next one, and happens once. One whose shard is split or merged goes on with those that replace
//!   it. What writes to several shards is on all of them or on none, whichever nodes are lost meanwhile.
//!
//! # What this crate does not do
//!
//! Over HTTP a transaction is one statement, on however many shards it writes. There is one keyspace, `main`.

pub mod backup;
mod elastic;
mod gateway;
mod hrana;
pub mod node;
pub mod shard;
mod threads;

/// Who says which copies there are.
pub use shardwright_coordinator as coordinator;
/// How servers and clients speak HTTP.
pub use shardwright_http as http;
/// The logs.
pub use shardwright_quorum as quorum;
/// The files.
pub use shardwright_store as store;

/// What operations do with the copies of nodes, for whoever has copies of another kind, such as a simulation.
pub mod reshaping {
    pub use crate::{
        elastic::{Local, ShardCopies, Way},
        gateway::{is_sealed, shows_seal},
        node::deletion::{end_removals, remove as remove_copy},
        shard::split::{Aside, Making, ShardCopy, Standing},
    };
}

pub use self::{
    elastic::ClusterStore,
    hrana::Settings as StreamSettings,
    node::{Node, NodeOptions},
    shard::Shard,
};
