//! Composite strategy: a bucket by hash, and a range inside it.

use super::{Partitioner, RangeStrategy, number};
use crate::{Error, hash_to_shard};

/// Spreads keys over buckets by hash and divides each bucket by ranges of the key.
///
/// Shards are numbered through: those of the first bucket, then those of the second, and so on.
///
/// ```
/// use shardwright_hashing::strategy::{CompositeStrategy, Partitioner, RangeStrategy};
///
/// let halves = RangeStrategy::cut_at(["m"])?;
/// let strategy = CompositeStrategy::new(vec![halves; 4])?;
/// assert_eq!(strategy.shards(), 8);
/// assert_eq!(strategy.shard(b"key"), Some(2));
/// # Ok::<_, shardwright_hashing::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompositeStrategy {
    buckets: Vec<RangeStrategy>,
    /// The number of the first shard of each bucket.
    first: Vec<u32>,
    shards: u32,
}

impl CompositeStrategy {
    /// Returns the strategy for the ranges of each bucket; keys are spread evenly over the buckets.
    ///
    /// # Errors
    /// [`Error::NoRanges`] without a bucket.
    pub fn new(buckets: impl IntoIterator<Item = RangeStrategy>) -> Result<Self, Error> {
        let buckets: Vec<RangeStrategy> = buckets.into_iter().collect();
        if buckets.is_empty() {
            return Err(Error::NoRanges);
        }
        let mut shards = 0;
        let mut first = Vec::with_capacity(buckets.len());
        for bucket in &buckets {
            first.push(shards);
            shards += bucket.shards();
        }
        Ok(Self {
            buckets,
            first,
            shards,
        })
    }

    /// Returns the shard of a key among `ranges[bucket]`, where the bucket is one of `buckets` by hash.
    ///
    /// # Errors
    /// As [`RangeStrategy::new`] for any bucket, and [`Error::BucketCount`] unless there are `buckets` lists.
    #[doc(alias = "get_shard")]
    pub fn shard_of<A, B>(
        key: impl AsRef<[u8]>,
        buckets: u32,
        ranges: &[Vec<(A, B)>],
    ) -> Result<Option<u32>, Error>
    where
        A: AsRef<[u8]>,
        B: AsRef<[u8]>,
    {
        let lists = ranges.len();
        if number(lists) != buckets {
            return Err(Error::BucketCount { buckets, lists });
        }
        let ranges: Result<Vec<_>, Error> = ranges.iter().map(RangeStrategy::new).collect();
        Ok(Self::new(ranges?)?.shard(key.as_ref()))
    }
}

impl Partitioner for CompositeStrategy {
    fn shard(&self, key: &[u8]) -> Option<u32> {
        let bucket = hash_to_shard(key, number(self.buckets.len())) as usize;
        Some(self.first[bucket] + self.buckets[bucket].shard(key)?)
    }

    fn shards(&self) -> u32 {
        self.shards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document_ranges() -> Vec<(String, String)> {
        let pair = |low: &str, high: &str| (low.to_owned(), high.to_owned());
        vec![pair("a", "m"), pair("m", "z")]
    }

    #[test]
    fn the_bucket_is_by_hash_and_the_shard_by_range_inside_it() {
        let ranges_per_bucket = vec![document_ranges(); 4];
        for key in ["key", "map", "a", "yes"] {
            let shard = CompositeStrategy::shard_of(key, 4, &ranges_per_bucket).unwrap();
            let half = u32::from(key >= "m");
            assert_eq!(shard, Some(hash_to_shard(key, 4) * 2 + half), "key {key}");
        }
        assert_eq!(
            CompositeStrategy::shard_of("zebra", 4, &ranges_per_bucket),
            Ok(None)
        );
    }

    #[test]
    fn buckets_may_differ_in_their_number_of_shards() {
        let one = RangeStrategy::new([..]).unwrap();
        let three = RangeStrategy::cut_at(["h", "p"]).unwrap();
        let strategy = CompositeStrategy::new([one.clone(), three, one]).unwrap();
        assert_eq!(strategy.shards(), 5);
        for key in ["a", "i", "q", "key", "other", "zone"] {
            let inside = u32::from(key >= "h") + u32::from(key >= "p");
            let expected = [0, 1 + inside, 4][hash_to_shard(key, 3) as usize];
            assert_eq!(strategy.shard(key.as_bytes()), Some(expected), "key {key}");
        }
    }

    #[test]
    fn a_list_per_bucket_is_required() {
        assert_eq!(CompositeStrategy::new([]), Err(Error::NoRanges));
        let lists = vec![document_ranges(); 3];
        assert_eq!(
            CompositeStrategy::shard_of("key", 4, &lists),
            Err(Error::BucketCount {
                buckets: 4,
                lists: 3
            })
        );
    }
}
