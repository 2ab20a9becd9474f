//! Who holds what while a plan is made, by number instead of name.

mod apart;
mod diff;

use shardwright_hashing::Position;
use shardwright_topology::NodeId;
use smallvec::SmallVec;

use self::apart::Apart;
use crate::{
    Cluster, Node, Partition, PartitionId, Plan, Reason, Spread, Standing,
    seats::{Seats, number_of},
};

/// A partition while a plan is made.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) id: &'a PartitionId,
    pub(crate) partition: &'a Partition,
    /// Who has a copy that counts: nodes that are not down.
    pub(crate) holders: Holders,
    /// Who got a copy in this plan, and why.
    gained: SmallVec<[(u32, Reason); 2]>,
    pub(crate) load: u64,
    /// Whether this plan changed anything about its holders, or one of them is down.
    is_touched: bool,
}

/// Nodes by number. Few partitions have more copies than fit in here, and there may be a million partitions.
pub(crate) type Holders = SmallVec<[u32; 4]>;

impl Item<'_> {
    /// Returns where its name falls, which breaks ties. It is computed anew each time: most partitions of a plan are never asked.
    pub(crate) fn spot(&self) -> u64 {
        spot(self.id)
    }

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
    pub(crate) apart: Apart,
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
        load: impl Fn(&Partition) -> u64,
    ) -> Self {
        let mut seats = Seats::new(cluster, spread, weight);
        let mut items = Vec::with_capacity(cluster.partitions().len());
        let mut held = vec![Vec::new(); seats.numbers().len()];
        let mut apart = Apart::new(cluster);
        for (number, (id, partition)) in (0..).zip(cluster.partitions()) {
            let load = load(partition);
            let living = |node| living(&seats, node);
            let holders: Holders = partition.holders.iter().filter_map(living).collect();
            for holder in &holders {
                seats.count(*holder, load);
                held[*holder as usize].push(number);
                apart.hold(number, *holder);
            }
            let is_touched = holders.len() < partition.holders.len();
            items.push(Item {
                id,
                partition,
                holders,
                gained: SmallVec::new(),
                load,
                is_touched,
            });
        }
        seats.open();
        Self {
            seats,
            items,
            apart,
            held,
        }
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

    /// Returns the node with the least load for its weight that may be given a copy and is in none of the places `avoid`.
    pub(crate) fn least(&self, item: u32, avoid: &[u32]) -> Option<u32> {
        let entry = &self.items[item as usize];
        let taken = |node| entry.holders.contains(&node) || self.apart.forbids(item, node);
        self.seats.least(entry.spot(), taken, avoid)
    }

    /// Gives a node a copy in addition to the others.
    pub(crate) fn place(&mut self, item: u32, to: u32) {
        let entry = &mut self.items[item as usize];
        debug_assert!(!entry.holders.contains(&to), "a node holds a copy once");
        entry.holders.push(to);
        entry.gained.push((to, Reason::TooFewCopies));
        entry.is_touched = true;
        self.apart.hold(item, to);
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
        entry.is_touched = true;
        self.apart.release(item, from);
        self.apart.hold(item, to);
        self.seats.unload(from, entry.load);
        self.seats.load(to, entry.load);
        self.held[to as usize].push(item);
    }

    /// Returns the nodes that get a copy of a partition in this plan.
    pub(crate) fn gained(&self, item: u32) -> Holders {
        let gained = self.items[item as usize].gained.iter();
        gained.map(|(node, _)| *node).collect()
    }

    /// Returns from where to where a partition moves, if that is all that happens to it and is for the sake of balance.
    pub(crate) fn balanced(&self, item: u32) -> Option<(u32, u32)> {
        self.moved_for(item, &[Reason::Overloaded, Reason::Underloaded])
    }

    /// The same, also if it moves to be apart from others: these may have moved away since.
    pub(crate) fn balanced_or_apart(&self, item: u32) -> Option<(u32, u32)> {
        let reasons = [Reason::Overloaded, Reason::Underloaded, Reason::Apart];
        let (from, to) = self.moved_for(item, &reasons)?;
        (self.seats.seat(from).weight > 0).then_some((from, to))
    }

    fn moved_for(&self, item: u32, reasons: &[Reason]) -> Option<(u32, u32)> {
        let entry = &self.items[item as usize];
        let [(to, reason)] = entry.gained[..] else {
            return None;
        };
        if !reasons.contains(&reason) {
            return None;
        }
        let before = &entry.partition.holders;
        let mut left = before
            .iter()
            .filter_map(|node| living(&self.seats, node))
            .filter(|node| !entry.holders.contains(node));
        let from = left.next()?;
        left.next().is_none().then_some((from, to))
    }

    /// Takes note that a copy is back where it was, so that it did not move at all.
    pub(crate) fn forget_returned(&mut self, item: u32, node: u32) {
        let entry = &mut self.items[item as usize];
        if entry
            .partition
            .holders
            .contains(&self.seats.seat(node).node.id)
        {
            entry.gained.retain(|(gained, _)| *gained != node);
        }
    }

    /// Takes a copy away.
    pub(crate) fn drop_copy(&mut self, item: u32, from: u32) {
        let entry = &mut self.items[item as usize];
        entry.holders.retain(|holder| *holder != from);
        entry.gained.retain(|(node, _)| *node != from);
        entry.is_touched = true;
        self.apart.release(item, from);
        self.seats.unload(from, entry.load);
    }

    /// Sets who should hold a partition that is not pinned, the primary first, as far as that is allowed: nodes that take nothing
    /// are left out, copies on nodes that keep what they have stay, and so does one on a node that is emptied if there would be too
    /// few otherwise.
    pub(crate) fn wish(&mut self, item: u32, wanted: Vec<u32>) {
        let entry = &self.items[item as usize];
        let mut holders = Holders::with_capacity(wanted.len());
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
        entry.is_touched = true;
        let before = std::mem::replace(&mut entry.holders, holders);
        for node in &before {
            self.apart.release(item, *node);
        }
        for node in &entry.holders {
            self.apart.hold(item, *node);
        }
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
