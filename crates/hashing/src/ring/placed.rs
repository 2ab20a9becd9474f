//! Placed tokens: a newcomer takes from whoever has the most, and what a shard leaves goes to whoever has the least.

use std::cmp::{Ordering, Reverse};

use super::{
    arcs::{Arc, Arcs, WHOLE},
    index,
    member::Member,
};
use crate::Weight;

/// Returns the arcs after a member of this weight has joined and taken about `tokens` pieces of the others' arcs.
pub(super) fn give<S>(arcs: &Arcs, members: &[Member<S>], weight: Weight, tokens: u32) -> Vec<Arc> {
    let newcomer = index(members.len());
    if members.is_empty() {
        return evenly(newcomer, tokens);
    }
    let mut loads = Loads::new(arcs, members, Some(weight));
    let wanted = loads.target(newcomer);
    let piece = (wanted / u128::from(tokens)).max(1);
    let mut taken = 0;
    // A remainder of less than half a piece is not worth a token.
    while taken + piece / 2 < wanted {
        let donor = loads.heaviest_of(newcomer);
        let spare = loads.owned[donor as usize].saturating_sub(loads.target(donor));
        let size = if spare > piece * 3 / 2 {
            piece
        } else {
            spare.max(piece / 2).max(1)
        };
        let Some(moved) = loads.take(donor, size.min(wanted - taken), piece / 8, newcomer) else {
            break;
        };
        taken += moved;
    }
    loads.into_arcs()
}

/// Returns the arcs after `gone` has left, divided among the others in about `tokens` pieces.
pub(super) fn take_over<S>(arcs: &Arcs, members: &[Member<S>], gone: u32, tokens: u32) -> Vec<Arc> {
    if members.len() == 1 {
        return Vec::new();
    }
    let mut loads = Loads::new(arcs, members, None);
    let largest = (loads.target(gone) / u128::from(tokens)).max(1);
    loads.retire(gone);
    let mut pieces = pieces(arcs, gone, largest);
    let mut left: Vec<(u128, usize)> = (0..pieces.len())
        .filter(|at| pieces[*at].0.owner == gone)
        .map(|at| (pieces[at].1, at))
        .collect();
    left.sort_unstable_by_key(|(length, at)| (Reverse(*length), *at));
    for (length, at) in left {
        let before = pieces[(at + pieces.len() - 1) % pieces.len()].0.owner;
        // The owner of the preceding arc goes on through this one without a token, if it has room.
        let goes_on = before != gone && loads.has_room(before, length);
        let heir = if goes_on {
            before
        } else {
            loads.lightest_but(gone)
        };
        pieces[at].0.owner = heir;
        loads.owned[heir as usize] += length;
    }
    join(pieces.into_iter().map(|(arc, _)| arc).collect())
}

/// Returns the arcs with their lengths, those of `owner` cut into pieces that are no longer than `largest`.
fn pieces(arcs: &Arcs, owner: u32, largest: u128) -> Vec<(Arc, u128)> {
    let mut pieces = Vec::with_capacity(arcs.len());
    for (arc, length) in arcs.measured() {
        let count = if arc.owner == owner {
            length.div_ceil(largest)
        } else {
            1
        };
        let mut from = 0;
        for piece in 1..=count {
            // `length` has up to 65 bits and `piece` hardly more than 32.
            let to = length * piece / count;
            let offset = u64::try_from(from).expect("a piece starts within its arc");
            let start = arc.start.wrapping_add(offset);
            pieces.push((
                Arc {
                    start,
                    owner: arc.owner,
                },
                to - from,
            ));
            from = to;
        }
    }
    pieces
}

/// Joins neighbouring arcs of one owner.
pub(super) fn join(mut arcs: Vec<Arc>) -> Vec<Arc> {
    let first = arcs.first().copied();
    let mut before = arcs.last().map(|arc| arc.owner);
    arcs.retain(|arc| before.replace(arc.owner) != Some(arc.owner));
    if arcs.is_empty() {
        // One owner has everything.
        arcs.extend(first);
    }
    arcs
}

fn evenly(owner: u32, tokens: u32) -> Vec<Arc> {
    let start = |token: u32| (u128::from(token) << 64) / u128::from(tokens);
    let arc = |token| Arc {
        start: u64::try_from(start(token)).expect("below 2^64"),
        owner,
    };
    (0..tokens).map(arc).collect()
}

/// Who owns how much, and which arcs.
struct Loads {
    /// The number of positions that each member should own.
    targets: Vec<u128>,
    owned: Vec<u128>,
    /// The arcs of each member with their lengths, the longest last.
    arcs: Vec<Vec<(u128, u64)>>,
}

impl Loads {
    fn new<S>(arcs: &Arcs, members: &[Member<S>], newcomer: Option<Weight>) -> Self {
        let weights = || members.iter().map(|member| member.weight).chain(newcomer);
        let all = Weight::sum(weights());
        let target = |weight: Weight| (WHOLE * (weight.value() / all)) as u128;
        let targets: Vec<u128> = weights().map(target).collect();
        let mut held = vec![Vec::new(); targets.len()];
        for (arc, length) in arcs.measured() {
            held[arc.owner as usize].push((length, arc.start));
        }
        held.iter_mut().for_each(|arcs| arcs.sort_unstable());
        Self {
            owned: arcs.lengths(targets.len()),
            targets,
            arcs: held,
        }
    }

    fn target(&self, member: u32) -> u128 {
        self.targets[member as usize]
    }

    /// Takes away what `gone` has and divides what it should have among the others.
    fn retire(&mut self, gone: u32) {
        self.owned[gone as usize] = 0;
        let left: u128 = std::mem::take(&mut self.targets[gone as usize]);
        let all: u128 = self.targets.iter().sum();
        for target in &mut self.targets {
            // In steps of 2^-32 of a target, which leaves the product within 128 bits.
            *target += ((left << 32) / all.max(1) * *target) >> 32;
        }
    }

    /// Whether a member that takes over `length` still stays within an arc's length of what it should own.
    fn has_room(&self, member: u32, length: u128) -> bool {
        self.owned[member as usize] < self.target(member).max(length) - length / 2
    }

    fn heaviest_of(&self, members: u32) -> u32 {
        (0..members)
            .max_by(|a, b| self.compare(*a, *b))
            .expect("somebody is on the ring")
    }

    fn lightest_but(&self, gone: u32) -> u32 {
        let others = (0..index(self.owned.len())).filter(|member| *member != gone);
        others
            .min_by(|a, b| self.compare(*a, *b))
            .expect("somebody stays on the ring")
    }

    /// Compares two members by what they own relative to what they should own, and ties by number.
    fn compare(&self, a: u32, b: u32) -> Ordering {
        let load =
            |member: u32| self.owned[member as usize] as f64 / self.target(member).max(1) as f64;
        load(a).total_cmp(&load(b)).then(b.cmp(&a))
    }

    /// Moves about `size` positions of `donor` to `heir`: its longest arc, or the end of it if more than `slack`
    /// would remain. Returns how many; `None` if the donor has but one position.
    fn take(&mut self, donor: u32, size: u128, slack: u128, heir: u32) -> Option<u128> {
        let arcs = &mut self.arcs[donor as usize];
        let (length, start) = arcs.pop()?;
        let whole = length <= size + slack && !arcs.is_empty();
        let moved = if whole { length } else { size.min(length - 1) };
        if moved == 0 {
            arcs.push((length, start));
            return None;
        }
        let rest = length - moved;
        if rest > 0 {
            let place = arcs.partition_point(|arc| *arc < (rest, start));
            arcs.insert(place, (rest, start));
        }
        let offset = u64::try_from(rest).expect("less than the whole ring remains");
        self.arcs[heir as usize].push((moved, start.wrapping_add(offset)));
        self.owned[donor as usize] -= moved;
        self.owned[heir as usize] += moved;
        Some(moved)
    }

    fn into_arcs(self) -> Vec<Arc> {
        let owners = (0..).zip(self.arcs);
        owners
            .flat_map(|(owner, arcs)| arcs.into_iter().map(move |(_, start)| Arc { start, owner }))
            .collect()
    }
}
