//! Thresholds that contradict each other: what is merged by one would be split again by the other.

use std::fmt;

use super::BalancePolicy;

/// What shards are split and merged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Metric {
    /// The part of a processor.
    Cpu,
    /// The part of the memory.
    Memory,
    /// Bytes.
    Bytes,
    /// Requests in a second.
    Requests,
    /// Keys.
    Keys,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "the part of a processor",
            Self::Memory => "the part of the memory",
            Self::Bytes => "bytes",
            Self::Requests => "requests in a second",
            Self::Keys => "keys",
        })
    }
}

/// A policy that cannot be used. Nothing was made.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// A shard that is merged would be split again. Move the two apart.
    #[error("the thresholds for {metric} are not 0 < merge < split: merge {merge}, split {split}")]
    Thresholds {
        /// By what.
        metric: Metric,
        /// The threshold for merges.
        merge: f64,
        /// The threshold for splits.
        split: f64,
    },
    /// Shards that have too many keys would have too few to be divided.
    #[error("shards with more than {split} keys are split, and not with fewer than {least}")]
    TooFewKeys {
        /// Above how many keys a shard is split.
        split: usize,
        /// The fewest keys of a shard that is split.
        least: usize,
    },
}

impl BalancePolicy {
    /// Checks that no threshold for merges reaches that for splits.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the first metric of which that is not so.
    #[expect(
        clippy::cast_precision_loss,
        reason = "thresholds are compared, not counted"
    )]
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        let (split, merge) = (&self.split, &self.merge);
        let bytes = (merge.storage_threshold, split.storage_threshold);
        let keys = self
            .split_keys
            .map(|most| (Metric::Keys, merge.max_merged_keys as f64, most as f64));
        let pairs = [
            (Metric::Cpu, merge.cpu_threshold, split.cpu_threshold),
            (
                Metric::Memory,
                merge.memory_threshold,
                split.memory_threshold,
            ),
            (Metric::Bytes, bytes.0 as f64, bytes.1 as f64),
            (
                Metric::Requests,
                merge.request_rate_threshold,
                split.request_rate_threshold,
            ),
        ];
        for (metric, merge, split) in pairs.into_iter().chain(keys) {
            // So that what is no number is refused, too.
            let is_between = 0.0 < merge && merge < split;
            if !is_between {
                return Err(InvalidPolicy::Thresholds {
                    metric,
                    merge,
                    split,
                });
            }
        }
        match self.split_keys {
            Some(most) if most < split.min_keys => Err(InvalidPolicy::TooFewKeys {
                split: most,
                least: split.min_keys,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut BalancePolicy), expected: Option<Metric>) {
        let mut policy = BalancePolicy::default();
        change(&mut policy);
        let refused = policy.check().err().map(|error| match error {
            InvalidPolicy::Thresholds { metric, .. } => metric,
            InvalidPolicy::TooFewKeys { .. } => Metric::Keys,
        });
        assert_eq!(refused, expected, "{policy:?}");
    }

    #[test]
    fn what_is_merged_is_not_split_again() {
        check(|_| {}, None);
        check(|policy| policy.merge.cpu_threshold = 0.8, Some(Metric::Cpu));
        check(
            |policy| policy.split.memory_threshold = 0.1,
            Some(Metric::Memory),
        );
        check(
            |policy| policy.merge.storage_threshold = 10 << 30,
            Some(Metric::Bytes),
        );
        check(
            |policy| policy.merge.request_rate_threshold = f64::NAN,
            Some(Metric::Requests),
        );
        check(
            |policy| policy.merge.storage_threshold = 0,
            Some(Metric::Bytes),
        );
        check(
            |policy| policy.split_keys = Some(policy.merge.max_merged_keys),
            Some(Metric::Keys),
        );
        check(
            |policy| {
                policy.merge.max_merged_keys = 10;
                policy.split_keys = Some(20);
            },
            Some(Metric::Keys),
        );
        check(|policy| policy.split_keys = Some(2_000_000), None);
    }
}
