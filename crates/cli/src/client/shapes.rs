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
    pub(crate) in_sync: Option<bool>,
    pub(crate) lag: Option<u64>,
}

/// Partitions to add or to remove.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Partitions {
    pub(crate) ids: Vec<String>,
}

/// How a cluster is, as one coordinator knows it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Status {
    pub(crate) id: String,
    pub(crate) leader: Option<String>,
    pub(crate) term: u64,
    pub(crate) leading: bool,
    pub(crate) revision: u64,
    pub(crate) nodes: u64,
    pub(crate) nodes_up: u64,
    pub(crate) shards: u64,
    pub(crate) assigned: u64,
    pub(crate) planned: u64,
    pub(crate) moving: u64,
}

/// What the leader plans, and what no plan can mend.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Plan {
    pub(crate) moves: Vec<Move>,
    pub(crate) under_replicated: Vec<Lack>,
    pub(crate) moving: u64,
}

/// A step of a plan.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Move {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) kind: String,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) reason: String,
}

/// A shard with too few copies.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Lack {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) has: u64,
    pub(crate) wants: u64,
}
