//! Splits of the shards that nodes keep: what a node does for an operation, and a store through which a coordinator asks all nodes.
//!
//! ```text
//! coordinator: workflow ─ ClusterStore ─ POST ─ node of the shard's primary: Local ─ Shard
//! ```
//! The data goes from a source to a target on the same node: only what is written while the operation runs passes through the coordinator,
//! as the records of the source's log.

mod content;
mod failure;
mod filling;
mod flights;
mod http;
mod local;
mod measure;
mod members;
mod placements;
mod refusals;
mod store;
mod wire;

pub(crate) use self::{http::router, members::Members};
pub use self::{
    local::{Local, ShardCopies},
    members::Way,
    store::ClusterStore,
};
