//! The arcs of a ring, in the order of their starts.

use std::fmt;

use super::prefix_index::PrefixIndex;

/// The number of positions.
pub(super) const WHOLE: f64 = 18_446_744_073_709_551_616.0;

/// An arc: from its start to the start of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arc {
    pub(super) start: u64,
    pub(super) owner: u32,
}

/// The arcs of a ring in the order of their starts, which differ.
#[derive(Clone, Default)]
pub(super) struct Arcs {
    starts: Vec<u64>,
    /// The owner of what precedes the first start, which is the last arc going through zero, and then of each arc.
    owners: Vec<u32>,
    index: PrefixIndex,
}

impl Arcs {
    /// Takes the arcs in any order. Where two start at one position, the one of the smaller owner moves up.
    pub(super) fn new(mut arcs: Vec<Arc>) -> Self {
        if arcs.is_empty() {
            return Self::default();
        }
        // Stable, because it is fast where most arcs are in order already.
        arcs.sort_by_key(|arc| (arc.start, arc.owner));
        separate(&mut arcs);
        let starts: Vec<u64> = arcs.iter().map(|arc| arc.start).collect();
        let last = arcs[arcs.len() - 1].owner;
        let owners: Vec<u32> = std::iter::once(last)
            .chain(arcs.iter().map(|arc| arc.owner))
            .collect();
        let index = PrefixIndex::new(&starts, &owners);
        Self {
            starts,
            owners,
            index,
        }
    }

    /// Returns the owner of a position; `None` without arcs.
    #[inline]
    pub(super) fn owner_at(&self, position: u64) -> Option<u32> {
        self.index
            .owner_at(position)
            .or_else(|| self.search(position))
    }

    #[cold]
    fn search(&self, position: u64) -> Option<u32> {
        let before = self.starts.partition_point(|start| *start <= position);
        self.owners.get(before).copied()
    }

    /// Returns the owners of the arcs from the one of a position downwards, once around the ring.
    pub(super) fn owners_below(&self, position: u64) -> impl Iterator<Item = u32> {
        let before = self.starts.partition_point(|start| *start <= position);
        let below = self.owners.get(1..=before).unwrap_or_default();
        let above = self.owners.get(before + 1..).unwrap_or_default();
        below.iter().rev().chain(above.iter().rev()).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Returns the arcs in the order of their starts.
    pub(super) fn iter(&self) -> impl Iterator<Item = Arc> {
        let owners = self.owners.iter().skip(1);
        self.starts.iter().zip(owners).map(|(start, owner)| Arc {
            start: *start,
            owner: *owner,
        })
    }

    pub(super) fn to_vec(&self) -> Vec<Arc> {
        self.iter().collect()
    }

    /// Returns the arcs with their lengths, in the order of their starts.
    pub(super) fn measured(&self) -> impl Iterator<Item = (Arc, u128)> {
        let next = self.starts.iter().cycle().skip(1);
        self.iter().zip(next).map(|(arc, next)| {
            // A single arc ends where it starts, and is the whole ring.
            let length = u128::from(next.wrapping_sub(arc.start).wrapping_sub(1)) + 1;
            (arc, length)
        })
    }

    /// Returns the number of positions that each of `members` owns.
    pub(super) fn lengths(&self, members: usize) -> Vec<u128> {
        let mut lengths = vec![0; members];
        for (arc, length) in self.measured() {
            lengths[arc.owner as usize] += length;
        }
        lengths
    }
}

impl fmt::Debug for Arcs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tens of thousands of positions tell a reader nothing.
        write!(f, "{} arcs", self.len())
    }
}

/// Makes the starts of sorted arcs differ, by moving those that are equal up to the next free position.
fn separate(arcs: &mut [Arc]) {
    for at in 1..arcs.len() {
        let below = arcs[at - 1].start;
        if arcs[at].start <= below {
            arcs[at].start = below.saturating_add(1);
        }
    }
    // At the very top there may be no position left; then they move down instead.
    let mut above = None;
    for arc in arcs.iter_mut().rev() {
        if let Some(above) = above
            && arc.start >= above
        {
            arc.start = above - 1;
        }
        above = Some(arc.start);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arcs(starts: impl IntoIterator<Item = u64>) -> Arcs {
        Arcs::new(
            starts
                .into_iter()
                .zip(0..)
                .map(|(start, owner)| Arc { start, owner })
                .collect(),
        )
    }

    #[test]
    fn a_position_belongs_to_the_last_start_that_is_not_above_it() {
        let arcs = arcs([100, 300, 200]);
        for (position, owner) in [
            (0, 1),
            (99, 1),
            (100, 0),
            (199, 0),
            (200, 2),
            (300, 1),
            (u64::MAX, 1),
        ] {
            assert_eq!(arcs.owner_at(position), Some(owner), "position {position}");
        }
        assert_eq!(Arcs::default().owner_at(5), None);
    }

    #[test]
    fn a_single_arc_is_the_whole_ring() {
        assert_eq!(arcs([7]).lengths(1), [1 << 64]);
        assert_eq!(arcs([7]).owner_at(6), Some(0));
    }

    #[test]
    fn owners_beyond_16_bits_are_found_by_search() {
        let owners = [65_534, 65_535, 70_000, 3];
        let arcs = (1..).zip(owners).map(|(quarter, owner)| Arc {
            start: quarter << 60,
            owner,
        });
        let arcs = Arcs::new(arcs.collect());
        for (quarter, owner) in (1..).zip(owners) {
            assert_eq!(arcs.owner_at((quarter << 60) + 5), Some(owner));
        }
        assert_eq!(arcs.owner_at(5), Some(3));
    }

    #[test]
    fn equal_starts_are_moved_apart() {
        let starts = |arcs: Arcs| arcs.starts;
        assert_eq!(starts(arcs([5, 5, 6, 5])), [5, 6, 7, 8]);
        assert_eq!(
            starts(arcs([u64::MAX; 3])),
            [u64::MAX - 2, u64::MAX - 1, u64::MAX]
        );
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_scan_finds(
            starts in prop::collection::btree_set(
                prop_oneof![any::<u64>(), 0..50_u64, (u64::MAX - 50)..=u64::MAX],
                1..200,
            ),
            positions in prop::collection::vec(any::<u64>(), 50),
        ) {
            let arcs = arcs(starts.iter().copied());
            let scan = |position: u64| {
                let below = starts.iter().filter(|start| **start <= position).count();
                super::super::index((below + starts.len() - 1) % starts.len())
            };
            let edges = starts.iter().flat_map(|start| [start.wrapping_sub(1), *start, start.wrapping_add(1)]);
            for position in positions.into_iter().chain(edges) {
                prop_assert_eq!(arcs.owner_at(position), Some(scan(position)));
            }
            prop_assert_eq!(arcs.lengths(starts.len()).iter().sum::<u128>(), 1 << 64);
        }
    }
}
