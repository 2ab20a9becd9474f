//! What a plan costs, and what it leads to: the numbers by which people judge it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_topology::NodeId;

use crate::{Blend, Cluster, Move, Plan, Step, load::Costs};

/// What a plan costs and leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Impact {
    /// How many copies are made.
    pub copies: usize,
    /// How many bytes that takes, as far as they are measured.
    pub bytes: u64,
    /// The nodes that give or get anything, in the order of their names.
    pub nodes: Vec<NodeImpact>,
}

/// What a plan does to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeImpact {
    /// The node.
    pub node: NodeId,
    /// How many copies it gets.
    pub gets: usize,
    /// How many copies it loses.
    pub loses: usize,
    /// How many bytes are copied to it, as far as they are measured.
    pub bytes_in: u64,
    /// How many bytes of what it has are copied to others.
    pub bytes_out: u64,
    /// Its load before, in hundredths of its share, rounded down; `None` if it should have nothing.
    pub percent_before: Option<u64>,
    /// Its load afterwards.
    pub percent_after: Option<u64>,
}

impl Impact {
    /// Returns what a plan on this cluster costs and leads to, with loads by a blend of what was measured.
    ///
    /// It takes time in proportion to the number of copies in the cluster.
    #[must_use]
    pub fn of(cluster: &Cluster, plan: &Plan, blend: Blend) -> Self {
        let costs = Costs::new(cluster, blend);
        let mut impact = Self::default();
        let mut touched: BTreeMap<&NodeId, Touched> = BTreeMap::new();
        for planned in &plan.moves {
            let bytes = cluster.bytes_of(planned);
            let measured = cluster.partition(&planned.partition);
            let cost = costs.of(measured.and_then(|partition| partition.measured));
            impact.bytes += bytes;
            if let (Some(to), false) = (planned.step.to(), is_promotion(planned)) {
                impact.copies += 1;
                let node = touched.entry(to).or_default();
                (node.gets, node.bytes_in) = (node.gets + 1, node.bytes_in + bytes);
                node.gains += u128::from(cost);
            }
            if let Some(from) = planned.step.from() {
                let node = touched.entry(from).or_default();
                (node.loses, node.bytes_out) = (node.loses + 1, node.bytes_out + bytes);
                node.gives += u128::from(cost);
            }
        }
        if !touched.is_empty() {
            let shares = Shares::new(cluster, costs);
            let nodes = touched.into_iter();
            impact.nodes = nodes
                .map(|(node, touched)| shares.impact(node, &touched))
                .collect();
        }
        impact
    }
}

fn is_promotion(planned: &Move) -> bool {
    matches!(planned.step, Step::Promote { .. })
}

#[derive(Debug, Default)]
struct Touched {
    gets: usize,
    loses: usize,
    bytes_in: u64,
    bytes_out: u64,
    gains: u128,
    gives: u128,
}

/// What each node has, and should have.
struct Shares<'a> {
    cluster: &'a Cluster,
    held: BTreeMap<&'a NodeId, u128>,
    total: u128,
    weights: u128,
}

impl<'a> Shares<'a> {
    fn new(cluster: &'a Cluster, costs: Costs) -> Self {
        let mut held: BTreeMap<&NodeId, u128> = BTreeMap::new();
        let mut total = 0;
        for (_, partition) in cluster.partitions() {
            let cost = u128::from(costs.of(partition.measured));
            for holder in &partition.holders {
                *held.entry(holder).or_default() += cost;
                total += cost;
            }
        }
        let accepting = cluster.nodes().filter(|node| node.accepts());
        let weights = accepting.map(|node| u128::from(node.weight)).sum();
        Self {
            cluster,
            held,
            total,
            weights,
        }
    }

    fn impact(&self, id: &NodeId, touched: &Touched) -> NodeImpact {
        let before = self.held.get(id).copied().unwrap_or(0);
        let after = (before + touched.gains).saturating_sub(touched.gives);
        NodeImpact {
            node: id.clone(),
            gets: touched.gets,
            loses: touched.loses,
            bytes_in: touched.bytes_in,
            bytes_out: touched.bytes_out,
            percent_before: self.percent(id, before),
            percent_after: self.percent(id, after),
        }
    }

    fn percent(&self, id: &NodeId, load: u128) -> Option<u64> {
        let node = self.cluster.node(id).filter(|node| node.accepts())?;
        let share = self.total * u128::from(node.weight);
        let percent = (load * self.weights * 100).checked_div(share)?;
        Some(u64::try_from(percent).unwrap_or(u64::MAX))
    }
}
