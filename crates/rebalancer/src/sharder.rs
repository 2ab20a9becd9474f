//! The sharder contract: nodes and partitions are registered, and somebody says who serves what.

mod adapter;
mod stateful;

pub use self::{
    adapter::SharderPolicy,
    stateful::{PolicySharder, ReplicaSharder, RingSharder, TargetSharder},
};

use serde::{Deserialize, Serialize};
use shardwright_topology::NodeId;

use crate::{Node, PartitionId};

/// One copy of a partition, as a node sees it.
#[doc(alias = "P")]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Replica {
    /// The partition.
    pub id: PartitionId,
    /// Which of its copies: its place among the nodes of the partition. 0 is the primary.
    pub replica: u32,
}

/// Why a sharder refused a change. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Error {
    /// Unregister the node first, or leave it.
    #[error("node {node} is registered already")]
    NodeExists {
        /// The node.
        node: NodeId,
    },
    /// Check the name, or register the node first.
    #[error("node {node} is not registered")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// Unregister the partition first, or leave it.
    #[error("partition {partition} is registered already")]
    PartitionExists {
        /// The partition.
        partition: PartitionId,
    },
    /// Check the name, or register the partition first.
    #[error("partition {partition} is not registered")]
    UnknownPartition {
        /// The partition.
        partition: PartitionId,
    },
}

impl Error {
    /// Returns the name of the error for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NodeExists { .. } => "NODE_EXISTS",
            Self::UnknownNode { .. } => "UNKNOWN_NODE",
            Self::PartitionExists { .. } => "PARTITION_EXISTS",
            Self::UnknownPartition { .. } => "UNKNOWN_PARTITION",
        }
    }
}

/// Says which nodes serve which partitions.
///
/// Implementations must:
/// - refuse a name that is registered already, or twice in one call, and a name that is not registered, and change nothing then;
/// - never name a node twice for one partition, nor a node that is not registered;
/// - name fewer nodes if there are too few, and more as soon as there are enough;
/// - answer the same whatever the order of calls to `partitions` and `nodes`, and both alike: a node is among the nodes of a
///   partition if the partition is among those of the node;
/// - be deterministic: equal calls in equal order give equal answers.
///
/// [`conformance::check`](crate::conformance::check) tests all of this. [`SharderPolicy`] makes a [`Policy`](crate::Policy) of a
/// sharder, which a coordinator can follow.
pub trait Sharder {
    /// Adds nodes.
    ///
    /// # Errors
    /// [`Error::NodeExists`].
    #[doc(alias = "RegisterNodes")]
    fn register_nodes(&mut self, nodes: &[Node]) -> Result<(), Error>;

    /// Removes nodes. What they had is served by others.
    ///
    /// # Errors
    /// [`Error::UnknownNode`].
    #[doc(alias = "UnregisterNodes")]
    fn unregister_nodes(&mut self, nodes: &[NodeId]) -> Result<(), Error>;

    /// Adds partitions.
    ///
    /// # Errors
    /// [`Error::PartitionExists`].
    #[doc(alias = "RegisterPartitions")]
    fn register_partitions(&mut self, ids: &[PartitionId]) -> Result<(), Error>;

    /// Removes partitions.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    #[doc(alias = "UnregisterPartitions")]
    fn unregister_partitions(&mut self, ids: &[PartitionId]) -> Result<(), Error>;

    /// Returns what a node serves, in the order of the names.
    ///
    /// # Errors
    /// [`Error::UnknownNode`].
    #[doc(alias = "Partitions")]
    fn partitions(&self, node: &NodeId) -> Result<Vec<Replica>, Error>;

    /// Returns the nodes that serve a partition, the primary first.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    #[doc(alias = "Nodes")]
    fn nodes(&self, partition: &PartitionId) -> Result<Vec<NodeId>, Error>;

    /// Tells the sharder who serves what now, as far as these are registered nodes and partitions.
    ///
    /// A sharder whose answers depend on what happened before takes it over and goes on from there. One whose answers follow from
    /// the names alone, as a ring's, has no use for it: by default nothing happens.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`] or [`Error::UnknownNode`].
    fn adopt(&mut self, held: &[(PartitionId, Vec<NodeId>)]) -> Result<(), Error> {
        let _ = held;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
