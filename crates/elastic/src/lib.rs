//! Splits, merges and moves shards while they are written to.

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
        BalancePolicy, Patience, Planned, RebalanceImpact, RebalancePlan, Resting, Situation, Step,
        plan,
    },
    config::{ConfigError, ShardConfig, ShardStrategy},
    criteria::{Hot, MergeCriteria, SplitCriteria},
    data_ops::{ShardDataOps, SplitError, WriteGuard},
    driver::{Driver, Nodes, Seen},
    error::Error,
    extent::{Cut, Extent, KeySpan},
    journal::{Entry, Journal, JournalError, MemoryJournal, RegistryJournal, Version},
    layout::{InvalidLayout, Layout, Part},
    manager::{ElasticShardManager, Gating, ManagerBuilder, Notice, OperationStatus, SplitAt},
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
