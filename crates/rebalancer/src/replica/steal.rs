//! Work stealing: copies move from nodes with more than their share to nodes with less.
//!
//! A copy moves only if the loads of both nodes together come nearer to their shares. So the sum of all distances between loads and
//! shares shrinks, and there is an end; and it is reached only when nothing that calls for a move has one, so planning on the result
//! finds nothing. Three copies on two nodes do not move: two and one are as near to their shares as one and two.
//!
//! The heaviest copies that do not go too far move first, so that few have to; only where that is not enough, the lightest of those
//! that go too far.

use std::{cmp::Reverse, collections::BinaryHeap};

use foldhash::HashMap;

use super::Band;
use crate::{
    Reason,
    placement::Placement,
    seats::{Balance, ratio},
};

/// What all nodes together say about the balance, and how near to it is near enough.
#[derive(Debug, Clone, Copy)]
struct Aim {
    balance: Balance,
    band: Band,
}

/// How far a move may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Not beyond the share.
    Share,
    /// Beyond it, if that is nearer than before.
    Beyond,
}

/// Balances the nodes whose load is outside of the band around their share.
pub(super) fn balance(placement: &mut Placement<'_>, band: Band) {
    let aim = Aim {
        balance: placement.seats.balance(),
        band,
    };
    loop {
        let given = give(placement, aim);
        let taken = take(placement, aim);
        if !given && !taken {
            return;
        }
    }
}

/// Lets every overloaded node give. Returns whether anything moved.
fn give(placement: &mut Placement<'_>, aim: Aim) -> bool {
    let mut overloaded: Vec<(u128, u32)> = taking(placement)
        .filter(|number| aim.is_overloaded(placement, *number))
        .map(|number| (ratio(placement.seats.seat(number)), number))
        .collect();
    overloaded.sort_unstable();
    let mut moved = false;
    for (_, giver) in overloaded.into_iter().rev() {
        // Others may have given to it, or taken from it, since.
        if aim.is_overloaded(placement, giver) {
            let held = heaviest_first(placement, giver);
            for item in &held {
                moved |= give_away(placement, aim, Reach::Share, giver, *item);
            }
            for item in held.iter().rev() {
                moved |= give_away(placement, aim, Reach::Beyond, giver, *item);
            }
        }
    }
    moved
}

/// Moves a copy from a node if that brings somebody nearer to their share.
fn give_away(placement: &mut Placement<'_>, aim: Aim, reach: Reach, giver: u32, item: u32) -> bool {
    let entry = &placement.items[item as usize];
    let seat = placement.seats.seat(giver);
    let can_go = match reach {
        Reach::Share => {
            let is_settled = !aim.balance.is_above(seat, aim.band.settle_percent);
            !is_settled && aim.balance.can_spare(seat, entry.load)
        }
        Reach::Beyond => aim.is_overloaded(placement, giver),
    };
    if !can_go || entry.partition.pinned || !entry.holders.contains(&giver) {
        return false;
    }
    let avoid = avoided(placement, item, giver);
    let least = placement.least(item, &avoid);
    if let Some(taker) = least
        && aim
            .balance
            .improves(seat, placement.seats.seat(taker), entry.load)
    {
        placement.shift(item, giver, taker, Reason::Overloaded);
        return true;
    }
    false
}

/// Lets every underloaded node take. Returns whether anything moved.
fn take(placement: &mut Placement<'_>, aim: Aim) -> bool {
    let underloaded: Vec<u32> = taking(placement)
        .filter(|number| aim.is_underloaded(placement, *number))
        .collect();
    let mut offers = Offers::default();
    let mut moved = false;
    for taker in underloaded {
        moved |= fill_up(placement, aim, Reach::Share, &mut offers, taker);
        if aim.is_underloaded(placement, taker) {
            moved |= fill_up(placement, aim, Reach::Beyond, &mut offers, taker);
        }
    }
    moved
}

/// Moves copies to a node from those with the most, as long as it lacks as much as the reach says.
fn fill_up(
    placement: &mut Placement<'_>,
    aim: Aim,
    reach: Reach,
    offers: &mut Offers,
    taker: u32,
) -> bool {
    let mut givers: BinaryHeap<Giver> = taking(placement)
        .filter(|number| aim.balance.is_above(placement.seats.seat(*number), 100))
        .map(|number| Giver {
            ratio: ratio(placement.seats.seat(number)),
            number: Reverse(number),
            seen: 0,
        })
        .collect();
    let place = placement.seats.seat(taker).place;
    let lacks = match reach {
        Reach::Share => aim.band.settle_percent,
        Reach::Beyond => aim.band.start_percent,
    };
    let mut moved = false;
    while let Some(mut giver) = givers.pop() {
        let number = giver.number.0;
        if !aim.balance.is_below(placement.seats.seat(taker), lacks) {
            break;
        }
        let offered = offers.of(placement, number, place);
        // What does not fit or improves nothing does not later either: both only come nearer to their shares.
        let fits = |item: &u32| may_take(placement, aim, reach, *item, number, taker);
        let found = match reach {
            Reach::Share => {
                let seat = placement.seats.seat(taker);
                let load = |item: &u32| placement.items[*item as usize].load;
                // The heaviest come first.
                let heavy = offered[giver.seen..]
                    .partition_point(|item| !aim.balance.has_room(seat, load(item)));
                giver.seen += heavy;
                offered[giver.seen..].iter().position(fits)
            }
            Reach::Beyond => offered[..offered.len() - giver.seen]
                .iter()
                .rev()
                .position(fits),
        };
        let Some(at) = found.map(|at| giver.seen + at) else {
            continue;
        };
        let item = match reach {
            Reach::Share => offered[at],
            Reach::Beyond => offered[offered.len() - 1 - at],
        };
        placement.shift(item, number, taker, Reason::Underloaded);
        moved = true;
        if aim.balance.is_above(placement.seats.seat(number), 100) {
            giver.ratio = ratio(placement.seats.seat(number));
            giver.seen = at + 1;
            givers.push(giver);
        }
    }
    moved
}

/// Whether the taker may have the giver's copy.
fn may_take(
    placement: &Placement<'_>,
    aim: Aim,
    reach: Reach,
    item: u32,
    giver: u32,
    taker: u32,
) -> bool {
    let entry = &placement.items[item as usize];
    let seat = placement.seats.seat(taker);
    let has_room = reach == Reach::Beyond || aim.balance.has_room(seat, entry.load);
    has_room
        && aim
            .balance
            .improves(placement.seats.seat(giver), seat, entry.load)
        && entry.holders.contains(&giver)
        && !entry.holders.contains(&taker)
        && !placement.apart.forbids(item, taker)
        && !avoided(placement, item, giver).contains(&seat.place)
}

impl Aim {
    fn is_overloaded(self, placement: &Placement<'_>, number: u32) -> bool {
        let seat = placement.seats.seat(number);
        self.balance.is_above(seat, self.band.start_percent)
    }

    fn is_underloaded(self, placement: &Placement<'_>, number: u32) -> bool {
        let seat = placement.seats.seat(number);
        self.balance.is_below(seat, self.band.start_percent)
    }
}

/// What each node could give to which place, found once for all that take: a node may hold much that must not go there.
///
/// Copies that have gone since are still listed. Those that could go since are missing until the next pass, and there is another
/// one after each in which anything moved.
#[derive(Debug, Default)]
struct Offers {
    by_giver_and_place: HashMap<(u32, u32), Vec<u32>>,
}

impl Offers {
    fn of(&mut self, placement: &Placement<'_>, giver: u32, place: u32) -> &[u32] {
        let offered = self.by_giver_and_place.entry((giver, place));
        offered.or_insert_with(|| {
            let mut held = heaviest_first(placement, giver);
            held.retain(|item| {
                !placement.items[*item as usize].partition.pinned
                    && !avoided(placement, *item, giver).contains(&place)
            });
            held
        })
    }
}

/// A node that gives, the most loaded first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Giver {
    ratio: u128,
    number: Reverse<u32>,
    /// How much of what it offers was taken or refused.
    seen: usize,
}

/// Returns the nodes that take part in the balance.
fn taking(placement: &Placement<'_>) -> impl Iterator<Item = u32> {
    let numbers = placement.seats.numbers();
    numbers.filter(|number| placement.seats.seat(*number).weight > 0)
}

/// Returns what a node holds, the heaviest first; of equal ones first what it would get by this plan, which costs no further move,
/// then the rest, in an order that has nothing to do with names.
fn heaviest_first(placement: &Placement<'_>, node: u32) -> Vec<u32> {
    let mut held = placement.held_by(node);
    held.sort_by_cached_key(|item| {
        let entry = &placement.items[*item as usize];
        (
            Reverse(entry.load),
            !entry.gained_by(node),
            entry.spot(),
            *item,
        )
    });
    held
}

/// Returns the places that a copy must not move to: those of the others, unless it shares its place with one of them anyway.
fn avoided(placement: &Placement<'_>, item: u32, from: u32) -> Vec<u32> {
    let others = placement.places(item, Some(from));
    if others.contains(&placement.seats.seat(from).place) {
        return Vec::new();
    }
    others
}
