//! What the commands of the admin API take.

use serde::Deserialize;
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{KeyspaceName, NodeId, ShardId};

use crate::{
    core::Command,
    http::{Problem, balance::Pinning},
};

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

/// A node, and the one that takes its place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replace {
    pub(super) node: NodeId,
    pub(super) by: NodeId,
}

/// A node to forget.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remove {
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
    /// Whether it stays there, whatever plans would do. It does, unless told otherwise.
    pub(super) pin: Option<bool>,
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
    /// The shard again, if it commits on several members and may lose acknowledged writes.
    pub(super) accept_data_loss: Option<ShardId>,
    /// Who accepts that.
    pub(super) by: Option<String>,
    /// Whether it stays there, whatever plans would do. It does, unless told otherwise, or it is only where a loss has left it.
    pub(super) pin: Option<bool>,
}

/// How long the name of who accepts a loss may be, in bytes.
const BY_MAX: usize = 256;

impl Promote {
    /// Returns whether the shard is to stay where it is put.
    pub(super) fn pinning(&self) -> Pinning {
        match &self.accept_data_loss {
            Some(_) => Pinning::of(Some(self.pin.unwrap_or(false))),
            None => Pinning::of(self.pin),
        }
    }

    /// Returns what is asked for, of the shard that was found.
    pub(super) fn command(self, partition: PartitionId) -> Result<Command, Problem> {
        let (node, force) = (self.node, self.force);
        let Some(accepted) = self.accept_data_loss else {
            if self.by.is_some() {
                return Err(Problem::bad_request("by says who accepts a loss")
                    .hint("name the shard in accept_data_loss too, or leave by out"));
            }
            return Ok(Command::Promote {
                partition,
                node,
                force,
            });
        };
        let by = self.by.unwrap_or_default();
        if by.trim().is_empty() || BY_MAX < by.len() {
            let message = format!("by must say who accepts the loss, in 1 to {BY_MAX} bytes");
            return Err(Problem::bad_request(message));
        }
        Ok(Command::AcceptLoss {
            partition,
            node,
            accepted,
            by,
        })
    }
}

/// Nothing: an empty body, or `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(more: Value, expected: Pinning) {
        let mut body = json!({"shard": "shard-0", "node": "n1"});
        let more = more.as_object().expect("members").clone();
        body.as_object_mut().expect("members").extend(more);
        let request: Promote = serde_json::from_value(body).expect("a promotion");
        assert_eq!(request.pinning(), expected, "{request:?}");
    }

    #[test]
    fn a_promotion_pins_unless_told_otherwise_or_nothing_else_was_left() {
        check(json!({}), Pinning::Stays);
        check(json!({"pin": true}), Pinning::Stays);
        check(json!({"pin": false}), Pinning::Free);
        check(json!({"accept_data_loss": "shard-0"}), Pinning::Free);
        let stays = json!({"accept_data_loss": "shard-0", "pin": true});
        check(stays, Pinning::Stays);
    }
}
