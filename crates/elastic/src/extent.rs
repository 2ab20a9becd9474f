//! Extents: the keys that a shard owns.

mod cut;
mod span;

use serde::{Deserialize, Serialize};
use shardwright_hashing::hash_to_shard;
use shardwright_topology::{KeyRange, Position};

pub use self::{cut::Cut, span::KeySpan};

/// The keys that a shard owns, for life.
///
/// Extents of one layout are all of one kind. An extent of positions may have many ranges: those of a shard on a hash ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Extent {
    /// The keys whose positions are in one of some ranges.
    Positions {
        /// The ranges: ascending, without common positions, and none ends where the next one starts.
        ranges: Vec<KeyRange>,
    },
    /// The keys in an interval of the order of their bytes.
    Keys {
        /// The interval.
        span: KeySpan,
    },
    /// The keys of one bucket by hash, within an interval of the order of their bytes.
    Bucket {
        /// The bucket, from 0.
        bucket: u32,
        /// How many buckets there are.
        buckets: u32,
        /// The interval.
        span: KeySpan,
    },
}

impl Extent {
    /// Returns the extent of one range of positions.
    #[must_use]
    pub fn range(range: KeyRange) -> Self {
        Self::Positions {
            ranges: vec![range],
        }
    }

    /// Returns the extent of several ranges of positions, in any order; `None` if there is none, or two overlap.
    #[must_use]
    pub fn ranges(ranges: impl IntoIterator<Item = KeyRange>) -> Option<Self> {
        let mut sorted: Vec<KeyRange> = ranges.into_iter().collect();
        sorted.sort_unstable();
        if sorted.is_empty() || sorted.windows(2).any(|pair| pair[0].overlaps(&pair[1])) {
            return None;
        }
        let mut joined: Vec<KeyRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match joined.last_mut() {
                Some(last) if last.end() == Some(range.start()) => {
                    *last = last.join(&range).unwrap_or(range);
                }
                _ => joined.push(range),
            }
        }
        Some(Self::Positions { ranges: joined })
    }

    /// Returns whether a key belongs to it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Positions { .. } => self.holds(key, Position::of(key)),
            Self::Keys { .. } | Self::Bucket { .. } => self.holds(key, Position::MIN),
        }
    }

    /// Does as [`Extent::contains`] for a key whose position is known.
    #[must_use]
    pub fn holds(&self, key: &[u8], position: Position) -> bool {
        match self {
            Self::Positions { ranges } => {
                let after = ranges.partition_point(|range| range.start() <= position);
                after > 0 && ranges[after - 1].contains(position)
            }
            Self::Keys { span } => span.contains(key),
            Self::Bucket {
                bucket,
                buckets,
                span,
            } => span.contains(key) && hash_to_shard(key, *buckets) == *bucket,
        }
    }

    /// Returns whether every key of another extent belongs to it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Positions { ranges }, Self::Positions { ranges: others }) => others
                .iter()
                .all(|other| ranges.iter().any(|range| range.covers(other))),
            (Self::Keys { span }, Self::Keys { span: other }) => span.covers(other),
            (
                Self::Bucket {
                    bucket,
                    buckets,
                    span,
                },
                Self::Bucket {
                    bucket: b,
                    buckets: n,
                    span: other,
                },
            ) => (bucket, buckets) == (b, n) && span.covers(other),
            _ => false,
        }
    }

    /// Returns whether some key may belong to both; always, for extents of different kinds.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Positions { ranges }, Self::Positions { ranges: others }) => ranges
                .iter()
                .any(|range| others.iter().any(|other| range.overlaps(other))),
            (Self::Keys { span }, Self::Keys { span: other }) => span.overlaps(other),
            (
                Self::Bucket {
                    bucket,
                    buckets,
                    span,
                },
                Self::Bucket {
                    bucket: b,
                    buckets: n,
                    span: other,
                },
            ) => buckets != n || (bucket == b && span.overlaps(other)),
            _ => true,
        }
    }

    /// Returns whether the two may be merged: somewhere one ends where the other starts.
    #[must_use]
    pub fn adjoins(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Positions { ranges }, Self::Positions { ranges: others }) => {
                let meets = |a: &[KeyRange], b: &[KeyRange]| {
                    let starts = |end| b.binary_search_by_key(&end, KeyRange::start).is_ok();
                    a.iter().filter_map(KeyRange::end).any(starts)
                };
                // On a ring the last position is followed by the first.
                let around = |a: &[KeyRange], b: &[KeyRange]| {
                    let ends = a.last().is_some_and(|range| range.end().is_none());
                    let starts = b
                        .first()
                        .is_some_and(|range| range.start() == Position::MIN);
                    a.len() + b.len() > 2 && ends && starts
                };
                meets(ranges, others)
                    || meets(others, ranges)
                    || around(ranges, others)
                    || around(others, ranges)
            }
            (Self::Keys { span }, Self::Keys { span: other }) => span.adjoins(other),
            (
                Self::Bucket {
                    bucket,
                    buckets,
                    span,
                },
                Self::Bucket {
                    bucket: b,
                    buckets: n,
                    span: other,
                },
            ) => (bucket, buckets) == (b, n) && span.adjoins(other),
            _ => false,
        }
    }

    /// Returns the union of extents of which each adjoins another one, in any order.
    ///
    /// `None` if they are not neighbours in that sense, or two of them overlap.
    #[must_use]
    pub fn join<'a>(extents: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut left: Vec<&Self> = extents.into_iter().collect();
        let mut joined = (!left.is_empty()).then(|| left.swap_remove(0).clone())?;
        while !left.is_empty() {
            let next = left.iter().position(|extent| joined.adjoins(extent))?;
            joined = joined.join_one(left.swap_remove(next))?;
        }
        Some(joined)
    }

    fn join_one(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Positions { ranges }, Self::Positions { ranges: others }) => {
                Self::ranges(ranges.iter().chain(others).copied())
            }
            (Self::Keys { span }, Self::Keys { span: other }) => {
                span.join(other).map(|span| Self::Keys { span })
            }
            (
                Self::Bucket {
                    bucket,
                    buckets,
                    span,
                },
                Self::Bucket { span: other, .. },
            ) => span.join(other).map(|span| Self::Bucket {
                bucket: *bucket,
                buckets: *buckets,
                span,
            }),
            _ => None,
        }
    }

    /// Returns the two parts of the extent before and after a cut; `None` if one would be empty, the cut is of another kind, or the parts would be
    /// no neighbours, which could never be merged again: it lies in a [gap](Extent::gap_at).
    #[must_use]
    pub fn split_at(&self, cut: &Cut) -> Option<(Self, Self)> {
        match (self, cut) {
            (Self::Positions { ranges }, Cut::Position { at }) => {
                let (mut before, mut after) = (Vec::new(), Vec::new());
                for range in ranges {
                    match range.split_at(*at) {
                        Some((low, high)) => {
                            before.push(low);
                            after.push(high);
                        }
                        None if range.last() < *at => before.push(*range),
                        None => after.push(*range),
                    }
                }
                let (low, high) = (Self::ranges(before)?, Self::ranges(after)?);
                low.adjoins(&high).then_some((low, high))
            }
            (Self::Keys { span }, Cut::Key { at }) => {
                let (low, high) = span.split_at(at)?;
                Some((Self::Keys { span: low }, Self::Keys { span: high }))
            }
            (
                Self::Bucket {
                    bucket,
                    buckets,
                    span,
                },
                Cut::Key { at },
            ) => {
                let part = |span| Self::Bucket {
                    bucket: *bucket,
                    buckets: *buckets,
                    span,
                };
                let (low, high) = span.split_at(at)?;
                Some((part(low), part(high)))
            }
            _ => None,
        }
    }

    /// Returns the gap between two ranges in which a cut of positions lies: where the one ends, and where the next one starts. A cut at that start
    /// divides no range either, and lies in the gap.
    ///
    /// `None` if it lies in no gap: it divides a range, or there are no ranges on both of its sides.
    #[must_use]
    pub fn gap_at(&self, cut: &Cut) -> Option<(Position, Position)> {
        let (Self::Positions { ranges }, Cut::Position { at }) = (self, cut) else {
            return None;
        };
        let below = ranges.partition_point(|range| range.start() < *at);
        let (before, after) = (ranges.get(below.checked_sub(1)?)?, ranges.get(below)?);
        let end = before.end()?;
        (end <= *at).then(|| (end, after.start()))
    }

    /// Returns the cut in the middle: as many positions on either side, or the key halfway between the ends. A range is divided by it.
    ///
    /// `None` for an extent that cannot be divided.
    #[must_use]
    pub fn middle(&self) -> Option<Cut> {
        match self {
            Self::Positions { ranges } => {
                let half = ranges.iter().map(KeyRange::width).sum::<u128>() / 2;
                let mut passed = 0;
                // What each range would have to be divided at, and how far that is from the middle.
                let cuts = ranges.iter().filter_map(|range| {
                    let start = passed;
                    passed += range.width();
                    let inside = half.clamp(start + 1, (passed - 1).max(start + 1));
                    let offset = u64::try_from(inside - start).ok()?;
                    let at = Position(range.start().0.checked_add(offset)?);
                    (range.width() > 1).then_some((inside.abs_diff(half), Cut::Position { at }))
                });
                cuts.min().map(|(_, cut)| cut)
            }
            Self::Keys { span } | Self::Bucket { span, .. } => {
                span.middle().map(|at| Cut::Key { at })
            }
        }
    }

    /// Returns the cut below which a key is not, and everything before it in the order of the extent is.
    #[must_use]
    pub fn cut_at_key(&self, key: &[u8]) -> Cut {
        match self {
            Self::Positions { .. } => Cut::Position {
                at: Position::of(key),
            },
            Self::Keys { .. } | Self::Bucket { .. } => Cut::Key { at: key.to_vec() },
        }
    }

    /// Returns the cut at the median of some keys of the extent; `None` if they cannot be divided.
    #[must_use]
    pub fn median<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Option<Cut> {
        self.median_cut(keys.into_iter().map(|key| self.cut_at_key(key)).collect())
    }

    /// Returns the median of some cuts, one for each key; `None` if nothing is on one side of it.
    pub(crate) fn median_cut(&self, mut cuts: Vec<Cut>) -> Option<Cut> {
        if cuts.len() < 2 {
            return None;
        }
        let middle = cuts.len() / 2;
        let cut = cuts.select_nth_unstable(middle).1.clone();
        if self.gap_at(&cut).is_none() || self.split_at(&cut).is_some() {
            return self.split_at(&cut).map(|_| cut);
        }
        // Its key is the first of a range after a gap: the next best divides a range.
        cuts.sort_unstable();
        let mut places: Vec<usize> = (0..cuts.len()).collect();
        places.sort_by_key(|place| place.abs_diff(middle));
        let found = places
            .into_iter()
            .find(|place| self.split_at(&cuts[*place]).is_some());
        found.map(|place| cuts.swap_remove(place))
    }

    /// Returns the only range of positions, for an extent that is one.
    #[must_use]
    pub fn as_range(&self) -> Option<KeyRange> {
        match self {
            Self::Positions { ranges } if ranges.len() == 1 => ranges.first().copied(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
