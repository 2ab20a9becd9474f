//! The policy of target counts: so many copies for each node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_topology::NodeId;

use crate::{
    Cluster, Plan, Policy, Spread,
    placement::Placement,
    replica::{self, Band},
};

/// Gives each node the number of copies that is its target, in the fewest moves.
///
/// Whoever is not listed should have none. If the targets do not sum to the number of copies, they are proportions: each node gets
/// its part, rounded up or down; so it is too while a node with a target is down. To have that refused instead, ask for a plan with
/// [`calculate_plan`](Self::calculate_plan).
///
/// A node never has two copies of a partition, and with a [`Spread`] its places come first, so with several copies of a partition
/// the targets may be out of reach; then single moves lead as near as they can. Loads of partitions are not looked at.
#[doc(alias = "TargetSharder")]
#[doc(alias = "ShardRebalancer")]
#[doc(alias = "targetDistribution")]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetPolicy {
    /// How many copies each node should have.
    pub targets: BTreeMap<NodeId, u32>,
    /// How far apart copies of one partition are kept. Default: on different nodes.
    pub spread: Spread,
}

/// Targets that do not fit the cluster. Correct them, or plan with [`Policy::plan`], which takes them as proportions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The targets sum to another number than there are copies.
    #[error(
        "the targets sum to {targets}, and the shards have {copies} copies in all: make the two equal"
    )]
    Sum {
        /// The sum of the targets.
        targets: u64,
        /// How many copies all shards should have.
        copies: u64,
    },
    /// A node with a target is not part of the cluster.
    #[error("node {node} has a target and is not registered: register it or remove its target")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// A node with a target takes no shards: it is down, being drained, not up yet, or has weight 0.
    #[error("node {node} has a target and takes no shards: bring it up or set its target to 0")]
    NotAccepting {
        /// The node.
        node: NodeId,
    },
}

impl TargetError {
    /// Returns the name of the error for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Sum { .. } => "TARGET_SUM",
            Self::UnknownNode { .. } => "TARGET_UNKNOWN_NODE",
            Self::NotAccepting { .. } => "TARGET_NOT_ACCEPTING",
        }
    }
}

impl TargetPolicy {
    /// Returns the policy with these targets, on different nodes wherever they are.
    #[must_use]
    pub fn new(targets: impl IntoIterator<Item = (NodeId, u32)>) -> Self {
        Self {
            targets: targets.into_iter().collect(),
            spread: Spread::default(),
        }
    }

    /// Returns the moves that lead to exactly the targets.
    ///
    /// # Errors
    /// [`TargetError`] if the targets do not fit the cluster.
    #[doc(alias = "calculatePlan")]
    pub fn calculate_plan(&self, cluster: &Cluster) -> Result<Plan, TargetError> {
        for (id, target) in &self.targets {
            let node = cluster.node(id);
            let node = node.ok_or_else(|| TargetError::UnknownNode { node: id.clone() })?;
            if *target > 0 && !node.accepts() {
                return Err(TargetError::NotAccepting { node: id.clone() });
            }
        }
        let targets = self.targets.values().map(|target| u64::from(*target)).sum();
        let copies = cluster
            .partitions()
            .map(|(_, partition)| u64::from(partition.copies));
        let copies = copies.sum();
        if targets != copies {
            return Err(TargetError::Sum { targets, copies });
        }
        Ok(self.plan(cluster))
    }
}

impl Policy for TargetPolicy {
    fn plan(&self, cluster: &Cluster) -> Plan {
        let target = |node: &crate::Node| self.targets.get(&node.id).copied().unwrap_or(0);
        let mut placement = Placement::new(cluster, self.spread, target, |_| 1);
        replica::settle(&mut placement, Band::EXACT);
        placement.into_plan()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use shardwright_topology::ShardId;

    use super::*;
    use crate::{Node, Partition, PartitionId, Standing};

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    /// Ten shards: six on `node-1`, four on `node-2`.
    fn cluster() -> Cluster {
        let mut cluster = Cluster::new();
        for name in ["node-1", "node-2", "node-3"] {
            cluster.set_node(Node::new(node(name)));
        }
        for shard in 0..10 {
            let holder = if shard < 6 { "node-1" } else { "node-2" };
            let partition = Partition {
                holders: vec![node(holder)],
                ..Partition::new(1)
            };
            cluster.set_partition(PartitionId::from(ShardId::numbered(shard)), partition);
        }
        cluster
    }

    fn policy(targets: [u32; 3]) -> TargetPolicy {
        let names = ["node-1", "node-2", "node-3"].map(node);
        TargetPolicy::new(names.into_iter().zip(targets))
    }

    #[test]
    fn exact_targets_are_reached_in_the_fewest_moves() {
        let mut cluster = cluster();
        let plan = policy([3, 3, 4]).calculate_plan(&cluster).unwrap();
        expect![[r#"
            partition     step  from    to      reason
            main/shard-0  move  node-1  node-3  overloaded
            main/shard-3  move  node-1  node-3  overloaded
            main/shard-5  move  node-1  node-3  overloaded
            main/shard-6  move  node-2  node-3  overloaded
        "#]]
        .assert_eq(&plan.to_string());
        cluster.apply_all(&plan).unwrap();
        assert_eq!(
            policy([3, 3, 4]).calculate_plan(&cluster),
            Ok(Plan::default())
        );
    }

    #[test]
    fn a_move_has_the_fields_of_the_document() {
        let plan = policy([5, 4, 1]).calculate_plan(&cluster()).unwrap();
        let json = serde_json::to_value(&plan).unwrap();
        let first = &json["moves"][0];
        assert_eq!(first["from"], "node-1");
        assert_eq!(first["to"], "node-3");
        assert!(
            first["shard"].as_str().unwrap().starts_with("shard-"),
            "{json}"
        );
    }

    #[test]
    fn targets_that_do_not_fit_are_refused_by_name() {
        let error = policy([3, 3, 3]).calculate_plan(&cluster()).unwrap_err();
        assert_eq!(
            error,
            TargetError::Sum {
                targets: 9,
                copies: 10
            }
        );
        let message = error.to_string();
        assert!(message.contains('9') && message.contains("10"), "{message}");

        let stranger = TargetPolicy::new([(node("node-9"), 10)]);
        let refused = stranger.calculate_plan(&cluster()).unwrap_err();
        assert_eq!(refused.code(), "TARGET_UNKNOWN_NODE");

        let mut down = cluster();
        down.set_node(Node {
            standing: Standing::Down,
            ..Node::new(node("node-3"))
        });
        let refused = policy([3, 3, 4]).calculate_plan(&down).unwrap_err();
        assert_eq!(refused.code(), "TARGET_NOT_ACCEPTING");
        assert!(policy([5, 5, 0]).calculate_plan(&down).is_ok());
    }

    #[test]
    fn other_sums_are_proportions() {
        let mut cluster = cluster();
        let policy = policy([10, 10, 20]);
        cluster.apply_all(&policy.plan(&cluster)).unwrap();
        let mut counts = BTreeMap::new();
        for (_, partition) in cluster.partitions() {
            *counts
                .entry(partition.holders[0].as_str().to_owned())
                .or_insert(0) += 1;
        }
        assert_eq!(counts["node-3"], 5);
        assert!((2..=3).contains(&counts["node-1"]), "{counts:?}");
        assert!(policy.plan(&cluster).is_empty());
    }
}
