//! The policy of the replica sharder: the least loaded node gets the next copy, and work is stolen from those with too much.

mod steal;

use serde::{Deserialize, Serialize};

use crate::{Cluster, Node, Partition, Plan, Policy, Reason, Spread, placement::Placement};

/// Gives each copy to the node with the least load for its weight, and moves copies away from nodes with too much.
///
/// - A node never has two copies of a partition. What finds no node is reported as
///   [under-replicated](Plan::under_replicated), and is placed by the first plan after a node has come.
/// - With [`Spread::Zones`] or [`Spread::Regions`], copies of one partition are in different places where there are enough; where
///   there are not, they are reported as [crowded](Plan::crowded). This goes before balance.
/// - A node with more than [`steal_above_percent`](Self::steal_above_percent) of its share gives away what it has above it. A
///   node that lacks as much, a new one for example, is given what it lacks. Each copy that moves brings the loads nearer
///   to the shares, so this ends, and what is planned on the result is nothing.
/// - Of nodes with equal loads the name of the partition decides, so what a lost node had spreads over all others.
///
/// A plan takes time in proportion to the number of copies.
#[doc(alias = "ReplicaSharder")]
#[doc(alias = "nextNode")]
#[doc(alias = "stealWork")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicaPolicy {
    /// How much more than its share a node may have, in hundredths of it. Default 130; 100 or less balances as exactly as whole
    /// copies can be.
    pub steal_above_percent: u32,
    /// How far apart copies of one partition are kept. Default: on different nodes.
    pub spread: Spread,
}

impl Default for ReplicaPolicy {
    fn default() -> Self {
        Self {
            steal_above_percent: 130,
            spread: Spread::default(),
        }
    }
}

impl Policy for ReplicaPolicy {
    fn plan(&self, cluster: &Cluster) -> Plan {
        let weight = |node: &Node| node.weight;
        let load = |partition: &Partition| partition.load.unwrap_or(1);
        let mut placement = Placement::new(cluster, self.spread, weight, load);
        settle(&mut placement, self.steal_above_percent);
        placement.into_plan()
    }
}

/// Mends what is wrong, then balances.
pub(crate) fn settle(placement: &mut Placement<'_>, steal_above_percent: u32) {
    for item in placement.numbers() {
        drop_surplus(placement, item);
    }
    for item in placement.numbers() {
        fill(placement, item);
    }
    for item in placement.numbers() {
        leave_emptied(placement, item);
    }
    if placement.seats.has_places() {
        for item in placement.numbers() {
            spread(placement, item);
        }
    }
    steal::balance(placement, steal_above_percent.max(100));
}

/// Drops copies beyond those that there should be, the primary's last: those on nodes that are emptied, those that share a place,
/// those on the most loaded nodes.
fn drop_surplus(placement: &mut Placement<'_>, item: u32) {
    loop {
        let entry = &placement.items[item as usize];
        let surplus = entry.holders.len() > entry.partition.copies as usize;
        if !surplus || entry.partition.pinned {
            return;
        }
        let primary = entry.holders.first().copied();
        let rank = |holder: &u32| {
            let seat = placement.seats.seat(*holder);
            let shared = placement.places(item, Some(*holder)).contains(&seat.place);
            let load = crate::seats::ratio(seat);
            (
                Some(*holder) != primary,
                seat.emptied,
                shared,
                load,
                *holder,
            )
        };
        let Some(victim) = entry.holders.iter().copied().max_by_key(rank) else {
            return;
        };
        placement.drop_copy(item, victim);
    }
}

/// Places the copies that are missing, in a place without a copy if there is one.
pub(crate) fn fill(placement: &mut Placement<'_>, item: u32) {
    while placement.items[item as usize].missing() > 0 {
        let Some(to) = home(placement, item, None) else {
            return;
        };
        placement.place(item, to);
    }
}

/// Moves copies away from nodes that are emptied, if anybody else may have them.
fn leave_emptied(placement: &mut Placement<'_>, item: u32) {
    let entry = &placement.items[item as usize];
    if entry.partition.pinned {
        return;
    }
    let emptied = |holder: &u32| placement.seats.seat(*holder).emptied;
    let leaving: Vec<u32> = entry.holders.iter().copied().filter(emptied).collect();
    for from in leaving {
        if let Some(to) = home(placement, item, Some(from)) {
            placement.shift(item, from, to, Reason::Draining);
        }
    }
}

/// Moves copies that share a place to places without one, the primary's last.
fn spread(placement: &mut Placement<'_>, item: u32) {
    let entry = &placement.items[item as usize];
    if entry.partition.pinned || entry.holders.len() < 2 {
        return;
    }
    for from in entry.holders.clone().into_iter().rev() {
        let others = placement.places(item, Some(from));
        if !others.contains(&placement.seats.seat(from).place) {
            continue;
        }
        let entry = &placement.items[item as usize];
        if let Some(to) = placement.seats.least(entry.spot, &entry.holders, &others) {
            placement.shift(item, from, to, Reason::Spread);
        }
    }
}

/// Returns the node that gets the next copy, or that of `leaving`.
fn home(placement: &Placement<'_>, item: u32, leaving: Option<u32>) -> Option<u32> {
    let entry = &placement.items[item as usize];
    let least = |avoid: &[u32]| placement.seats.least(entry.spot, &entry.holders, avoid);
    let avoid = placement.places(item, leaving);
    if avoid.is_empty() {
        return least(&[]);
    }
    least(&avoid).or_else(|| least(&[]))
}

#[cfg(test)]
mod tests;
