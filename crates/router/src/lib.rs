//! Reaches the owner of a shard: runs work under a guard where the shard is local, and calls its owner where it is not.
//!
//! A [`Router`] knows who owns which shard, at which epoch. [`Router::execute`] runs a closure on a shard of this node under a
//! [`Guard`], so that nobody takes the shard away while it runs. [`Router::call`] runs a named handler wherever the shard is, and carries
//! the epoch along, so that a node that has lost the shard refuses instead of answering.
//!
//! ```
//! use std::sync::Arc;
//! use shardwright_router::{
//!     BoxError, Router, Settings,
//!     topology::{Epoch, NodeId, ShardId},
//!     transport::memory::Network,
//! };
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let network = Network::new();
//! let node = |name| Router::new(name, Arc::new(network.clone()), Settings::default());
//! let (here, there) = (node(NodeId::new("node-1")?), node(NodeId::new("node-2")?));
//! network.serve("node-2.internal", &there);
//! for router in [&here, &there] {
//!     router.set_address(there.node(), Some("node-2.internal"));
//!     router.set_owner(&ShardId::numbered(0), Some(here.node().clone()), Epoch(1));
//!     router.set_owner(&ShardId::numbered(1), Some(there.node().clone()), Epoch(1));
//! }
//!
//! let answer = here.execute(&ShardId::numbered(0), async |guard| guard.epoch()).await?;
//! assert_eq!(answer, Epoch(1));
//!
//! there.handle("greet", async |call| {
//!     Ok::<_, BoxError>(format!("{} greets {:?}", call.shard(), call.payload))
//! });
//! let answer = here.call(&ShardId::numbered(1), "greet", "node-1").await?;
//! assert_eq!(answer, "shard-1 greets b\"node-1\"");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - Work runs on a shard only at an epoch that this node owns, and a cut-over is complete only when all of it has ended.
//! - A call is repeated only where its method cannot have run, or is idempotent; otherwise its outcome is reported as unknown.
//! - Look-ups and local work take no lock.
//! - While the registry is away, routing goes on with what is known.
//!
//! # What this crate does not do
//!
//! It assigns no shards, moves no data, and never forwards a request that reached the wrong node: the caller is told.
//!
//! # Features
//!
//! - `http`: [`transport`] over HTTP, with axum and reqwest.
//! - `nats`: [`transport`] over NATS request and reply.

pub mod conformance;
pub mod transport;

mod by_shard;
mod clock;
mod error;
mod gate;
mod handler;
mod measure;
mod refusal;
mod route;
mod router;

/// The vocabulary that routes are written in.
pub use shardwright_topology as topology;

pub use crate::{
    error::{Error, Outcome},
    gate::Guard,
    handler::Call,
    refusal::Refusal,
    route::Route,
    router::{CallOptions, CutOver, Router, Serving, Settings},
    transport::{Peer, Request, Response, Transport, TransportError},
};

/// Any error of a driver or of a handler.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
