//! Work stealing: copies move from nodes with more than their share to nodes with less.
//!
//! A copy moves only if the loads of both nodes together come nearer to their shares. So the sum of all distances between loads and
//! shares shrinks, and there is an end; and it is reached only when nothing that calls for a move has one, so planning on the result
//! finds nothing. Three copies on two nodes do not move: two and one are as near to their shares as one and two.

use std::{cmp::Reverse, collections::BinaryHeap};

use foldhash::HashMap;

use crate::{
    Reason,
    placement::Placement,
    seats::{Balance, ratio},
};

/// Balances the nodes whose load differs from their share by more than `percent`.
pub(super) fn balance(placement: &mut Placement<'_>, percent: u32) {
    let balance = placement.seats.balance();
    loop {
        let given = give(placement, balance, percent);
        let taken = take(placement, balance, percent);
        if !given && !taken {
            return;
        }
    }
}

/// Lets every overloaded node give. Returns whether anything moved.
fn give(placement: &mut Placement<'_>, balance: Balance, percent: u32) -> bool {
    let mut overloaded: Vec<(u128, u32)> = taking(placement)
        .filter(|number| balance.is_above(placement.seats.seat(*number), percent))
        .map(|number| (ratio(placement.seats.seat(number)), number))
        .collect();
    overloaded.sort_unstable();
    let mut moved = false;
    for (_, giver) in overloaded.into_iter().rev() {
        // Others may have given to it, or taken from it, since.
        if balance.is_above(placement.seats.seat(giver), percent) {
            moved |= give_away(placement, balance, giver, percent);
        }
    }
    moved
}

/// Moves copies from a node as long as that brings somebody nearer to their share.
fn give_away(placement: &mut Placement<'_>, balance: Balance, giver: u32, percent: u32) -> bool {
    let mut moved = false;
    for item in mixed(placement, giver) {
        let entry = &placement.items[item as usize];
        let seat = placement.seats.seat(giver);
        if !balance.is_above(seat, 100) {
            break;
        }
        // A heavy copy may leave the node with less than its share, if it has far too much otherwise.
        let can_go = balance.can_spare(seat, entry.load) || balance.is_above(seat, percent);
        if entry.partition.pinned || !can_go {
            continue;
        }
        let avoid = avoided(placement, item, giver);
        let least = placement.seats.least(entry.spot, &entry.holders, &avoid);
        if let Some(taker) = least
            && balance.improves(seat, placement.seats.seat(taker), entry.load)
        {
            placement.shift(item, giver, taker, Reason::Overloaded);
            moved = true;
        }
    }
    moved
}

/// Lets every underloaded node take. Returns whether anything moved.
fn take(placement: &mut Placement<'_>, balance: Balance, percent: u32) -> bool {
    let underloaded: Vec<u32> = taking(placement)
        .filter(|number| balance.is_below(placement.seats.seat(*number), percent))
        .collect();
    let mut offers = Offers::default();
    let mut moved = false;
    for taker in underloaded {
        moved |= fill_up(placement, (balance, percent), &mut offers, taker);
    }
    moved
}

/// Moves copies to a node from those with the most, as long as it has less than its share.
fn fill_up(
    placement: &mut Placement<'_>,
    (balance, percent): (Balance, u32),
    offers: &mut Offers,
    taker: u32,
) -> bool {
    let mut givers: BinaryHeap<Giver> = taking(placement)
        .filter(|number| balance.is_above(placement.seats.seat(*number), 100))
        .map(|number| Giver {
            ratio: ratio(placement.seats.seat(number)),
            number: Reverse(number),
            seen: 0,
        })
        .collect();
    let place = placement.seats.seat(taker).place;
    let mut moved = false;
    while let Some(mut giver) = givers.pop() {
        let number = giver.number.0;
        if !balance.is_below(placement.seats.seat(taker), 100) {
            break;
        }
        let offered = &offers.of(placement, number, place)[giver.seen..];
        // What improves nothing does not later either: both only come nearer to their shares.
        let fits = |item: &u32| may_take(placement, (balance, percent), *item, number, taker);
        let Some(at) = offered.iter().position(fits) else {
            continue;
        };
        let item = offered[at];
        placement.shift(item, number, taker, Reason::Underloaded);
        moved = true;
        if balance.is_above(placement.seats.seat(number), 100) {
            giver.ratio = ratio(placement.seats.seat(number));
            giver.seen += at + 1;
            givers.push(giver);
        }
    }
    moved
}

/// Whether the taker may have the giver's copy.
fn may_take(
    placement: &Placement<'_>,
    (balance, percent): (Balance, u32),
    item: u32,
    giver: u32,
    taker: u32,
) -> bool {
    let entry = &placement.items[item as usize];
    let seat = placement.seats.seat(taker);
    let can_come = balance.has_room(seat, entry.load) || balance.is_below(seat, percent);
    can_come
        && balance.improves(placement.seats.seat(giver), seat, entry.load)
        && entry.holders.contains(&giver)
        && !entry.holders.contains(&taker)
        && !avoided(placement, item, giver).contains(&seat.place)
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
            let mut held = mixed(placement, giver);
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

/// Returns what a node holds: first what it would get by this plan, which costs no further move, then the rest, in an order that has
/// nothing to do with names.
fn mixed(placement: &Placement<'_>, node: u32) -> Vec<u32> {
    let mut held = placement.held_by(node);
    held.sort_by_cached_key(|item| {
        let entry = &placement.items[*item as usize];
        (!entry.gained_by(node), entry.spot, *item)
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
