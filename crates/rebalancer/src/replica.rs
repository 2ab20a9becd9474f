//! The policy of the replica sharder: the least loaded node gets the next copy, and work is stolen from those with too much.

mod shorten;
mod steal;

use serde::{Deserialize, Serialize};

use crate::{
    Cluster, Node, Partition, Plan, Policy, Reason, Spread,
    placement::{Holders, Placement},
};

/// Gives each copy to the node with the least load for its weight, and moves copies away from nodes with too much.
///
/// - A node never has two copies of a partition. What finds no node is reported as
///   [under-replicated](Plan::under_replicated), and is placed by the first plan after a node has come.
/// - With [`Spread::Zones`] or [`Spread::Regions`], copies of one partition are in different places where there are enough; where
///   there are not, they are reported as [crowded](Plan::crowded). This goes before balance.
/// - A node with more than [`steal_above_percent`](Self::steal_above_percent) of its share gives away what it has above it. A
///   node that lacks as much, a new one for example, is given what it lacks. Each copy that moves brings the loads nearer
///   to the shares, so this ends, and what is planned on the result is nothing.
/// - Partitions of a [group](Partition::apart) do not share a node; where they have to, that is [reported](Plan::together).
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
        let load = |partition: &Partition| u64::from(partition.load.unwrap_or(1));
        let mut placement = Placement::new(cluster, self.spread, weight, load);
        let band = Band {
            start_percent: self.steal_above_percent.max(100),
            ..Band::EXACT
        };
        settle(&mut placement, band);
        placement.into_plan()
    }
}

/// Which loads are far enough from the share for copies to move, and which are near enough for that to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Band {
    /// A node with more of its share than this gives, and one that lacks as much takes.
    pub(crate) start_percent: u32,
    /// Until it has no more than this, or lacks no more. Not above the other one.
    pub(crate) settle_percent: u32,
}

impl Band {
    /// As near to the shares as whole copies can be.
    pub(crate) const EXACT: Self = Self {
        start_percent: 100,
        settle_percent: 100,
    };
}

/// Mends what is wrong, then balances.
pub(crate) fn settle(placement: &mut Placement<'_>, band: Band) {
    mend(placement);
    balance(placement, band);
    // What had no home because of its group may have one now. Balancing leaves no group and no node worse off, so this ends.
    while !placement.apart.is_empty() && mend(placement) {
        balance(placement, band);
    }
}

/// Balances in as few moves as are found.
fn balance(placement: &mut Placement<'_>, band: Band) {
    steal::balance(placement, band);
    // With other copies in the same places, more may be possible. Each round leads nearer to the shares or takes fewer moves.
    let aim = placement.seats.balance();
    while shorten::take_back(placement, aim) | shorten::shorten(placement, aim) {
        steal::balance(placement, band);
    }
}

/// Drops, places and moves what calls for it whatever the balance is. Returns whether anything did.
fn mend(placement: &mut Placement<'_>) -> bool {
    let mut changed = false;
    for item in placement.numbers() {
        changed |= drop_surplus(placement, item);
    }
    // These have the least choice of all that moves, so they choose first.
    if !placement.apart.is_empty() {
        for item in placement.numbers() {
            changed |= separate(placement, item);
        }
    }
    for item in placement.numbers() {
        changed |= fill(placement, item);
    }
    for item in placement.numbers() {
        changed |= leave_emptied(placement, item);
    }
    if placement.seats.has_places() {
        for item in placement.numbers() {
            changed |= spread(placement, item);
        }
    }
    changed
}

/// Drops copies beyond those that there should be, the primary's last: those on nodes that are emptied, those beside others that they
/// are kept apart from, those that share a place, those on the most loaded nodes.
fn drop_surplus(placement: &mut Placement<'_>, item: u32) -> bool {
    let mut changed = false;
    loop {
        let entry = &placement.items[item as usize];
        let surplus = entry.holders.len() > entry.partition.copies as usize;
        if !surplus || entry.partition.pinned {
            return changed;
        }
        let primary = entry.holders.first().copied();
        let rank = |holder: &u32| {
            let seat = placement.seats.seat(*holder);
            let violated = placement.apart.is_violated(item, *holder);
            let shared = placement.places(item, Some(*holder)).contains(&seat.place);
            let load = crate::seats::ratio(seat);
            (
                Some(*holder) != primary,
                seat.emptied,
                violated,
                shared,
                load,
                *holder,
            )
        };
        let Some(victim) = entry.holders.iter().copied().max_by_key(rank) else {
            return changed;
        };
        placement.drop_copy(item, victim);
        changed = true;
    }
}

/// Places the missing copies of pinned partitions, once it is known where the others are.
pub(crate) fn fill_pinned(placement: &mut Placement<'_>) {
    for item in placement.numbers() {
        if placement.items[item as usize].partition.pinned {
            fill(placement, item);
        }
    }
}

/// Places the copies that are missing, in a place without a copy if there is one.
fn fill(placement: &mut Placement<'_>, item: u32) -> bool {
    let mut changed = false;
    while placement.items[item as usize].missing() > 0 {
        let Some(to) = home(placement, item, None) else {
            break;
        };
        placement.place(item, to);
        changed = true;
    }
    changed
}

/// Moves copies away from nodes that are emptied, if anybody else may have them.
fn leave_emptied(placement: &mut Placement<'_>, item: u32) -> bool {
    let emptied = |holder: u32| placement.seats.seat(holder).emptied;
    let leaving = movable(placement, item, emptied);
    leave(placement, item, leaving, Reason::Draining)
}

/// Moves copies away from nodes with others that they are kept apart from.
fn separate(placement: &mut Placement<'_>, item: u32) -> bool {
    let violated = |holder: u32| placement.apart.is_violated(item, holder);
    let leaving = movable(placement, item, violated);
    leave(placement, item, leaving, Reason::Apart)
}

/// Returns the holders of a partition that are `wrong` and may give it away.
fn movable(placement: &Placement<'_>, item: u32, wrong: impl Fn(u32) -> bool) -> Holders {
    let entry = &placement.items[item as usize];
    let holders = entry.holders.iter().copied();
    holders
        .filter(|holder| !entry.partition.pinned && wrong(*holder))
        .collect()
}

/// Moves copies away from these nodes, if anybody else may have them.
fn leave(placement: &mut Placement<'_>, item: u32, leaving: Holders, reason: Reason) -> bool {
    let mut changed = false;
    for from in leaving {
        if let Some(to) = home(placement, item, Some(from)) {
            placement.shift(item, from, to, reason);
            changed = true;
        }
    }
    changed
}

/// Moves copies that share a place to places without one, the primary's last.
fn spread(placement: &mut Placement<'_>, item: u32) -> bool {
    let entry = &placement.items[item as usize];
    if entry.partition.pinned || entry.holders.len() < 2 {
        return false;
    }
    let mut changed = false;
    for from in entry.holders.clone().into_iter().rev() {
        let others = placement.places(item, Some(from));
        if !others.contains(&placement.seats.seat(from).place) {
            continue;
        }
        if let Some(to) = placement.least(item, &others) {
            placement.shift(item, from, to, Reason::Spread);
            changed = true;
        }
    }
    changed
}

/// Returns the node that gets the next copy, or that of `leaving`.
fn home(placement: &Placement<'_>, item: u32, leaving: Option<u32>) -> Option<u32> {
    let least = |avoid: &[u32]| placement.least(item, avoid);
    let avoid = placement.places(item, leaving);
    if avoid.is_empty() {
        return least(&[]);
    }
    least(&avoid).or_else(|| least(&[]))
}

#[cfg(test)]
mod tests;
