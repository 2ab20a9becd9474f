//! The shapes of the admin API that the commands read and write.

use serde::{Deserialize, Serialize};

/// A member of the cluster.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) role: String,
    pub(crate) state: String,
    pub(crate) zone: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) weight: u64,
    pub(crate) shards: u64,
}

/// A shard or partition.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Shard {
    pub(crate) id: String,
    pub(crate) keyspace: String,
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) state: String,
    pub(crate) epoch: u64,
    pub(crate) primary: Option<String>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

/// A copy of a shard that is not the primary.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Replica {
    pub(crate) node: String,
    pub(crate) in_sync: bool,
    pub(crate) lag: Option<u64>,
}

/// Partitions to add or to remove.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Partitions {
    pub(crate) ids: Vec<String>,
}
