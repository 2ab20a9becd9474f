//! A policy that does what a sharder says.

use std::fmt;

use super::{Error, Sharder};
use crate::{Cluster, Node, Plan, Policy, Spread, placement::Placement, replica};

/// Makes a policy of a sharder, so that a coordinator can follow it.
///
/// Each plan asks a new sharder, which is told the accepting nodes, the partitions, and who holds them ([`Sharder::adopt`]), and
/// leads to what it answers. So the plan depends on the cluster alone, whichever coordinator makes it, as long as the sharder is
/// deterministic; one that ignores who holds what must answer by the names alone, or every plan moves everything. A plan costs
/// what the sharder takes to register all nodes and partitions.
///
/// The sharder decides how many copies there are; if it names fewer nodes than a partition should have copies, that is reported.
/// Copies on nodes that [keep](crate::Standing::Keeping) what they have stay beside them, and what must be kept apart and is not is
/// reported. The sharder is not told of pinned
/// partitions: these stay, and their missing copies go to the least loaded nodes. If the sharder fails, the plan is empty and says
/// why in [`Plan::refused`].
///
/// ```
/// use shardwright_rebalancer::{Cluster, Policy, ReplicaPolicy, ReplicaSharder, SharderPolicy};
///
/// let policy = SharderPolicy::new(|| ReplicaSharder::new(ReplicaPolicy::default(), 2));
/// assert!(policy.plan(&Cluster::new()).is_empty());
/// ```
pub struct SharderPolicy<F> {
    make: F,
}

impl<F, S> SharderPolicy<F>
where
    F: Fn() -> S + Send + Sync,
    S: Sharder,
{
    /// Returns the policy of the sharders that `make` makes, all alike and empty.
    pub fn new(make: F) -> Self {
        Self { make }
    }

    fn ask<'a>(&self, cluster: &'a Cluster) -> Result<Placement<'a>, Error> {
        let mut sharder = (self.make)();
        let accepting = || cluster.nodes().filter(|node| node.accepts());
        let nodes: Vec<Node> = accepting().cloned().collect();
        sharder.register_nodes(&nodes)?;
        let movable = || {
            cluster
                .partitions()
                .filter(|(_, partition)| !partition.pinned)
        };
        let ids: Vec<_> = movable().map(|(id, _)| id.clone()).collect();
        sharder.register_partitions(&ids)?;
        let held = movable().map(|(id, partition)| {
            let holders = partition.holders.iter();
            let known = holders.filter(|holder| cluster.node(holder).is_some_and(Node::accepts));
            (id.clone(), known.cloned().collect())
        });
        sharder.adopt(&held.collect::<Vec<_>>())?;
        let mut placement = Placement::new(cluster, Spread::Nodes, |node| node.weight, |_| 1);
        for item in placement.numbers() {
            let entry = &placement.items[item as usize];
            if entry.partition.pinned {
                continue;
            }
            let mut wanted = Vec::new();
            for node in sharder.nodes(entry.id)? {
                let number = placement.seats.number(&node);
                wanted.push(number.ok_or(Error::UnknownNode { node })?);
            }
            placement.wish(item, wanted);
        }
        replica::fill_pinned(&mut placement);
        Ok(placement)
    }
}

impl<F, S> Policy for SharderPolicy<F>
where
    F: Fn() -> S + Send + Sync,
    S: Sharder,
{
    fn plan(&self, cluster: &Cluster) -> Plan {
        match self.ask(cluster) {
            Ok(placement) => placement.into_ordered_plan(),
            Err(error) => Plan {
                refused: Some(error),
                ..Plan::default()
            },
        }
    }
}

impl<F> fmt::Debug for SharderPolicy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharderPolicy")
    }
}
