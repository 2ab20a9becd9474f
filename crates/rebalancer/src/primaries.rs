//! Primaries: which holder of each partition takes the writes, spread by what that costs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_topology::NodeId;

use crate::{Blend, Cluster, Move, Node, PartitionId, Plan, Policy, Reason, Step, load::Costs};

/// Spreads the primaries of partitions with several copies over the nodes that hold them, by the weights of the nodes. It promotes, and copies
/// nothing.
///
/// A primary costs what a [`Blend`] of its [`Load`](crate::Load) says, and each node should have the part of all costs that its weight is of all
/// weights. Nothing changes as long as every node is within [`start_percent`](Self::start_percent) of its share. Once one is not, it hands primaries
/// over to holders with less, until it is within [`settle_percent`](Self::settle_percent) or none would be better off. Each hand-over leads from a
/// node with more for its weight to one that has less also afterwards, so this ends, and what is planned on the result is nothing.
///
/// What is pinned stays, and a node that takes nothing is given nothing. Whether a holder has caught up is not looked at: whoever carries the plan
/// out refuses one that has not.
///
/// ```
/// use shardwright_rebalancer::{
///     Cluster, Node, Partition, PartitionId, Policy, PrimaryPolicy,
///     topology::{NodeId, ShardId},
/// };
///
/// let nodes = ["n1", "n2", "n3"].map(|name| NodeId::new(name).unwrap());
/// let mut cluster = Cluster::new();
/// for node in &nodes {
///     cluster.set_node(Node::new(node.clone()));
/// }
/// for shard in 0..3 {
///     let partition = Partition { holders: nodes.to_vec(), ..Partition::new(3) };
///     cluster.set_partition(PartitionId::from(ShardId::numbered(shard)), partition);
/// }
/// let plan = PrimaryPolicy::default().plan(&cluster);
/// assert_eq!(plan.moves.len(), 2, "one for each of the other nodes");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrimaryPolicy {
    /// How much each measurement counts. Default: requests and processors 45 each, the primary as such 10.
    pub blend: Blend,
    /// From how much more than its share a node gives, in hundredths of it; and from how much less one takes. Default 120; less than 100 is 100.
    pub start_percent: u32,
    /// Up to what it gives, or takes. Default 105; less than 100 is 100, and more than [`start_percent`](Self::start_percent) is that.
    pub settle_percent: u32,
}

impl Default for PrimaryPolicy {
    fn default() -> Self {
        Self {
            blend: Blend {
                requests: 45,
                cpu: 45,
                ..Blend::COPIES
            },
            start_percent: 120,
            settle_percent: 105,
        }
    }
}

impl Policy for PrimaryPolicy {
    fn plan(&self, cluster: &Cluster) -> Plan {
        let mut draft = Draft::new(cluster, self.blend);
        let start = self.start_percent.max(100);
        let settle = self.settle_percent.clamp(100, start);
        while draft.give(start, settle) || draft.take(start, settle) {}
        draft.into_plan()
    }
}

/// What each node has as primary while a plan is made.
struct Draft<'a> {
    cluster: &'a Cluster,
    /// The nodes that take part, with their costs.
    load: BTreeMap<&'a NodeId, u128>,
    total: u128,
    weights: u128,
    /// Who has which primary, and what it costs.
    primaries: BTreeMap<&'a PartitionId, (&'a NodeId, u128)>,
    /// Why each of those that change does.
    reasons: BTreeMap<&'a PartitionId, Reason>,
}

/// A hand-over that would make the load more even, and how even: the larger load for its weight of the two, afterwards, and that of who takes it.
type Offer<'a> = (u128, u128, &'a PartitionId, &'a NodeId);

impl<'a> Draft<'a> {
    fn new(cluster: &'a Cluster, blend: Blend) -> Self {
        let costs = Costs::new(cluster, blend);
        let taking = || cluster.nodes().filter(|node| node.accepts());
        let mut load: BTreeMap<&NodeId, u128> = taking().map(|node| (&node.id, 0)).collect();
        let mut primaries = BTreeMap::new();
        let mut total = 0;
        for (id, partition) in cluster.partitions() {
            let cost = u128::from(costs.of(partition.measured));
            if let Some(primary) = partition.primary()
                && let Some(load) = load.get_mut(primary)
            {
                (*load, total) = (*load + cost, total + cost);
                if !partition.pinned && partition.holders.len() > 1 {
                    primaries.insert(id, (primary, cost));
                }
            }
        }
        Self {
            cluster,
            load,
            total,
            weights: taking().map(|node| u128::from(node.weight)).sum(),
            primaries,
            reasons: BTreeMap::new(),
        }
    }

    fn node(&self, id: &NodeId) -> Option<&'a Node> {
        let node = self.cluster.node(id)?;
        node.accepts().then_some(node)
    }

    /// The load of a node for its weight, as a number that can be compared.
    fn ratio(&self, id: &NodeId, load: u128) -> u128 {
        let weight = self.node(id).map_or(1, |node| u128::from(node.weight));
        (load << 20) / weight.max(1)
    }

    /// How much of its share a node has, in hundredths, times what a share is a part of: it is compared with so many hundredths of `total`.
    fn percent_of_share(&self, id: &NodeId) -> u128 {
        let weight = self.node(id).map_or(1, |node| u128::from(node.weight));
        self.load[id] * self.weights * 100 / weight.max(1)
    }

    /// Lets the most loaded node that has too much, and can, give one primary. Returns whether one did.
    fn give(&mut self, start: u32, settle: u32) -> bool {
        let is_giver = |id: &NodeId| self.percent_of_share(id) > u128::from(start) * self.total;
        let mut givers: Vec<_> = self
            .load
            .keys()
            .copied()
            .filter(|id| is_giver(id))
            .collect();
        givers.sort_by_key(|id| (std::cmp::Reverse(self.ratio(id, self.load[*id])), *id));
        for giver in givers {
            let mut moved = false;
            while self.percent_of_share(giver) > u128::from(settle) * self.total
                && let Some((.., id, to)) = self.best(|from, _| from == giver)
            {
                self.hand_over(id, to, Reason::Overloaded);
                moved = true;
            }
            if moved {
                return true;
            }
        }
        false
    }

    /// Lets the least loaded node that has too little take one primary from a node that has more than its share. Returns whether one did.
    fn take(&mut self, start: u32, settle: u32) -> bool {
        let below = |percent: u32| u128::from(200_u32.saturating_sub(percent)) * self.total;
        let (start, settle) = (below(start), below(settle));
        let is_taker = |id: &NodeId| self.percent_of_share(id) < start;
        let mut takers: Vec<_> = self
            .load
            .keys()
            .copied()
            .filter(|id| is_taker(id))
            .collect();
        takers.sort_by_key(|id| (self.ratio(id, self.load[*id]), *id));
        for taker in takers {
            let mut moved = false;
            while self.percent_of_share(taker) < settle {
                let has_more = |from: &NodeId| self.percent_of_share(from) > 100 * self.total;
                let Some((.., id, to)) = self.best(|from, to| to == taker && has_more(from)) else {
                    break;
                };
                self.hand_over(id, to, Reason::Underloaded);
                moved = true;
            }
            if moved {
                return true;
            }
        }
        false
    }

    /// Returns the hand-over that leaves the larger one of the two nodes with the least, of those that are wanted and make it smaller.
    fn best(&self, wanted: impl Fn(&NodeId, &NodeId) -> bool) -> Option<Offer<'a>> {
        let mut best: Option<Offer<'a>> = None;
        for (id, (from, cost)) in &self.primaries {
            let partition = self.cluster.partition(id);
            let before = self.ratio(from, self.load[from]);
            let left = self.ratio(from, self.load[from] - cost);
            for to in partition.into_iter().flat_map(|found| &found.holders) {
                let Some(has) = self
                    .load
                    .get(to)
                    .filter(|_| to != *from && wanted(from, to))
                else {
                    continue;
                };
                let taker = self.ratio(to, has + cost);
                let after = left.max(taker);
                let offer = (after, taker, *id, to);
                if after < before && best.is_none_or(|best| offer < best) {
                    best = Some(offer);
                }
            }
        }
        best
    }

    fn hand_over(&mut self, id: &'a PartitionId, to: &'a NodeId, reason: Reason) {
        let Some((primary, cost)) = self.primaries.get_mut(id) else {
            return;
        };
        let from = std::mem::replace(primary, to);
        let cost = *cost;
        if let Some(load) = self.load.get_mut(from) {
            *load -= cost;
        }
        *self.load.entry(to).or_default() += cost;
        self.reasons.insert(id, reason);
    }

    fn into_plan(self) -> Plan {
        let moves = self.reasons.iter().filter_map(|(id, reason)| {
            let (to, _) = self.primaries.get(id)?;
            let before = self.cluster.partition(id)?.primary()?;
            // Some go on and come back.
            (*to != before).then(|| Move {
                partition: (*id).clone(),
                step: Step::Promote { to: (*to).clone() },
                reason: *reason,
            })
        });
        let mut moves: Vec<_> = moves.collect();
        moves.sort_by(|one, other| {
            (one.reason, &one.partition).cmp(&(other.reason, &other.partition))
        });
        Plan {
            moves,
            ..Plan::default()
        }
    }
}

#[cfg(test)]
mod tests;
