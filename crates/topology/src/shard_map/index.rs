//! The look-up of a position among sorted starts.

/// Sorted starts of ranges, and for each prefix of a position the stretch of them that can be meant.
///
/// With about two prefixes to a shard, a look-up in even ranges is one read of the table and one comparison; in the most
/// uneven ranges it is a binary search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// The first is 0.
    starts: Vec<u64>,
    /// For each prefix, the index of the range that holds its first position; one entry more than there are prefixes.
    first: Vec<u32>,
    shift: u32,
}

/// 2^16 prefixes are 256 KiB of table: beyond that, memory costs more than the search saves.
const PREFIX_BITS_MAX: u32 = 16;

impl Index {
    /// Takes the sorted starts of ranges that tile the space.
    pub(super) fn new(starts: Vec<u64>) -> Self {
        debug_assert!(
            starts.first() == Some(&0),
            "the first range begins where the space begins"
        );
        debug_assert!(starts.is_sorted(), "the ranges are in order");
        let bits = (starts.len().next_power_of_two().ilog2() + 1).min(PREFIX_BITS_MAX);
        let shift = u64::BITS - bits;
        let holder = |position: u64| starts.partition_point(|start| *start <= position) - 1;
        let index = |at: usize| u32::try_from(at).expect("fewer than 2^32 shards");
        let mut first: Vec<u32> = (0..1_u64 << bits)
            .map(|prefix| index(holder(prefix << shift)))
            .collect();
        first.push(index(starts.len() - 1));
        Self {
            starts,
            first,
            shift,
        }
    }

    /// Returns which range holds a position.
    pub(super) fn find(&self, position: u64) -> usize {
        let prefix = (position >> self.shift) as usize;
        let (low, high) = (self.first[prefix] as usize, self.first[prefix + 1] as usize);
        low + self.starts[low + 1..=high].partition_point(|start| *start <= position)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_position_is_found_where_a_linear_search_finds_it(
            cuts in prop::collection::btree_set(1_u64.., 0..300),
            close in prop::collection::btree_set(1_u64..2_000, 0..50),
            positions in prop::collection::vec(any::<u64>(), 50),
        ) {
            let mut starts: Vec<u64> = [0].into_iter().chain(cuts).chain(close).collect();
            starts.sort_unstable();
            starts.dedup();
            let index = Index::new(starts.clone());
            let edges = starts.iter().flat_map(|start| [*start, start.wrapping_sub(1)]);
            for position in edges.chain(positions) {
                let linear = starts.iter().rposition(|start| *start <= position);
                prop_assert_eq!(Some(index.find(position)), linear);
            }
        }
    }
}
