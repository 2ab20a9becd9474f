//! Who holds what while a plan is made, by number instead of name.

mod diff;

use shardwright_hashing::Position;
use shardwright_topology::NodeId;

use crate::{
    Cluster, Node, Partition, PartitionId, Plan, Reason, Spread, Standing,
    seats::{Seats, number_of},
};

/// A partition while a plan is made.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) id: &'a PartitionId,
    pub(crate) partition: &'a Partition,
    /// Where its name falls, which breaks ties.
    pub(crate) spot: u64,
    /// Who has a copy that counts: nodes that are not down.
    pub(crate) holders: Vec<u32>,
    /// Who got a copy in this plan, and why.
    gained: Vec<(u32, Reason)>,
    pub(crate) load: u32,
}

impl Item<'_> {
    /// How many copies are missing. Those of a pinned partition whose nodes are down are expected back.
    pub(crate) fn missing(&self) -> usize {
        let away = self.partition.holders.len() - self.held_at_first();
        let expected = if self.partition.pinned { away } else { 0 };
        (self.partition.copies as usize).saturating_sub(self.holders.len() + expected)
    }

    /// Whether a node got its copy in this plan.
    pub(crate) fn gained_by(&self, node: u32) -> bool {
        self.gained.iter().any(|(gained, _)| *gained == node)
    }

    fn held_at_first(&self) -> usize {
        // A pinned partition loses no holder in the course of planning; only what it gained is new.
        self.holders.len() - self.gained.len()
    }
}

/// The nodes and partitions of a cluster, and who would hold what.
#[derive(Debug)]
pub(crate) struct Placement<'a> {
    pub(crate) seats: Seats<'a>,
    pub(crate) items: Vec<Item<'a>>,
    /// What each node holds, also what it no longer does.
    held: Vec<Vec<u32>>,
}

impl<'a> Placement<'a> {
    /// Takes the cluster as it is. `weight` says how much of the load an accepting node should have, and `load` how much of it a
    /// copy is.
    pub(crate) fn new(
        cluster: &'a Cluster,
        spread: Spread,
        weight: impl Fn(&Node) -> u32,
        load: impl Fn(&Partition) -> u32,
    ) -> Self {
        let mut seats = Seats::new(cluster, spread, weight);
        let mut items = Vec::with_capacity(cluster.partitions().len());
        let mut held = vec![Vec::new(); seats.numbers().len()];
        for (number, (id, partition)) in (0..).zip(cluster.partitions()) {
            let load = load(partition);
            let mut holders = Vec::with_capacity(partition.copies as usize);
            holders.extend(
                partition
                    .holders
                    .iter()
                    .filter_map(|node| living(&seats, node)),
            );
            for holder in &holders {
                seats.count(*holder, load);
                held[*holder as usize].push(number);
            }
            items.push(Item {
                id,
                partition,
                spot: spot(id),
                holders,
                gained: Vec::new(),
                load,
            });
        }
        seats.open();
        Self { seats, items, held }
    }

    /// Returns the places of the holders of a partition other than `leaving`, if places matter.
    pub(crate) fn places(&self, item: u32, leaving: Option<u32>) -> Vec<u32> {
        if self.seats.spread() == Spread::Nodes {
            return Vec::new();
        }
        let holders = self.items[item as usize].holders.iter();
        let staying = holders.filter(|holder| Some(**holder) != leaving);
        staying
            .map(|holder| self.seats.seat(*holder).place)
            .collect()
    }

    /// Gives a node a copy in addition to the others.
    pub(crate) fn place(&mut self, item: u32, to: u32) {
        let entry = &mut self.items[item as usize];
        debug_assert!(!entry.holders.contains(&to), "a node holds a copy once");
        entry.holders.push(to);
        entry.gained.push((to, Reason::TooFewCopies));
        self.seats.load(to, entry.load);
        self.held[to as usize].push(item);
    }

    /// Gives a node the copy of another one.
    pub(crate) fn shift(&mut self, item: u32, from: u32, to: u32, reason: Reason) {
        let entry = &mut self.items[item as usize];
        debug_assert!(!entry.holders.contains(&to), "a node holds a copy once");
        let places = entry.holders.iter_mut();
        for holder in places.filter(|holder| **holder == from) {
            *holder = to;
        }
        match entry.gained.iter_mut().find(|(node, _)| *node == from) {
            Some(gained) => gained.0 = to,
            None => entry.gained.push((to, reason)),
        }
        self.seats.unload(from, entry.load);
        self.seats.load(to, entry.load);
        self.held[to as usize].push(item);
    }

    /// Takes a copy away.
    pub(crate) fn drop_copy(&mut self, item: u32, from: u32) {
        let entry = &mut self.items[item as usize];
        entry.holders.retain(|holder| *holder != from);
        entry.gained.retain(|(node, _)| *node != from);
        self.seats.unload(from, entry.load);
    }

    /// Sets who should hold a partition that is not pinned, the primary first, as far as that is allowed: nodes that take nothing
    /// are left out, copies on nodes that keep what they have stay, and so does one on a node that is emptied if there would be too
    /// few otherwise.
    pub(crate) fn wish(&mut self, item: u32, wanted: Vec<u32>) {
        let entry = &self.items[item as usize];
        let mut holders: Vec<u32> = Vec::with_capacity(wanted.len());
        for node in wanted {
            if self.seats.seat(node).weight > 0 && !holders.contains(&node) {
                holders.push(node);
            }
        }
        for holder in &entry.holders {
            let seat = self.seats.seat(*holder);
            let few = holders.len() < entry.partition.copies as usize;
            let stays = seat.node.standing == Standing::Keeping || (seat.emptied && few);
            if stays && !holders.contains(holder) {
                holders.push(*holder);
            }
        }
        let entry = &mut self.items[item as usize];
        let before = std::mem::replace(&mut entry.holders, holders);
        let new = entry
            .holders
            .iter()
            .filter(|holder| !before.contains(holder));
        entry.gained = new.map(|holder| (*holder, Reason::Wanted)).collect();
    }

    /// Returns what a node holds.
    pub(crate) fn held_by(&self, node: u32) -> Vec<u32> {
        let mut held = self.held[node as usize].clone();
        held.retain(|item| self.items[*item as usize].holders.contains(&node));
        held.sort_unstable();
        held.dedup();
        held
    }

    pub(crate) fn numbers(&self) -> std::ops::Range<u32> {
        0..number_of(self.items.len())
    }

    /// Returns the plan that leads from the cluster as it was to the placement.
    pub(crate) fn into_plan(self) -> Plan {
        diff::plan(&self, false)
    }

    /// The same, and the first of the holders becomes primary.
    pub(crate) fn into_ordered_plan(self) -> Plan {
        diff::plan(&self, true)
    }
}

/// Returns the number of a node unless it is down or unknown.
fn living(seats: &Seats<'_>, node: &NodeId) -> Option<u32> {
    let number = seats.number(node)?;
    (seats.seat(number).node.standing != Standing::Down).then_some(number)
}

/// Returns where the name of a partition falls.
pub(crate) fn spot(id: &PartitionId) -> u64 {
    // The keyspace only tells apart partitions of one name, so it need not be part of one text with the shard.
    let keyspace = Position::fast_of(id.keyspace.as_str()).0;
    Position::fast_of(id.shard.as_str()).0 ^ keyspace.rotate_left(1)
}
