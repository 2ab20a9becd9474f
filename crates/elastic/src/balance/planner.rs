//! The planner: from a situation to steps, without memory.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::{NodeId, ShardId};

use super::{BalancePolicy, Planned, RebalanceImpact, RebalancePlan, Situation, Step};
use crate::{Part, ShardMetrics};

/// Returns what is to be done: splits of hot shards, the hottest first; merges of cold neighbours; and moves to nodes that have less.
///
/// Equal situations give equal plans. A plan for what a plan would lead to does not undo it: what two cold shards have together is still cold, and
/// a move is planned only if it makes the difference of two nodes smaller.
#[must_use]
pub fn plan(situation: &Situation, policy: &BalancePolicy) -> RebalancePlan {
    let mut draft = Draft {
        situation,
        policy,
        taken: situation.busy.iter().cloned().collect(),
        load: BTreeMap::new(),
        steps: Vec::new(),
        bytes: 0,
    };
    draft.count_load();
    draft.split();
    draft.merge();
    draft.migrate();
    draft.finish()
}

struct Draft<'a> {
    situation: &'a Situation,
    policy: &'a BalancePolicy,
    /// Shards that are in an operation or a step.
    taken: BTreeSet<ShardId>,
    /// Bytes of each node after the steps.
    load: BTreeMap<NodeId, u64>,
    steps: Vec<Planned>,
    bytes: u64,
}

impl<'a> Draft<'a> {
    fn metrics(&self, part: &Part) -> Option<&'a ShardMetrics> {
        self.situation.metrics.get(&part.shard)
    }

    fn is_free(&self, part: &Part) -> bool {
        !self.taken.contains(&part.shard)
    }

    fn is_full(&self) -> bool {
        self.steps.len() >= self.policy.steps_max
    }

    fn count_load(&mut self) {
        for node in &self.situation.nodes {
            self.load.insert(node.clone(), 0);
        }
        for part in &self.situation.parts {
            let bytes = self
                .metrics(part)
                .map_or(0, |metrics| metrics.storage_bytes);
            *self.load.entry(part.node.clone()).or_default() += bytes;
        }
    }

    fn add(&mut self, step: Step, reason: String, bytes: u64) {
        self.taken.extend(step.sources().iter().cloned());
        self.bytes += bytes;
        self.steps.push(Planned { step, reason });
    }

    fn split(&mut self) {
        let mut hot: Vec<_> = self.situation.parts.iter().collect();
        hot.retain(|part| self.is_free(part));
        let mut hot: Vec<_> = hot
            .into_iter()
            .filter_map(|part| {
                let metrics = self.metrics(part)?;
                let hot = self.policy.split.hot(metrics)?;
                Some((hot.value / hot.threshold, hot, part, metrics))
            })
            .collect();
        // The hottest first, ties by name.
        hot.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.shard.cmp(&b.2.shard)));
        for (_, hot, part, metrics) in hot {
            if self.is_full() {
                return;
            }
            let shard = part.shard.clone();
            self.add(
                Step::Split { shard },
                hot.to_string(),
                metrics.storage_bytes,
            );
        }
    }

    fn merge(&mut self) {
        let splits = self.steps.len();
        let mut left = self.situation.parts.len() + splits;
        let cold: Vec<(&Part, &ShardMetrics)> = self
            .situation
            .parts
            .iter()
            .filter(|part| self.is_free(part))
            .filter_map(|part| Some((part, self.metrics(part)?)))
            .filter(|(_, metrics)| self.policy.merge.cold(metrics))
            .collect();
        for (place, (part, metrics)) in cold.iter().enumerate() {
            let too_few = left <= self.policy.merge.min_total_shards;
            if self.is_full() || too_few || !self.is_free(part) {
                continue;
            }
            let others = cold[place + 1..]
                .iter()
                .filter(|(other, _)| self.is_free(other) && part.extent.adjoins(&other.extent));
            let fits = |(_, other): &&(&Part, &ShardMetrics)| {
                self.policy.merge.cold_together([*metrics, *other])
            };
            // The smallest that fits, ties by name.
            let size = |(part, metrics): &&(&Part, &ShardMetrics)| {
                (metrics.storage_bytes, part.shard.clone())
            };
            let Some((other, more)) = others.filter(fits).min_by_key(size) else {
                continue;
            };
            let stays = if metrics.storage_bytes >= more.storage_bytes {
                part
            } else {
                other
            };
            let step = Step::Merge {
                shards: vec![part.shard.clone(), other.shard.clone()],
                to: stays.node.clone(),
            };
            let bytes = metrics.storage_bytes + more.storage_bytes;
            left -= 1;
            self.add(
                step,
                "all metrics are below the thresholds for merges".to_owned(),
                bytes,
            );
        }
    }

    fn migrate(&mut self) {
        while !self.is_full() && self.migrate_one() {}
    }

    fn migrate_one(&mut self) -> bool {
        let known = |(node, _): &(&NodeId, &u64)| self.situation.nodes.contains(node);
        let by_load = |(node, bytes): &(&NodeId, &u64)| (**bytes, (*node).clone());
        let Some((from, most)) = self.load.iter().max_by_key(by_load) else {
            return false;
        };
        let Some((to, least)) = self.load.iter().filter(known).min_by_key(by_load) else {
            return false;
        };
        let total: u64 = self.load.values().sum();
        let mean = total / self.load.len().max(1) as u64;
        #[expect(clippy::cast_precision_loss, reason = "a bound")]
        let is_over = *most as f64 > mean as f64 * (1.0 + self.policy.tolerance);
        if !is_over || from == to {
            return false;
        }
        let (from, to, most, least) = (from.clone(), to.clone(), *most, *least);
        let room = self
            .policy
            .node_bytes_max
            .unwrap_or(u64::MAX)
            .saturating_sub(least);
        let candidate = self
            .situation
            .parts
            .iter()
            .filter(|part| part.node == from && self.is_free(part))
            .filter_map(|part| Some((part, self.metrics(part)?.storage_bytes)))
            // The difference becomes smaller, and there is room.
            .filter(|(_, bytes)| *bytes > 0 && *bytes < most - least && *bytes <= room)
            .min_by_key(|(part, bytes)| ((most - least).abs_diff(2 * bytes), part.shard.clone()));
        let Some((part, bytes)) = candidate else {
            return false;
        };
        let shard = part.shard.clone();
        let reason = format!("node {from} has {most} bytes, the mean is {mean}");
        let step = Step::Migrate {
            shard,
            to: to.clone(),
        };
        *self.load.entry(from).or_default() -= bytes;
        *self.load.entry(to).or_default() += bytes;
        self.add(step, reason, bytes);
        true
    }

    fn finish(self) -> RebalancePlan {
        let ends = |planned: &Planned| planned.step.sources().to_vec();
        let ending: BTreeSet<ShardId> = self.steps.iter().flat_map(ends).collect();
        let impact = RebalanceImpact {
            data_movement_bytes: self.bytes,
            shards_affected: ending.len(),
            estimated_duration_secs: self.bytes.div_ceil(self.policy.bytes_per_second.max(1)),
            load_improvement: self.improvement(),
        };
        let parts = self.situation.parts.iter();
        let made_for = parts.filter(|part| ending.contains(&part.shard)).cloned();
        RebalancePlan {
            made_for: made_for.collect(),
            impact,
            steps: self.steps,
        }
    }

    /// Returns the improvement of the busiest shard, or of the fullest node if that is more.
    #[expect(clippy::cast_precision_loss, reason = "a part that is shown")]
    fn improvement(&self) -> f64 {
        let splits = |shard: &ShardId| {
            let is = |planned: &Planned| matches!(&planned.step, Step::Split { shard: split } if split == shard);
            self.steps.iter().any(is)
        };
        let pressure = |metrics: &ShardMetrics| {
            let split = &self.policy.split;
            (metrics.cpu_usage / split.cpu_threshold)
                .max(metrics.memory_usage / split.memory_threshold)
                .max(metrics.storage_bytes as f64 / split.storage_threshold as f64)
                .max(metrics.request_rate / split.request_rate_threshold)
        };
        let shards = || self.situation.metrics.iter();
        let before = shards()
            .map(|(_, metrics)| pressure(metrics))
            .fold(0.0, f64::max);
        let after = shards().map(|(shard, metrics)| {
            let half = if splits(shard) { 2.0 } else { 1.0 };
            pressure(metrics) / half
        });
        let of_shards = gain(before, after.fold(0.0, f64::max));
        let mut nodes: BTreeMap<&NodeId, u64> = BTreeMap::new();
        for part in &self.situation.parts {
            let bytes = self
                .metrics(part)
                .map_or(0, |metrics| metrics.storage_bytes);
            *nodes.entry(&part.node).or_default() += bytes;
        }
        let most = |most: Option<&u64>| most.copied().unwrap_or(0) as f64;
        let of_nodes = gain(most(nodes.values().max()), most(self.load.values().max()));
        of_shards.max(of_nodes)
    }
}

fn gain(before: f64, after: f64) -> f64 {
    if before > 0.0 {
        ((before - after) / before).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
