//! What the commands of the admin API take.

use serde::Deserialize;
use shardwright_topology::{KeyspaceName, NodeId, ShardId};

use crate::http::Problem;

/// How many partitions one request names at most.
const IDS_MAX: usize = 100_000;

/// How many copies of a partition can be asked for.
const REPLICAS_MAX: u32 = 64;

/// Partitions to add or to remove.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Partitions {
    ids: Vec<ShardId>,
    pub(super) replicas: Option<u32>,
}

impl Partitions {
    /// Returns the ids, if there are not too few or too many, and a sensible number of replicas.
    pub(super) fn ids(self) -> Result<Vec<ShardId>, Problem> {
        if self
            .replicas
            .is_some_and(|replicas| !(1..=REPLICAS_MAX).contains(&replicas))
        {
            let message = format!("replicas must be 1 to {REPLICAS_MAX}");
            return Err(Problem::bad_request(message));
        }
        match self.ids.len() {
            0 => Err(Problem::bad_request("ids names no partition")),
            1..=IDS_MAX => Ok(self.ids),
            more => {
                let message = format!("ids names {more} partitions, {IDS_MAX} are allowed");
                Err(Problem::bad_request(message).hint("send them in several requests"))
            }
        }
    }
}

/// A node to drain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    pub(super) node: NodeId,
}

/// A shard to move.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Move {
    pub(super) shard: ShardId,
    pub(super) keyspace: Option<KeyspaceName>,
    pub(super) from: Option<NodeId>,
    pub(super) to: NodeId,
}

/// A replica to promote.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Promote {
    pub(super) shard: ShardId,
    pub(super) keyspace: Option<KeyspaceName>,
    #[serde(alias = "to")]
    pub(super) node: NodeId,
    #[serde(default)]
    pub(super) force: bool,
}

/// Nothing: an empty body, or `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}
