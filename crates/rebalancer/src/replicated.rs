//! Partitions that commit on several of their holders: primaries are handed over before anything is copied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_topology::NodeId;

use crate::{Cluster, LoadPolicy, Plan, Policy, PrimaryPolicy, load::Costs};

/// Balances partitions that have a primary and other copies that follow it: first hand-overs, which copy nothing; then copies move where
/// that is not enough; then the primaries once more, as far as those copies have changed what is possible.
///
/// As with the policies that it is made of, plans are pure, and what is planned on the result of a plan is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicatedPolicy {
    /// Where the copies are.
    pub copies: LoadPolicy,
    /// Which of them are primaries.
    pub primaries: PrimaryPolicy,
}

impl ReplicatedPolicy {
    /// Returns the load of each node that takes partitions, in hundredths of its share, rounded down: of what copies cost and of what primaries cost, half
    /// each.
    #[must_use]
    pub fn percents(&self, cluster: &Cluster) -> BTreeMap<NodeId, u64> {
        let of_copies = Costs::new(cluster, self.copies.blend);
        let of_primaries = Costs::new(cluster, self.primaries.blend);
        let (mut copies, mut primaries) = (Sum::default(), Sum::default());
        for (_, partition) in cluster.partitions() {
            let cost = of_copies.of(partition.measured);
            for holder in &partition.holders {
                copies.add(holder, cost);
            }
            if let Some(primary) = partition.primary() {
                primaries.add(primary, of_primaries.of(partition.measured));
            }
        }
        let taking = || cluster.nodes().filter(|node| node.accepts());
        let weights = taking().map(|node| u128::from(node.weight)).sum();
        let percent = |node: &crate::Node| {
            let parts = [&copies, &primaries].map(|sum| sum.percent(node, weights));
            let percent = u64::midpoint(parts[0], parts[1]);
            (node.id.clone(), percent)
        };
        taking().map(percent).collect()
    }
}

impl Policy for ReplicatedPolicy {
    fn plan(&self, cluster: &Cluster) -> Plan {
        let mut after = cluster.clone();
        let mut moves = self.primaries.plan(cluster).moves;
        // Plans fit the cluster that they were made from.
        let fits = |after: &mut Cluster, planned: &[crate::Move]| {
            planned.iter().all(|planned| after.apply(planned).is_ok())
        };
        debug_assert!(fits(&mut cluster.clone(), &moves), "hand-overs fit");
        moves.retain(|planned| after.apply(planned).is_ok());
        let mut plan = self.copies.plan(&after);
        plan.moves.retain(|planned| after.apply(planned).is_ok());
        let last = self.primaries.plan(&after).moves;
        moves.append(&mut plan.moves);
        moves.extend(last);
        Plan { moves, ..plan }
    }
}

/// What nodes have of something, and all of it.
#[derive(Default)]
struct Sum<'a> {
    of: BTreeMap<&'a NodeId, u128>,
    all: u128,
}

impl<'a> Sum<'a> {
    fn add(&mut self, node: &'a NodeId, cost: u64) {
        *self.of.entry(node).or_default() += u128::from(cost);
        self.all += u128::from(cost);
    }

    fn percent(&self, node: &crate::Node, weights: u128) -> u64 {
        let has = self.of.get(&node.id).copied().unwrap_or(0);
        let share = self.all * u128::from(node.weight);
        let percent = (has * weights * 100).checked_div(share).unwrap_or(0);
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::ShardId;

    use super::*;
    use crate::{Load, Node, Partition, PartitionId, Step};

    fn node(number: usize) -> NodeId {
        NodeId::new(format!("n{number}")).unwrap()
    }

    /// Shards with three copies on the first of so many nodes, with so many bytes and requests.
    fn cluster(nodes: usize, loads: &[(u64, u64)]) -> Cluster {
        let mut cluster = Cluster::new();
        for number in 1..=nodes {
            cluster.set_node(Node::new(node(number)));
        }
        for (number, (bytes, requests)) in (0..).zip(loads) {
            let measured = Load {
                bytes: *bytes,
                requests: *requests,
                ..Load::default()
            };
            let partition = Partition {
                holders: (1..=3).map(node).collect(),
                measured: Some(measured),
                ..Partition::new(3)
            };
            cluster.set_partition(PartitionId::from(ShardId::numbered(number)), partition);
        }
        cluster
    }

    #[track_caller]
    fn settled(mut cluster: Cluster) -> (Plan, Cluster) {
        let policy = ReplicatedPolicy::default();
        let plan = policy.plan(&cluster);
        cluster.apply_all(&plan).unwrap();
        assert_eq!(policy.plan(&cluster).moves, [], "after {plan:?}");
        (plan, cluster)
    }

    #[test]
    fn nothing_is_copied_where_hand_overs_are_enough() {
        let (plan, after) = settled(cluster(3, &[(100, 50); 6]));
        let is_promotion = |step: &Step| matches!(step, Step::Promote { .. });
        assert!(plan.moves.iter().all(|planned| is_promotion(&planned.step)));
        let percents = ReplicatedPolicy::default().percents(&after);
        assert!(
            percents
                .values()
                .all(|percent| (99..=100).contains(percent))
        );
    }

    #[test]
    fn a_new_node_gets_copies_and_primaries_in_one_plan() {
        let before = cluster(4, &[(100, 50); 8]);
        let policy = ReplicatedPolicy::default();
        assert_eq!(policy.percents(&before)[&node(4)], 0);
        let (_, after) = settled(before);
        let percents = policy.percents(&after);
        assert!(
            percents
                .values()
                .all(|percent| (80..=120).contains(percent)),
            "{percents:?}"
        );
    }

    #[test]
    fn idle_shards_of_one_size_on_all_nodes_stay() {
        let (_, after) = settled(cluster(3, &[(100, 0); 3]));
        let (plan, _) = settled(after);
        assert_eq!(plan.moves, []);
    }
}
