//! Primaries: which holder of each partition takes the writes, spread by what that costs.

mod offers;

use std::{cmp::Reverse, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use shardwright_topology::NodeId;

use self::offers::Offers;
use crate::{Blend, Cluster, Move, Node, PartitionId, Plan, Policy, Reason, Step, load::Costs};

/// Spreads the primaries of partitions with several copies over the nodes that hold them, by the weights of the nodes. It promotes, and copies
/// nothing.
///
/// A primary costs what a [`Blend`] of its [`Load`](crate::Load) says, and each node should have the part of all costs that its weight is of all
/// weights. Nothing changes as long as every node is within [`start_percent`](Self::start_percent) of its share. Once one is not, it hands primaries
/// over to holders with less, until it is within [`settle_percent`](Self::settle_percent) or none would be better off. Each hand-over leads from a
/// node with more for its weight to one that has less also afterwards, so this ends, and what is planned on the result is nothing.
///
/// A plan takes time in proportion to the number of partitions with their copies, and to the nodes that share partitions with one that hands one over.
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
        draft.even_out(start, self.settle_percent.clamp(100, start));
        draft.into_plan()
    }
}

/// What each node has as primary while a plan is made.
struct Draft<'a> {
    /// The nodes that take part, in the order of their names.
    nodes: Vec<Seat<'a>>,
    total: u128,
    weights: u128,
    /// The primaries that may change hands, in the order of their names.
    primaries: Vec<Primary<'a>>,
    offers: Offers,
    /// How many hand-overs, and nodes, were looked at.
    looked: u64,
}

/// A node, with what its primaries cost.
struct Seat<'a> {
    node: &'a Node,
    load: u128,
}

/// A primary that may change hands. Nodes go by their places.
struct Primary<'a> {
    id: &'a PartitionId,
    cost: u128,
    /// Who may have it.
    holders: Vec<usize>,
    /// Who has it, and who had it first.
    at: usize,
    was: usize,
    /// Why it has changed hands, if it has.
    reason: Reason,
}

/// A hand-over that would make the load more even, and how even: the larger load for its weight of the two, afterwards, and that of who takes it. Then
/// the primary, and who takes it.
type Offer = (u128, u128, usize, usize);

impl<'a> Draft<'a> {
    fn new(cluster: &'a Cluster, blend: Blend) -> Self {
        let costs = Costs::new(cluster, blend);
        let taking = cluster.nodes().filter(|node| node.accepts());
        let mut nodes: Vec<_> = taking.map(|node| Seat { node, load: 0 }).collect();
        let places = nodes.iter().map(|seat| &seat.node.id).zip(0..);
        let places: BTreeMap<&NodeId, usize> = places.collect();
        let (mut primaries, mut total) = (Vec::new(), 0);
        let mut offers = Offers::new(nodes.len());
        for (id, partition) in cluster.partitions() {
            let cost = u128::from(costs.of(partition.measured));
            let primary = partition.primary().and_then(|primary| places.get(primary));
            let Some(at) = primary.copied() else {
                continue;
            };
            nodes[at].load += cost;
            total += cost;
            if partition.pinned || partition.holders.len() < 2 {
                continue;
            }
            let holders = partition.holders.iter();
            let holders = holders.filter_map(|node| places.get(node).copied());
            let primary = Primary {
                id,
                cost,
                holders: holders.collect(),
                at,
                was: at,
                reason: Reason::Overloaded,
            };
            offers.add(at, &primary.holders, cost, primaries.len());
            primaries.push(primary);
        }
        let weights = nodes.iter().map(|seat| u128::from(seat.node.weight)).sum();
        Self {
            nodes,
            total,
            weights,
            primaries,
            offers,
            looked: 0,
        }
    }

    /// Hands primaries over until no node is too far from its share, or none would be better off. Returns how many hand-overs and nodes it has looked
    /// at: that is what it costs.
    fn even_out(&mut self, start: u32, settle: u32) -> u64 {
        while self.give(start, settle) || self.take(start, settle) {}
        self.looked
    }

    fn weight(&self, place: usize) -> u128 {
        u128::from(self.nodes[place].node.weight).max(1)
    }

    /// The load of a node for its weight, as a number that can be compared.
    fn ratio(&self, place: usize, load: u128) -> u128 {
        (load << 20) / self.weight(place)
    }

    /// How much of its share a node has, in hundredths, times what a share is a part of: it is compared with so many hundredths of `total`.
    fn percent_of_share(&self, place: usize) -> u128 {
        self.nodes[place].load * self.weights * 100 / self.weight(place)
    }

    /// Lets the most loaded node that has too much, and can, give one primary after the other. Returns whether one did.
    fn give(&mut self, start: u32, settle: u32) -> bool {
        self.looked += self.nodes.len() as u64;
        let above = u128::from(start) * self.total;
        let givers = (0..self.nodes.len()).filter(|place| above < self.percent_of_share(*place));
        let mut givers: Vec<_> = givers.collect();
        givers.sort_by_key(|place| (Reverse(self.ratio(*place, self.nodes[*place].load)), *place));
        for giver in givers {
            let mut moved = false;
            while self.percent_of_share(giver) > u128::from(settle) * self.total
                && let Some((.., primary, to)) = self.best_of(giver)
            {
                self.hand_over(primary, to, Reason::Overloaded);
                moved = true;
            }
            if moved {
                return true;
            }
        }
        false
    }

    /// Lets the least loaded node that has too little take primaries from nodes that have more than their share. Returns whether one did.
    fn take(&mut self, start: u32, settle: u32) -> bool {
        self.looked += self.nodes.len() as u64;
        let below = |percent: u32| u128::from(200_u32.saturating_sub(percent)) * self.total;
        let (start, settle) = (below(start), below(settle));
        let takers = (0..self.nodes.len()).filter(|place| self.percent_of_share(*place) < start);
        let mut takers: Vec<_> = takers.collect();
        takers.sort_by_key(|place| (self.ratio(*place, self.nodes[*place].load), *place));
        for taker in takers {
            let mut moved = false;
            while self.percent_of_share(taker) < settle
                && let Some((.., primary, to)) = self.best_for(taker)
            {
                self.hand_over(primary, to, Reason::Underloaded);
                moved = true;
            }
            if moved {
                return true;
            }
        }
        false
    }

    /// Returns the best hand-over from a node.
    fn best_of(&mut self, giver: usize) -> Option<Offer> {
        let takers: Vec<_> = self.offers.takers(giver).collect();
        self.looked += takers.len() as u64;
        let offers = takers.into_iter().filter_map(|to| self.offer(giver, to));
        offers.min()
    }

    /// Returns the best hand-over to a node, from those that have more than their share.
    fn best_for(&mut self, taker: usize) -> Option<Offer> {
        let givers: Vec<_> = self.offers.givers(taker).collect();
        self.looked += givers.len() as u64;
        let has_more = |from: &usize| self.percent_of_share(*from) > 100 * self.total;
        let givers = givers.into_iter().filter(has_more);
        givers.filter_map(|from| self.offer(from, taker)).min()
    }

    /// Returns the hand-over between two nodes that leaves the larger one of them with the least, of those that make it smaller.
    fn offer(&self, from: usize, to: usize) -> Option<Offer> {
        let (has, lacks) = (self.nodes[from].load, self.nodes[to].load);
        let before = self.ratio(from, has);
        let more = (has * self.weight(to)).saturating_sub(lacks * self.weight(from));
        let even = more / (self.weight(from) + self.weight(to));
        let offers = self.offers.nearest(from, to, even);
        let offers = offers.map(|(cost, primary)| {
            let taker = self.ratio(to, lacks + cost);
            let after = self.ratio(from, has - cost).max(taker);
            (after, taker, primary, to)
        });
        offers.filter(|(after, ..)| *after < before).min()
    }

    fn hand_over(&mut self, place: usize, to: usize, reason: Reason) {
        let primary = &mut self.primaries[place];
        let (from, cost) = (primary.at, primary.cost);
        (primary.at, primary.reason) = (to, reason);
        self.nodes[from].load -= cost;
        self.nodes[to].load += cost;
        self.offers.remove(from, &primary.holders, cost, place);
        self.offers.add(to, &primary.holders, cost, place);
    }

    fn into_plan(self) -> Plan {
        // Some go on and come back.
        let changed = self
            .primaries
            .iter()
            .filter(|primary| primary.at != primary.was);
        let moves = changed.map(|primary| Move {
            partition: primary.id.clone(),
            step: Step::Promote {
                to: self.nodes[primary.at].node.id.clone(),
            },
            reason: primary.reason,
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
