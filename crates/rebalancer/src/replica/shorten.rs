//! Shorter ways to the same balance.
//!
//! A copy that moved early may be as well where it was, now that others have moved, and stays there. And a node that gets one copy and gives another one of the same load is a stop on the way: whoever gives the first may give it to
//! whoever gets the second. The loads stay as they are, and one move less is needed. What is left has nodes that give and nodes that
//! get, and with copies of equal load no fewer moves lead to these loads.

use std::collections::BTreeMap;

use crate::{Reason, placement::Placement, seats::Balance};

/// Takes back what is not needed. Returns whether there was anything.
pub(super) fn take_back(placement: &mut Placement<'_>, balance: Balance) -> bool {
    let mut changed = false;
    for item in placement.numbers() {
        let Some((from, to)) = placement.balanced_or_apart(item) else {
            continue;
        };
        let seat = |number| placement.seats.seat(number);
        let load = placement.items[item as usize].load;
        if !balance.keeps(seat(to), seat(from), load) || placement.apart.forbids(item, from) {
            continue;
        }
        let before = is_crowded(placement, item, to);
        placement.shift(item, to, from, Reason::Wanted);
        if !before && is_crowded(placement, item, from) {
            placement.shift(item, from, to, Reason::Wanted);
            continue;
        }
        placement.forget_returned(item, from);
        changed = true;
    }
    changed
}

/// Whether a copy shares its place with another one of its partition.
fn is_crowded(placement: &Placement<'_>, item: u32, node: u32) -> bool {
    let place = placement.seats.seat(node).place;
    placement.places(item, Some(node)).contains(&place)
}

/// What moves of copies of one load: by node, those that come to it, and those that leave it for the balance, with who gets them.
#[derive(Debug, Default)]
struct Class {
    comes: BTreeMap<u32, Vec<u32>>,
    leaves: BTreeMap<u32, Vec<(u32, u32)>>,
}

/// Takes nodes out of the middle of ways. Returns whether there was one.
///
/// Two nodes are as one here if it makes no difference which of them has a copy more.
pub(super) fn shorten(placement: &mut Placement<'_>, balance: Balance) -> bool {
    let mut shortened = false;
    for (load, mut class) in classes(placement) {
        for (node, leaves) in &mut class.leaves {
            for (stop, comes) in &mut class.comes {
                while let (Some(coming), Some((leaving, to))) = (comes.last(), leaves.last()) {
                    let seat = |number| placement.seats.seat(number);
                    let is_one = stop == node || balance.keeps(seat(*stop), seat(*node), load);
                    let way = Way {
                        coming: *coming,
                        stop: *stop,
                        leaving: *leaving,
                        node: *node,
                        to: *to,
                    };
                    if !is_one || !way.shorten(placement) {
                        break;
                    }
                    comes.pop();
                    leaves.pop();
                    shortened = true;
                }
            }
        }
    }
    shortened
}

fn classes(placement: &Placement<'_>) -> BTreeMap<u64, Class> {
    let mut classes: BTreeMap<u64, Class> = BTreeMap::new();
    for item in placement.numbers() {
        if let Some((from, to)) = placement.balanced(item) {
            let load = placement.items[item as usize].load;
            let leaves = &mut classes.entry(load).or_default().leaves;
            leaves.entry(from).or_default().push((item, to));
        }
    }
    if classes.is_empty() {
        return classes;
    }
    for item in placement.numbers() {
        let load = placement.items[item as usize].load;
        for node in placement.gained(item) {
            if let Some(class) = classes.get_mut(&load) {
                class.comes.entry(node).or_default().push(item);
            }
        }
    }
    classes
}

/// A copy that comes to a stop, and one that leaves a node for another one.
#[derive(Debug, Clone, Copy)]
struct Way {
    coming: u32,
    stop: u32,
    leaving: u32,
    node: u32,
    to: u32,
}

impl Way {
    /// Sends what comes to where the other copy leaves for, which then stays; unless one of them must not be there.
    fn shorten(self, placement: &mut Placement<'_>) -> bool {
        let Self {
            coming,
            stop,
            leaving,
            node,
            to,
        } = self;
        // Another way may have been shortened since, and changed where the two are.
        let is_as_found = coming != leaving
            && placement.gained(coming).contains(&stop)
            && placement.balanced(leaving) == Some((node, to))
            && !placement.items[coming as usize].holders.contains(&to);
        if !is_as_found {
            return false;
        }
        let crowded_before = [(coming, stop), (leaving, to)]
            .map(|(item, holder)| is_crowded(placement, item, holder));
        placement.shift(leaving, to, node, Reason::Wanted);
        placement.shift(coming, stop, to, Reason::Wanted);
        let now = [(coming, to), (leaving, node)];
        let is_worse = |((item, holder), before): ((u32, u32), bool)| {
            placement.apart.is_violated(item, holder)
                || (!before && is_crowded(placement, item, holder))
        };
        let is_wrong = now.into_iter().zip(crowded_before).any(is_worse);
        if is_wrong {
            placement.shift(coming, to, stop, Reason::Wanted);
            placement.shift(leaving, node, to, Reason::Wanted);
            return false;
        }
        placement.forget_returned(coming, to);
        placement.forget_returned(leaving, node);
        true
    }
}
