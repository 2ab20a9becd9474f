//! The policy of measured loads: each node has its part of a blend of bytes, requests and whatever else counts.

use serde::{Deserialize, Serialize};

use crate::{
    Blend, Cluster, Node, Partition, Plan, Policy, Spread,
    load::Costs,
    placement::Placement,
    replica::{Band, settle},
};

/// Balances what partitions were [measured](Partition::measured) to need, by the weights of the nodes.
///
/// Each copy costs what a [`Blend`] of its [`Load`](crate::Load) says, and each node should have the part of all costs that its weight
/// is of all weights. Everything else is as with [`ReplicaPolicy`](crate::ReplicaPolicy): spread, drains, pins and groups that are kept
/// apart go before balance; a plan is pure, and what is planned on its result is nothing.
///
/// Measurements change all the time, and a plan must not follow each change. So nothing moves as long as every node is within
/// [`start_percent`](Self::start_percent) of its share, and once one is not, copies move until it is within
/// [`settle_percent`](Self::settle_percent), where whole copies can do that. Its load then has to change by the difference before
/// anything moves again. The heaviest copies that do not go too far move first, so that few move; with single copies of equal loads no
/// fewer moves lead as near to the shares.
///
/// A plan takes time in proportion to the number of copies: about a second for a million partitions on a thousand nodes.
///
/// ```
/// use shardwright_rebalancer::{
///     Cluster, Load, LoadPolicy, Node, Partition, PartitionId, Policy,
///     topology::{NodeId, ShardId},
/// };
///
/// let [n1, n2] = [NodeId::new("n1")?, NodeId::new("n2")?];
/// let mut cluster = Cluster::new();
/// for node in [&n1, &n2] {
///     cluster.set_node(Node::new(node.clone()));
/// }
/// for (shard, bytes) in [(0, 40), (1, 25), (2, 25), (3, 10)] {
///     let partition = Partition {
///         holders: vec![n1.clone()],
///         measured: Some(Load { bytes, ..Load::default() }),
///         ..Partition::new(1)
///     };
///     cluster.set_partition(PartitionId::from(ShardId::numbered(shard)), partition);
/// }
/// let plan = LoadPolicy::default().plan(&cluster);
/// assert_eq!(plan.moves.len(), 2, "40 and 10, or 25 and 25");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadPolicy {
    /// How much each measurement counts.
    pub blend: Blend,
    /// From how much more than its share a node gives, in hundredths of it; and from how much less one takes. Default 120; less
    /// than 100 is 100.
    pub start_percent: u32,
    /// Up to what it gives, or takes. Default 105; less than 100 is 100, and more than [`start_percent`](Self::start_percent) is that.
    pub settle_percent: u32,
    /// How far apart copies of one partition are kept. Default: on different nodes.
    pub spread: Spread,
}

impl Default for LoadPolicy {
    fn default() -> Self {
        Self {
            blend: Blend::default(),
            start_percent: 120,
            settle_percent: 105,
            spread: Spread::default(),
        }
    }
}

impl Policy for LoadPolicy {
    fn plan(&self, cluster: &Cluster) -> Plan {
        let costs = Costs::new(cluster, self.blend);
        let weight = |node: &Node| node.weight;
        let cost = |partition: &Partition| costs.of(partition.measured);
        let mut placement = Placement::new(cluster, self.spread, weight, cost);
        let start_percent = self.start_percent.max(100);
        let band = Band {
            start_percent,
            settle_percent: self.settle_percent.clamp(100, start_percent),
        };
        settle(&mut placement, band);
        placement.into_plan()
    }
}

#[cfg(test)]
mod tests;
