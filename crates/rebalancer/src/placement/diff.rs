//! The plan that leads from the cluster as it was to a placement, in the fewest moves.

use shardwright_topology::NodeId;

use super::{Item, Placement, living};
use crate::{Crowded, Move, Plan, Reason, Step, Stuck, Together, UnderReplicated};

/// Returns the plan. If `ordered`, the first of the holders becomes primary; otherwise whoever is, stays.
pub(super) fn plan(placement: &Placement<'_>, ordered: bool) -> Plan {
    let mut plan = Plan::default();
    let mut ranked: Vec<(Rank, Move)> = Vec::new();
    for (number, item) in (0..).zip(&placement.items) {
        let mut moves = Moves {
            placement,
            item,
            served: false,
            ranked: &mut ranked,
        };
        moves.add(ordered);
        report(placement, number, &mut plan);
    }
    // Stable, so moves of one rank stay in the order of the partitions.
    ranked.sort_by_key(|(rank, _)| *rank);
    plan.moves = ranked.into_iter().map(|(_, planned)| planned).collect();
    plan
}

/// The order of the moves: promotions of what a dead primary has, then what nobody serves, then the rest by reason.
type Rank = (Urgency, Reason);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Promotable,
    Unserved,
    Served,
}

/// The moves of one partition.
struct Moves<'p, 'a> {
    placement: &'p Placement<'a>,
    item: &'p Item<'a>,
    /// Whether any copy is on a node that is not down.
    served: bool,
    ranked: &'p mut Vec<(Rank, Move)>,
}

impl<'a> Moves<'_, 'a> {
    fn add(&mut self, ordered: bool) {
        if !self.item.is_touched {
            return;
        }
        let before = &self.item.partition.holders;
        let seats = &self.placement.seats;
        let numbers: Vec<_> = before.iter().map(|node| living(seats, node)).collect();
        self.served = numbers.iter().any(Option::is_some);
        let unchanged = numbers.len() == self.item.holders.len()
            && numbers
                .iter()
                .zip(&self.item.holders)
                .all(|(a, b)| *a == Some(*b));
        if unchanged {
            return;
        }
        let mut after = before.clone();
        self.promote_living(&numbers, &mut after);
        self.exchange(&numbers, &mut after);
        self.promote_first(ordered, &mut after);
    }

    /// Makes the first of the holders primary if it should be, or if a dead node still is.
    fn promote_first(&mut self, ordered: bool, after: &mut Vec<NodeId>) {
        let Some(first) = self.item.holders.first().map(|first| self.node(*first)) else {
            return;
        };
        let primary = after
            .first()
            .and_then(|primary| living(&self.placement.seats, primary));
        let reason = match primary {
            None => Reason::PrimaryDown,
            Some(_) if ordered && after.first() != Some(&first) => Reason::Wanted,
            Some(_) => return,
        };
        // It comes after the moves of the partition, which have reasons before this one.
        self.push(
            Step::Promote { to: first },
            reason,
            (self.urgency(), Reason::Wanted),
            after,
        );
    }

    /// Makes a living holder primary if the primary is down: one that keeps its copy, if there is one.
    fn promote_living(&mut self, numbers: &[Option<u32>], after: &mut Vec<NodeId>) {
        if numbers.first().is_none_or(Option::is_some) {
            return;
        }
        let living = || numbers.iter().flatten();
        let staying = living().find(|number| self.item.holders.contains(number));
        if let Some(heir) = staying.or_else(|| living().next()) {
            let to = self.node(*heir);
            let reason = Reason::PrimaryDown;
            self.push(
                Step::Promote { to },
                reason,
                (Urgency::Promotable, reason),
                after,
            );
        }
    }

    /// Pairs those that lose a copy with those that get one.
    fn exchange(&mut self, numbers: &[Option<u32>], after: &mut Vec<NodeId>) {
        let (item, before, urgency) = (self.item, &self.item.partition.holders, self.urgency());
        let mut gained = item
            .holders
            .iter()
            .filter(|holder| !numbers.contains(&Some(**holder)));
        let living_out = numbers.iter().enumerate().filter_map(|(place, number)| {
            number
                .filter(|number| !item.holders.contains(number))
                .map(|_| place)
        });
        let lost = (0..numbers.len()).filter(|place| numbers[*place].is_none());
        let lost = lost.filter(|_| !item.partition.pinned);
        let enough = item.holders.len() >= item.partition.copies as usize;
        for place in living_out.chain(lost) {
            let from = before[place].clone();
            let down = numbers[place].is_none();
            match gained.next() {
                Some(heir) => {
                    let to = self.node(*heir);
                    let reason = self.reason(numbers[place], *heir);
                    self.push(Step::Move { from, to }, reason, (urgency, reason), after);
                }
                // A copy on a node that is down is better than none: the node may return.
                None if down && !enough => {}
                None => {
                    let reason = Reason::TooManyCopies;
                    self.push(Step::Drop { from }, reason, (urgency, reason), after);
                }
            }
        }
        for heir in gained {
            let to = self.node(*heir);
            let reason = Reason::TooFewCopies;
            self.push(Step::Place { to }, reason, (urgency, reason), after);
        }
    }

    fn reason(&self, from: Option<u32>, to: u32) -> Reason {
        let Some(from) = from else {
            return Reason::NodeDown;
        };
        if self.placement.seats.seat(from).emptied {
            return Reason::Draining;
        }
        let gained = self.item.gained.iter().find(|(node, _)| *node == to);
        gained.map_or(Reason::Wanted, |(_, reason)| *reason)
    }

    fn node(&self, number: u32) -> NodeId {
        self.placement.seats.seat(number).node.id.clone()
    }

    fn urgency(&self) -> Urgency {
        if self.served {
            Urgency::Served
        } else {
            Urgency::Unserved
        }
    }

    fn push(&mut self, step: Step, reason: Reason, rank: Rank, after: &mut Vec<NodeId>) {
        step.apply(after)
            .expect("a planned step fits what it was planned for");
        let partition = self.item.id.clone();
        let planned = Move {
            partition,
            step,
            reason,
        };
        self.ranked.push((rank, planned));
    }
}

/// Reports what is wrong with a partition all the same.
fn report(placement: &Placement<'_>, number: u32, plan: &mut Plan) {
    let item = &placement.items[number as usize];
    let partition = || item.id.clone();
    let (has, wants) = (super::number_of(item.holders.len()), item.partition.copies);
    if has < wants {
        plan.under_replicated.push(UnderReplicated {
            partition: partition(),
            has,
            wants,
        });
    }
    let seats = item
        .holders
        .iter()
        .map(|holder| placement.seats.seat(*holder));
    for seat in seats.filter(|seat| seat.emptied) {
        plan.stuck.push(Stuck {
            partition: partition(),
            node: seat.node.id.clone(),
        });
    }
    let holders = item.holders.iter();
    for holder in holders.filter(|holder| placement.apart.is_violated(number, **holder)) {
        plan.together.push(Together {
            partition: partition(),
            node: placement.seats.seat(*holder).node.id.clone(),
        });
    }
    if !placement.seats.has_places() {
        return;
    }
    let mut places: Vec<u32> = item
        .holders
        .iter()
        .map(|holder| placement.seats.seat(*holder).place)
        .collect();
    places.sort_unstable();
    places.dedup();
    if places.len() < item.holders.len() {
        plan.crowded.push(Crowded {
            partition: partition(),
            has: super::number_of(places.len()),
            wants: has,
        });
    }
}
