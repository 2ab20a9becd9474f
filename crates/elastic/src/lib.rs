//! Splits, merges and moves shards while they are written to.

mod criteria;
mod extent;
mod journal;
mod layout;
mod memory;
mod metrics;
mod record;
mod settings;
mod store;
pub mod workflow;

pub use crate::{
    criteria::{Hot, MergeCriteria, SplitCriteria},
    extent::{Cut, Extent, KeySpan},
    journal::{Entry, Journal, JournalError, MemoryJournal, RegistryJournal, Version},
    layout::{InvalidLayout, Layout, Part},
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
