//! Metrics: what a shard is used for, as its store sees it.

use shardwright_topology::{NodeId, OperationId, ShardId};

/// How much a shard has and does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ShardMetrics {
    /// The part of a processor that it takes, from 0 to 1.
    pub cpu_usage: f64,
    /// The part of the memory that it takes, from 0 to 1.
    pub memory_usage: f64,
    /// Its size, in bytes.
    pub storage_bytes: u64,
    /// Requests in a second.
    pub request_rate: f64,
    /// How many keys it has.
    pub key_count: usize,
    /// Of the requests, the reads in a second; 0 where the store does not tell them apart.
    pub read_rate: f64,
    /// Of the requests, the writes in a second; 0 where the store does not tell them apart.
    pub write_rate: f64,
}

impl ShardMetrics {
    /// Returns what is largest of the load on the processor and on the memory.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.cpu_usage.max(self.memory_usage)
    }
}

/// What is known of a shard.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardStatistics {
    /// The shard.
    pub shard_id: ShardId,
    /// Where its data is.
    pub node: NodeId,
    /// What its store says.
    pub metrics: ShardMetrics,
    /// Its size, in bytes.
    pub storage_bytes: u64,
    /// Requests in a second.
    pub operations_per_sec: f64,
    /// How many keys it has.
    pub key_count: usize,
    /// The operation that it takes part in.
    pub operation: Option<OperationId>,
}
