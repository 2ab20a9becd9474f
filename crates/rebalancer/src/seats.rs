//! The nodes while a plan is made: numbered, with their loads, and in the order in which they are given more.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::{HashMap, HashMapExt};
use serde::{Deserialize, Serialize};
use shardwright_topology::{Location, NodeId};

use crate::{Cluster, Node, Standing};

/// How far apart the copies of a partition are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// On different nodes, wherever these are.
    #[default]
    Nodes,
    /// In different zones, where there are enough. Zones of different regions are different; nodes without a zone count as one zone.
    Zones,
    /// In different regions, where there are enough. Nodes without a region count as one region.
    Regions,
}

impl Spread {
    fn place(self, location: &Location) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Nodes => (None, None),
            Self::Zones => (location.region.as_deref(), location.zone.as_deref()),
            Self::Regions => (location.region.as_deref(), None),
        }
    }
}

/// A node, its share and its load.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    pub(crate) node: &'a Node,
    /// Its part of the whole load, relative to the other weights; 0 if it takes none.
    pub(crate) weight: u32,
    /// Its zone or region, by number.
    pub(crate) place: u32,
    pub(crate) load: u64,
    /// Whether what it has is to be moved away while it still serves.
    pub(crate) emptied: bool,
}

/// The place of a node or a zone in the order in which they are given more: load over weight, larger weights first, number.
type Rung = (u128, u32, u32);

/// The nodes of a cluster by number, in the order of their names.
#[derive(Debug)]
pub(crate) struct Seats<'a> {
    seats: Vec<Seat<'a>>,
    numbers: HashMap<&'a str, u32>,
    spread: Spread,
    /// The nodes that take more, for each place.
    open: Vec<BTreeSet<Rung>>,
    /// The first rung of each place, with the number of the place.
    places: BTreeSet<Rung>,
    weights: u128,
}

impl<'a> Seats<'a> {
    /// Seats the nodes of a cluster; `weight` says how much of the load an accepting node should have.
    pub(crate) fn new(cluster: &'a Cluster, spread: Spread, weight: impl Fn(&Node) -> u32) -> Self {
        let mut numbers = HashMap::with_capacity(cluster.nodes().len());
        let mut place_numbers = BTreeMap::new();
        let mut seats = Vec::with_capacity(cluster.nodes().len());
        for (number, node) in (0..).zip(cluster.nodes()) {
            let next = number_of(place_numbers.len());
            let place = *place_numbers
                .entry(spread.place(&node.location))
                .or_insert(next);
            numbers.insert(node.id.as_str(), number);
            let weight = if node.accepts() { weight(node) } else { 0 };
            let emptied = match node.standing {
                Standing::Accepting => weight == 0,
                Standing::Draining => true,
                Standing::Keeping | Standing::Down => false,
            };
            seats.push(Seat {
                node,
                weight,
                place,
                load: 0,
                emptied,
            });
        }
        let weights = seats.iter().map(|seat| u128::from(seat.weight)).sum();
        Self {
            seats,
            numbers,
            spread,
            open: vec![BTreeSet::new(); place_numbers.len()],
            places: BTreeSet::new(),
            weights,
        }
    }

    /// Puts the nodes in order, once all that they hold is counted.
    pub(crate) fn open(&mut self) {
        for number in 0..number_of(self.seats.len()) {
            let seat = &self.seats[number as usize];
            if seat.weight > 0 {
                self.open[seat.place as usize].insert(rung(seat, number));
            }
        }
        for (place, open) in (0..).zip(&self.open) {
            self.places
                .extend(open.first().map(|rung| (rung.0, rung.1, place)));
        }
    }

    pub(crate) fn number(&self, node: &NodeId) -> Option<u32> {
        self.number_of_name(node.as_str())
    }

    pub(crate) fn number_of_name(&self, node: &str) -> Option<u32> {
        self.numbers.get(node).copied()
    }

    pub(crate) fn seat(&self, number: u32) -> &Seat<'a> {
        &self.seats[number as usize]
    }

    pub(crate) fn spread(&self) -> Spread {
        self.spread
    }

    /// Whether the nodes are in more than one place, so that copies can be spread at all.
    pub(crate) fn has_places(&self) -> bool {
        self.spread != Spread::Nodes && self.open.len() > 1
    }

    pub(crate) fn numbers(&self) -> std::ops::Range<u32> {
        0..number_of(self.seats.len())
    }

    /// Counts a load before the nodes are in order.
    pub(crate) fn count(&mut self, number: u32, load: u64) {
        self.seats[number as usize].load += load;
    }

    /// Adds to the load of a node, and keeps the order.
    pub(crate) fn load(&mut self, number: u32, load: u64) {
        self.reorder(number, |held| held + load);
    }

    /// Takes from the load of a node, and keeps the order.
    pub(crate) fn unload(&mut self, number: u32, load: u64) {
        self.reorder(number, |held| held - load);
    }

    fn reorder(&mut self, number: u32, change: impl Fn(u64) -> u64) {
        let seat = &mut self.seats[number as usize];
        let before = rung(seat, number);
        seat.load = change(seat.load);
        if seat.weight == 0 {
            return;
        }
        let after = rung(seat, number);
        let open = &mut self.open[seat.place as usize];
        let first_before = open.first().copied();
        open.remove(&before);
        open.insert(after);
        let first_after = open.first().copied();
        if first_before == first_after {
            return;
        }
        let place = seat.place;
        let of_place = |rung: Rung| (rung.0, rung.1, place);
        if let Some(rung) = first_before {
            self.places.remove(&of_place(rung));
        }
        self.places.extend(first_after.map(of_place));
    }

    /// Returns the node with the least load for its weight that is not `taken` and in none of the places `avoid`.
    ///
    /// Of nodes with equal loads, `spot` decides, so that partitions that look for a home together spread over all of them.
    pub(crate) fn least(
        &self,
        spot: u64,
        taken: impl Fn(u32) -> bool,
        avoid: &[u32],
    ) -> Option<u32> {
        let mut best: Option<Rung> = None;
        for (load, weight, place) in rotated(&self.places, spot, number_of(self.open.len())) {
            if best.is_some_and(|best| (best.0, best.1) <= (load, weight)) {
                break;
            }
            if avoid.contains(&place) {
                continue;
            }
            let open = rotated(
                &self.open[place as usize],
                spot.rotate_right(32),
                number_of(self.seats.len()),
            );
            let found = open.into_iter().find(|rung| !taken(rung.2));
            if let Some(found) = found
                && best.is_none_or(|best| (found.0, found.1) < (best.0, best.1))
            {
                best = Some(found);
            }
        }
        best.map(|rung| rung.2)
    }

    /// Returns what everybody's load and weight say about the balance.
    pub(crate) fn balance(&self) -> Balance {
        let taking = self.seats.iter().filter(|seat| seat.weight > 0);
        Balance {
            total: taking.map(|seat| u128::from(seat.load)).sum(),
            weights: self.weights,
        }
    }
}

/// The whole load and the whole weight: the fair share of a node is `total * weight / weights`, which is never rounded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Balance {
    total: u128,
    weights: u128,
}

impl Balance {
    /// Whether a node has at least `percent` of a hundredth more than its share.
    pub(crate) fn is_above(self, seat: &Seat<'_>, percent: u32) -> bool {
        self.of(seat.load) * 100 > self.share(seat) * u128::from(percent)
    }

    /// Whether a node has less than its share by as much as `percent` is more.
    pub(crate) fn is_below(self, seat: &Seat<'_>, percent: u32) -> bool {
        self.of(seat.load) * u128::from(percent) < self.share(seat) * 100
    }

    /// Whether a node that gives `load` away still has its share.
    pub(crate) fn can_spare(self, seat: &Seat<'_>, load: u64) -> bool {
        self.of(seat.load) >= self.share(seat) + self.of(load)
    }

    /// Whether a node that gets `load` has no more than its share.
    pub(crate) fn has_room(self, seat: &Seat<'_>, load: u64) -> bool {
        self.of(seat.load) + self.of(load) <= self.share(seat)
    }

    /// Whether a copy of this load that moves brings both together nearer to their shares.
    pub(crate) fn improves(self, giver: &Seat<'_>, taker: &Seat<'_>, load: u64) -> bool {
        let (before, after) = self.distances(giver, taker, load);
        after < before
    }

    /// Whether a copy of this load that moves leaves both together no further from their shares.
    pub(crate) fn keeps(self, giver: &Seat<'_>, taker: &Seat<'_>, load: u64) -> bool {
        let (before, after) = self.distances(giver, taker, load);
        after <= before
    }

    fn distances(self, giver: &Seat<'_>, taker: &Seat<'_>, load: u64) -> (u128, u128) {
        let moved = self.of(load);
        let (above, below) = (self.of(giver.load), self.of(taker.load));
        let (most, least) = (self.share(giver), self.share(taker));
        let before = above.abs_diff(most) + below.abs_diff(least);
        let after = above.abs_diff(most + moved) + (below + moved).abs_diff(least);
        (before, after)
    }

    /// Loads and shares are compared in units of one part of all weights.
    fn of(self, load: u64) -> u128 {
        u128::from(load) * self.weights
    }

    fn share(self, seat: &Seat<'_>) -> u128 {
        self.total * u128::from(seat.weight)
    }
}

/// Load over weight, in steps of 2^-32.
pub(crate) fn ratio(seat: &Seat<'_>) -> u128 {
    (u128::from(seat.load) << 32) / u128::from(seat.weight.max(1))
}

fn rung(seat: &Seat<'_>, number: u32) -> Rung {
    (ratio(seat), u32::MAX - seat.weight, number)
}

/// Returns the rungs in their order, except that those equal to the first but for their number begin at a `spot` among `count`.
fn rotated(set: &BTreeSet<Rung>, spot: u64, count: u32) -> impl Iterator<Item = Rung> {
    let first = set.first().copied();
    let start = u32::try_from(spot % u64::from(count.max(1))).expect("a remainder is below 2^32");
    first.into_iter().flat_map(move |(load, weight, _)| {
        let at = move |number| (load, weight, number);
        // No node has the largest number.
        let from_spot = set.range(at(start)..at(u32::MAX));
        let to_spot = std::iter::once(()).flat_map(move |()| set.range(at(0)..at(start)));
        let rest = std::iter::once(()).flat_map(move |()| set.range(at(u32::MAX)..));
        from_spot.chain(to_spot).chain(rest).copied()
    })
}

pub(crate) fn number_of(count: usize) -> u32 {
    u32::try_from(count).expect("there are fewer than 2^32 nodes and partitions")
}
