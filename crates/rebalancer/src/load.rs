//! What a shard costs the node that holds it: a vector of measurements, and a blend that makes one number of it.

use serde::{Deserialize, Serialize};

use crate::Cluster;

/// What one copy of a partition was measured to need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// What is stored, in bytes.
    pub bytes: u64,
    /// Requests per second.
    pub requests: u64,
    /// Time of processors: thousandths of one.
    pub cpu: u64,
    /// What it takes in memory, in bytes.
    pub memory: u64,
    /// How many keys are stored.
    pub keys: u64,
}

/// How much each measurement counts.
///
/// The numbers are relative to one another. Each measurement counts by its part of what all partitions together have of it, so their
/// units do not matter, and one that is zero everywhere is left out. If all are 0, copies are counted.
///
/// ```
/// use shardwright_rebalancer::Blend;
///
/// let mostly_requests = Blend { requests: 90, ..Blend::COPIES };
/// assert_eq!(mostly_requests.copies, 10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Blend {
    /// The copy as such. Default 10: with 0, any number of idle shards would end on one node.
    pub copies: u32,
    /// [`Load::bytes`]. Default 45.
    pub bytes: u32,
    /// [`Load::requests`]. Default 45.
    pub requests: u32,
    /// [`Load::cpu`]. Default 0: it mostly follows from requests.
    pub cpu: u32,
    /// [`Load::memory`]. Default 0: it mostly follows from bytes.
    pub memory: u32,
    /// [`Load::keys`]. Default 0.
    pub keys: u32,
}

impl Blend {
    /// Counts copies, whatever is measured.
    pub const COPIES: Self = Self {
        copies: 10,
        bytes: 0,
        requests: 0,
        cpu: 0,
        memory: 0,
        keys: 0,
    };

    fn dimensions(self) -> [u32; 5] {
        [self.bytes, self.requests, self.cpu, self.memory, self.keys]
    }
}

impl Default for Blend {
    fn default() -> Self {
        Self {
            bytes: 45,
            requests: 45,
            ..Self::COPIES
        }
    }
}

impl Load {
    fn dimensions(self) -> [u64; 5] {
        [self.bytes, self.requests, self.cpu, self.memory, self.keys]
    }
}

/// What copies cost, in parts of 2^40 of what all partitions cost. What was not measured costs as much as the others on average.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    of_copy: f64,
    of_dimension: [f64; 5],
    unknown: u64,
}

impl Costs {
    const WHOLE: f64 = (1_u64 << 40) as f64;

    pub(crate) fn new(cluster: &Cluster, blend: Blend) -> Self {
        let mut totals = [0_u128; 5];
        let mut measured = 0_u64;
        let loads = || {
            let partitions = cluster.partitions();
            partitions.filter_map(|(_, partition)| partition.measured)
        };
        for load in loads() {
            measured += 1;
            for (total, part) in totals.iter_mut().zip(load.dimensions()) {
                *total += u128::from(part);
            }
        }
        let weights = blend.dimensions();
        let present = totals.iter().zip(weights).filter(|(total, _)| **total > 0);
        let mut copies = u64::from(blend.copies);
        let mut sum = copies + present.map(|(_, weight)| u64::from(weight)).sum::<u64>();
        if sum == 0 {
            (copies, sum) = (1, 1);
        }
        // What was not measured is a part of the whole, too.
        let each = Self::WHOLE / cluster.partitions().len().max(1) as f64;
        let part = |weight: u64| weight as f64 / sum as f64 * each * measured as f64;
        let mut of_dimension = [0.0; 5];
        for (factor, (total, weight)) in of_dimension.iter_mut().zip(totals.iter().zip(weights)) {
            if *total > 0 {
                *factor = part(u64::from(weight)) / *total as f64;
            }
        }
        Self {
            of_copy: part(copies) / measured.max(1) as f64,
            of_dimension,
            unknown: each.round() as u64,
        }
    }

    /// Returns what a copy costs, at least 1.
    pub(crate) fn of(&self, measured: Option<Load>) -> u64 {
        let Some(load) = measured else {
            return self.unknown.max(1);
        };
        let parts = load.dimensions().into_iter().zip(self.of_dimension);
        let parts = parts.map(|(part, factor)| part as f64 * factor);
        let cost = self.of_copy + parts.sum::<f64>();
        // The nearest whole number, so that equal loads that were measured and averages of them are equal.
        (cost.round() as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::ShardId;

    use super::*;
    use crate::{Partition, PartitionId};

    fn costs(loads: &[Option<Load>], blend: Blend) -> Vec<u64> {
        let mut cluster = Cluster::new();
        for (number, measured) in (0..).zip(loads) {
            let partition = Partition {
                measured: *measured,
                ..Partition::new(1)
            };
            cluster.set_partition(PartitionId::from(ShardId::numbered(number)), partition);
        }
        let costs = Costs::new(&cluster, blend);
        loads.iter().map(|measured| costs.of(*measured)).collect()
    }

    fn load(bytes: u64, requests: u64) -> Option<Load> {
        Some(Load {
            bytes,
            requests,
            ..Load::default()
        })
    }

    #[test]
    fn each_measurement_counts_by_its_part_of_the_whole() {
        let half_each = Blend {
            copies: 0,
            ..Blend::default()
        };
        let costs = costs(&[load(300, 0), load(100, 10)], half_each);
        let whole = 1_u64 << 40;
        assert_eq!(costs, [whole * 3 / 8, whole * 5 / 8]);
    }

    #[test]
    fn what_is_measured_nowhere_is_left_out() {
        let whole = 1_u64 << 40;
        let of_bytes = costs(&[load(300, 0), load(100, 0)], Blend::default());
        // 10 parts of 55 are for the copies, 45 for the bytes.
        let expected = |part: f64| ((10.0 / 55.0 * 0.5 + 45.0 / 55.0 * part) * whole as f64) as u64;
        assert!(
            of_bytes[0].abs_diff(expected(0.75)) <= 1,
            "{of_bytes:?} for {}",
            expected(0.75)
        );
        assert_eq!(of_bytes.iter().sum::<u64>(), whole);
        let nothing = costs(&[None, None], Blend::default());
        assert_eq!(nothing[0], nothing[1]);
    }

    #[test]
    fn what_is_not_measured_costs_the_average() {
        let costs = costs(&[load(400, 1), load(0, 3), None], Blend::default());
        assert_eq!(costs[2], (costs[0] + costs[1]) / 2);
    }

    #[test]
    fn idle_shards_are_not_free() {
        let none = Blend {
            copies: 0,
            ..Blend::default()
        };
        assert_eq!(costs(&[load(0, 0), load(9, 9)], none)[0], 1);
    }
}
