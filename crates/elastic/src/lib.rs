//! Splits, merges and moves shards while they are written to.
//!
//! A split, a merge and a move are one [`Workflow`]: copy the sources to the targets, follow what is written meanwhile, compare, end the writes of the
//! sources for a moment, switch. It is a pure state machine over a [`Journal`], where each step is written down before it is made, and [`ShardStore`]s,
//! where the shards are. [`ElasticShardManager`] runs it, routes keys to shards, and says what should be split, merged and moved, or does it by itself.
//! A store that can do no more than read, add to and delete a shard takes part by [`ShardDataOps`].
//!
//! ```
//! use std::sync::Arc;
//! use shardwright_elastic::{
//!     ElasticShardManager, Gating, MemoryShardStore, Settings, ShardConfig, SplitAt,
//!     topology::NodeId,
//! };
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let store = MemoryShardStore::new();
//! let manager = ElasticShardManager::builder(ShardConfig::default())
//!     .store(NodeId::new("node-1")?, Arc::new(store.clone()))
//!     .settings(Settings::local())
//!     .build()
//!     .await?;
//! store.add_parts(manager.layout().parts());
//! let home = manager.shard_for_key("user:1234")?;
//! store.put(&home, b"user:1234", b"Ada")?;
//!
//! let at = SplitAt::Middle;
//! let (left, right) = manager.split_shard_at(home.as_str(), at, Gating::Force).await?;
//! let child = manager.shard_for_key("user:1234")?;
//! assert!(child == left || child == right);
//! assert_eq!(store.get(&child, b"user:1234")?, Some(b"Ada".to_vec()));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - A key is writable in one shard at a time, and no acknowledged write is lost or made twice, whoever crashes at whichever step, as long as stores keep
//!   their contract, which [`conformance`] checks.
//! - An operation has an effect or none: one compare-and-set decides. Before it, it can be paused and cancelled; after it, it goes on to its end, and
//!   is undone by another operation.
//! - A split moves the keys of its shard, and no other key. So do merges and moves.
//! - Targets are compared with their sources, and a difference ends the operation without effect: under the seal up to
//!   [`Settings::verify_sealed_rows`] rows, before it for larger shards.
//! - An operation ends, however fast writers are: they are held back if the copy cannot keep up.
//! - What is refused has changed nothing.
//!
//! # What this crate does not do
//!
//! It stores nothing itself, except in memory. A shard whose log commits on several members moves by a change of its members, which is
//! `shardwright-failover`'s affair. A sealed source may answer reads as of the seal until it is removed: who has to see the latest asks the shard that the
//! layout names.

mod balance;
mod config;
pub mod conformance;
mod criteria;
mod data_ops;
mod driver;
mod error;
mod extent;
mod journal;
mod layout;
mod manager;
mod memory;
mod metrics;
mod record;
mod settings;
mod store;
pub mod workflow;

/// The vocabulary that operations are written in.
pub use shardwright_topology as topology;

pub use crate::{
    balance::{
        BalancePolicy, InvalidPolicy, Metric, Patience, Planned, RebalanceImpact, RebalancePlan,
        Resting, Situation, Step, plan,
    },
    config::{ConfigError, ShardConfig, ShardStrategy},
    criteria::{Hot, MergeCriteria, SplitCriteria},
    data_ops::{ShardDataOps, SplitError, WriteGuard},
    driver::{Driver, Nodes, Seen},
    error::Error,
    extent::{Cut, Extent, KeySpan},
    journal::{Entry, Journal, JournalError, MemoryJournal, RegistryJournal, Version},
    layout::{InvalidLayout, Layout, Part},
    manager::{
        Decisions, ElasticShardManager, Gating, ManagerBuilder, Notice, OperationStatus, SplitAt,
        clear_left,
    },
    memory::{MemoryNode, MemoryShardStore},
    metrics::{ShardMetrics, ShardStatistics},
    record::{InvalidWork, Lane, Record, Work},
    settings::Settings,
    store::{
        Batch, Changes, Digest, DigestAt, Import, Pace, Page, Reply, Request, Row, RowChange,
        ShardStore, StoreError, perform,
    },
    workflow::{Progress, Workflow},
};
