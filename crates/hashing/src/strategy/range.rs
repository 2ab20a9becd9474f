//! Range strategy: neighbouring intervals of the ordered key.

use super::{KeyInterval, Partitioner, number};
use crate::Error;

/// Keeps neighbouring keys together: each shard owns an interval of the ordered key.
///
/// The intervals include their start and exclude their end, and tile everything between the first start and the
/// last end. A key outside belongs to no shard, unless the outer intervals are open.
///
/// ```
/// use shardwright_hashing::strategy::RangeStrategy;
///
/// let ranges = vec![
///     ("a".to_string(), "m".to_string()),
///     ("m".to_string(), "z".to_string()),
/// ];
/// assert_eq!(RangeStrategy::shard_of("key", &ranges)?, Some(0));
/// assert_eq!(RangeStrategy::shard_of("m", &ranges)?, Some(1));
/// assert_eq!(RangeStrategy::shard_of("zebra", &ranges)?, None);
/// # Ok::<_, shardwright_hashing::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeStrategy {
    /// The smallest key of all; `None` if there is no smallest.
    start: Option<Box<[u8]>>,
    /// The starts of all intervals but the first, ascending.
    cuts: Vec<Box<[u8]>>,
    /// The key above the largest of all; `None` if there is no largest.
    end: Option<Box<[u8]>>,
    /// The place of each interval in the list that was given.
    shards: Vec<u32>,
}

impl RangeStrategy {
    /// Returns the strategy for a list of intervals in any order; a shard's number is its place in the list.
    ///
    /// # Errors
    /// [`Error::NoRanges`], [`Error::EmptyRange`], [`Error::Gap`] or [`Error::Overlap`], naming places of the list.
    pub fn new<I: Into<KeyInterval>>(ranges: impl IntoIterator<Item = I>) -> Result<Self, Error> {
        let mut ranges: Vec<(usize, KeyInterval)> =
            ranges.into_iter().map(Into::into).enumerate().collect();
        if let Some((range, _)) = ranges.iter().find(|(_, interval)| interval.is_empty()) {
            return Err(Error::EmptyRange { range: *range });
        }
        // `None` sorts first, as an open start does.
        ranges.sort_by(|(_, a), (_, b)| a.start.cmp(&b.start));
        for pair in ranges.windows(2) {
            check_neighbours(&pair[0], &pair[1])?;
        }
        let shards = ranges.iter().map(|(index, _)| number(*index)).collect();
        let mut intervals = ranges.into_iter().map(|(_, interval)| interval);
        let first = intervals.next().ok_or(Error::NoRanges)?;
        let mut strategy = Self {
            start: first.start,
            cuts: Vec::new(),
            end: first.end,
            shards,
        };
        for interval in intervals {
            strategy.cuts.extend(interval.start);
            strategy.end = interval.end;
        }
        Ok(strategy)
    }

    /// Returns the strategy that owns every key: below the first cut, between the cuts, and from the last one on.
    ///
    /// # Errors
    /// [`Error::EmptyRange`] if the cuts do not ascend or the first one is the empty key.
    pub fn cut_at<K: AsRef<[u8]>>(cuts: impl IntoIterator<Item = K>) -> Result<Self, Error> {
        let cuts: Vec<Box<[u8]>> = cuts.into_iter().map(|cut| cut.as_ref().into()).collect();
        let mut below: &[u8] = &[];
        for (range, cut) in cuts.iter().enumerate() {
            if **cut <= *below {
                return Err(Error::EmptyRange { range });
            }
            below = cut;
        }
        let shards = (0..=number(cuts.len())).collect();
        Ok(Self {
            start: None,
            cuts,
            end: None,
            shards,
        })
    }

    /// Returns the shard of a key among a list of intervals, or `None` for a key outside all of them.
    ///
    /// It builds the strategy for the one key; build it once where there are many.
    ///
    /// # Errors
    /// As [`RangeStrategy::new`].
    #[doc(alias = "get_shard")]
    pub fn shard_of<'a, I>(key: impl AsRef<[u8]>, ranges: &'a [I]) -> Result<Option<u32>, Error>
    where
        &'a I: Into<KeyInterval>,
    {
        Ok(Self::new(ranges)?.shard(key.as_ref()))
    }
}

impl Partitioner for RangeStrategy {
    fn shard(&self, key: &[u8]) -> Option<u32> {
        let below = self.start.as_deref().is_some_and(|start| key < start);
        let above = self.end.as_deref().is_some_and(|end| key >= end);
        if below || above {
            return None;
        }
        Some(self.shards[self.cuts.partition_point(|cut| **cut <= *key)])
    }

    fn shards(&self) -> u32 {
        number(self.shards.len())
    }
}

/// Requires that the interval of the smaller start ends where the other one starts.
fn check_neighbours(
    (earlier, low): &(usize, KeyInterval),
    (later, high): &(usize, KeyInterval),
) -> Result<(), Error> {
    let (earlier, later) = (*earlier, *later);
    match (&low.end, &high.start) {
        (Some(end), Some(start)) if end == start => Ok(()),
        (Some(end), Some(start)) if end < start => Err(Error::Gap { earlier, later }),
        _ => Err(Error::Overlap { earlier, later }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(ranges: &RangeStrategy, cases: &[(&str, Option<u32>)]) {
        for (key, shard) in cases {
            assert_eq!(ranges.shard(key.as_bytes()), *shard, "key {key:?}");
        }
    }

    #[test]
    fn a_start_is_included_and_an_end_excluded() {
        let ranges = RangeStrategy::new([("a", "m"), ("m", "z")]).unwrap();
        check(
            &ranges,
            &[
                ("", None),
                ("Z", None),
                ("a", Some(0)),
                ("key", Some(0)),
                ("lzz", Some(0)),
            ],
        );
        check(
            &ranges,
            &[
                ("m", Some(1)),
                ("yz", Some(1)),
                ("z", None),
                ("zebra", None),
            ],
        );
    }

    #[test]
    fn open_ends_take_every_key() {
        let ranges = RangeStrategy::cut_at(["g", "p"]).unwrap();
        check(
            &ranges,
            &[
                ("", Some(0)),
                ("g", Some(1)),
                ("o", Some(1)),
                ("ß", Some(2)),
            ],
        );
        let ranges: [KeyInterval; 3] = [("p"..).into(), (.."g").into(), ("g".."p").into()];
        let ranges = RangeStrategy::new(ranges).unwrap();
        check(
            &ranges,
            &[
                ("", Some(1)),
                ("g", Some(2)),
                ("p", Some(0)),
                ("ß", Some(0)),
            ],
        );
        check(
            &RangeStrategy::new([..]).unwrap(),
            &[("", Some(0)), ("x", Some(0))],
        );
    }

    #[test]
    fn gaps_and_overlaps_are_refused_by_place() {
        let new = |ranges: &[(&str, &str)]| RangeStrategy::new(ranges).map(|_| ());
        assert_eq!(
            new(&[("n", "z"), ("a", "m")]),
            Err(Error::Gap {
                earlier: 1,
                later: 0
            })
        );
        assert_eq!(
            new(&[("a", "n"), ("m", "z")]),
            Err(Error::Overlap {
                earlier: 0,
                later: 1
            })
        );
        assert_eq!(
            new(&[("a", "z"), ("b", "c")]),
            Err(Error::Overlap {
                earlier: 0,
                later: 1
            })
        );
        assert_eq!(
            new(&[("a", "m"), ("m", "m")]),
            Err(Error::EmptyRange { range: 1 })
        );
        assert_eq!(new(&[]), Err(Error::NoRanges));
        let open: [KeyInterval; 2] = [("a"..).into(), ("m".."z").into()];
        assert_eq!(
            RangeStrategy::new(open),
            Err(Error::Overlap {
                earlier: 0,
                later: 1
            })
        );
        assert_eq!(
            RangeStrategy::new([..""]),
            Err(Error::EmptyRange { range: 0 })
        );
        assert_eq!(
            RangeStrategy::cut_at(["b", "a"]),
            Err(Error::EmptyRange { range: 1 })
        );
        assert_eq!(
            RangeStrategy::cut_at([""]),
            Err(Error::EmptyRange { range: 0 })
        );
    }

    proptest! {
        #[test]
        fn every_key_between_the_ends_has_the_shard_whose_interval_holds_it(
            cuts in prop::collection::btree_set("[a-d]{1,3}", 2..10),
            key in "[a-d]{0,4}",
        ) {
            let cuts: Vec<String> = cuts.into_iter().collect();
            let pairs: Vec<_> = cuts.windows(2).map(|pair| (&pair[0], &pair[1])).collect();
            let holder = pairs.iter().position(|(low, high)| **low <= key && key < **high);
            let ranges = RangeStrategy::new(pairs).unwrap();
            prop_assert_eq!(ranges.shard(key.as_bytes()), holder.map(number));
        }
    }
}
