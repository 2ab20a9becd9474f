//! The prefix index of a ring: one cache line answers nearly every look-up.

/// In place of an owner: the line does not know.
const UNKNOWN: u16 = u16::MAX;

/// How many starts a line holds at most. The last place stays free, so that a position has an owner after all of them.
const PLACES: usize = 16;

/// For each prefix of a position, the starts of arcs with that prefix and the owners around them.
#[derive(Debug, Clone, Default)]
pub(super) struct PrefixIndex {
    /// The number of bits in a prefix, at least 1.
    bits: u32,
    lines: Vec<Line>,
}

/// What happens within one prefix.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line {
    /// The sixteen bits after the prefix of each start, ascending, then the largest number.
    starts: [u16; PLACES],
    /// The owner below the first start, and then from each start on.
    owners: [u16; PLACES],
}

impl PrefixIndex {
    /// Takes the starts of arcs, ascending, and the owners below the first one and from each one on.
    pub(super) fn new(starts: &[u64], owners: &[u32]) -> Self {
        // Four to eight starts for a line on average, so that one in hundreds has more than it can hold.
        let bits = starts.len().div_ceil(8).next_power_of_two().ilog2().max(1);
        let shift = u64::BITS - bits;
        let mut from = 0;
        let lines = (0..1 << bits).map(|prefix| {
            let held = starts[from..]
                .iter()
                .take_while(|start| **start >> shift == prefix)
                .count();
            let line = Line::new(
                &starts[from..from + held],
                &owners[from..=from + held],
                bits,
            );
            from += held;
            line
        });
        Self {
            bits,
            lines: lines.collect(),
        }
    }

    /// Returns the owner of a position; `None` if it takes a search.
    #[inline]
    pub(super) fn owner_at(&self, position: u64) -> Option<u32> {
        // Without lines there are no bits, and no shift may be by 64.
        let prefix = position >> 1 >> (u64::BITS - 1 - self.bits);
        self.lines
            .get(prefix as usize)?
            .owner_at(after_prefix(position, self.bits))
    }
}

impl Line {
    fn new(starts: &[u64], owners: &[u32], bits: u32) -> Self {
        let mut line = Self {
            starts: [u16::MAX; PLACES],
            owners: [UNKNOWN; PLACES],
        };
        if starts.len() >= PLACES {
            return line;
        }
        for (place, start) in line.starts.iter_mut().zip(starts) {
            *place = after_prefix(*start, bits);
        }
        for (place, owner) in line.owners.iter_mut().zip(owners) {
            *place = u16::try_from(*owner).unwrap_or(UNKNOWN);
        }
        line
    }

    #[inline]
    fn owner_at(&self, digits: u16) -> Option<u32> {
        let below: u16 = self
            .starts
            .iter()
            .map(|start| u16::from(*start < digits))
            .sum();
        let equal = self
            .starts
            .iter()
            .fold(false, |equal, start| equal | (*start == digits));
        let owner = self.owners[usize::from(below) % PLACES];
        // With equal digits, those that are left out decide.
        let known = !equal && owner != UNKNOWN;
        known.then_some(u32::from(owner))
    }
}

/// Returns the sixteen bits after the prefix.
#[inline]
fn after_prefix(position: u64, bits: u32) -> u16 {
    ((position << bits) >> 48) as u16
}
