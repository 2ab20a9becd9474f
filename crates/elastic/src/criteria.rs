//! Criteria: when a shard is hot, and when it is cold.

use std::fmt;

use crate::ShardMetrics;

/// When a shard is to be split: when any of its metrics is above its threshold.
///
/// Manual splits are bound by `min_keys` alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitCriteria {
    /// The part of a processor, from 0 to 1. Default 0.8.
    pub cpu_threshold: f64,
    /// The part of the memory, from 0 to 1. Default 0.8.
    pub memory_threshold: f64,
    /// Bytes. Default 10 GiB.
    pub storage_threshold: u64,
    /// Requests in a second. Default 10,000.
    pub request_rate_threshold: f64,
    /// The fewest keys of a shard that is split. Default 1,000.
    pub min_keys: usize,
}

impl Default for SplitCriteria {
    fn default() -> Self {
        Self {
            cpu_threshold: 0.8,
            memory_threshold: 0.8,
            storage_threshold: 10 << 30,
            request_rate_threshold: 10_000.0,
            min_keys: 1_000,
        }
    }
}

/// When shards are to be merged: when all of their metrics are below their thresholds.
///
/// Manual merges are bound by `max_merged_keys` and `min_total_shards` alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MergeCriteria {
    /// The part of a processor, from 0 to 1. Default 0.3.
    pub cpu_threshold: f64,
    /// The part of the memory, from 0 to 1. Default 0.3.
    pub memory_threshold: f64,
    /// Bytes. Default 1 GiB.
    pub storage_threshold: u64,
    /// Requests in a second. Default 1,000.
    pub request_rate_threshold: f64,
    /// The most keys of a shard that is made by a merge. Default 1,000,000.
    pub max_merged_keys: usize,
    /// The fewest shards that are left. Default 2.
    pub min_total_shards: usize,
}

impl Default for MergeCriteria {
    fn default() -> Self {
        Self {
            cpu_threshold: 0.3,
            memory_threshold: 0.3,
            storage_threshold: 1 << 30,
            request_rate_threshold: 1_000.0,
            max_merged_keys: 1_000_000,
            min_total_shards: 2,
        }
    }
}

/// The metric that makes a shard hot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hot {
    /// What it is called.
    pub metric: &'static str,
    /// What it is.
    pub value: f64,
    /// What it should not exceed.
    pub threshold: f64,
}

impl fmt::Display for Hot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            metric,
            value,
            threshold,
        } = self;
        write!(f, "{metric} is {value:.2}, above {threshold:.2}")
    }
}

impl SplitCriteria {
    /// Returns the first metric that is above its threshold; `None` if the shard is not hot, or has too few keys to be divided.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "bytes are compared, not counted"
    )]
    pub fn hot(&self, metrics: &ShardMetrics) -> Option<Hot> {
        if metrics.key_count < self.min_keys {
            return None;
        }
        let measured = [
            ("cpu", metrics.cpu_usage, self.cpu_threshold),
            ("memory", metrics.memory_usage, self.memory_threshold),
            (
                "storage",
                metrics.storage_bytes as f64,
                self.storage_threshold as f64,
            ),
            (
                "request rate",
                metrics.request_rate,
                self.request_rate_threshold,
            ),
        ];
        let above = measured.into_iter().find(|(_, value, most)| value > most);
        above.map(|(metric, value, threshold)| Hot {
            metric,
            value,
            threshold,
        })
    }
}

impl MergeCriteria {
    /// Returns whether all metrics are below their thresholds.
    #[must_use]
    pub fn cold(&self, metrics: &ShardMetrics) -> bool {
        metrics.cpu_usage < self.cpu_threshold
            && metrics.memory_usage < self.memory_threshold
            && metrics.storage_bytes < self.storage_threshold
            && metrics.request_rate < self.request_rate_threshold
    }

    /// Returns whether shards with these metrics may become one: each is cold, and so are all together.
    #[must_use]
    pub fn cold_together<'a>(&self, shards: impl IntoIterator<Item = &'a ShardMetrics>) -> bool {
        let mut sum = ShardMetrics::default();
        for metrics in shards {
            if !self.cold(metrics) {
                return false;
            }
            sum.cpu_usage += metrics.cpu_usage;
            sum.memory_usage += metrics.memory_usage;
            sum.storage_bytes = sum.storage_bytes.saturating_add(metrics.storage_bytes);
            sum.request_rate += metrics.request_rate;
            sum.key_count = sum.key_count.saturating_add(metrics.key_count);
        }
        self.cold(&sum) && sum.key_count <= self.max_merged_keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> ShardMetrics {
        ShardMetrics {
            cpu_usage: 0.1,
            memory_usage: 0.1,
            storage_bytes: 1 << 20,
            request_rate: 10.0,
            key_count: 5_000,
            ..ShardMetrics::default()
        }
    }

    #[test]
    fn any_metric_makes_a_shard_hot() {
        let criteria = SplitCriteria::default();
        assert_eq!(criteria.hot(&busy()), None);
        let hot = [
            ShardMetrics {
                cpu_usage: 0.81,
                ..busy()
            },
            ShardMetrics {
                memory_usage: 0.81,
                ..busy()
            },
            ShardMetrics {
                storage_bytes: (10 << 30) + 1,
                ..busy()
            },
            ShardMetrics {
                request_rate: 10_001.0,
                ..busy()
            },
        ];
        for metrics in hot {
            assert!(criteria.hot(&metrics).is_some(), "{metrics:?}");
            let few = ShardMetrics {
                key_count: 999,
                ..metrics
            };
            assert_eq!(criteria.hot(&few), None, "too few keys");
        }
    }

    #[test]
    fn shards_are_merged_only_if_they_stay_cold() {
        let criteria = MergeCriteria::default();
        assert!(criteria.cold_together([&busy(), &busy()]));
        let warm = ShardMetrics {
            cpu_usage: 0.2,
            ..busy()
        };
        assert!(criteria.cold(&warm));
        assert!(!criteria.cold_together([&warm, &warm]), "0.4 together");
        let large = ShardMetrics {
            key_count: 600_000,
            ..busy()
        };
        assert!(!criteria.cold_together([&large, &large]));
    }
}
