//! The planner: from a situation to steps, without memory.

mod neighbours;

use std::collections::{BTreeSet, HashMap};

use shardwright_topology::{NodeId, ShardId};

use self::neighbours::Neighbours;
use super::{BalancePolicy, Planned, RebalanceImpact, RebalancePlan, Situation, Step};
use crate::{Part, ShardMetrics};

/// Returns what is to be done: splits of hot shards, the hottest first; merges of cold neighbours; and moves to nodes that have less.
///
/// Equal situations give equal plans. A plan for what a plan would lead to does not undo it: what two cold shards have together is still cold, and
/// a move is planned only if it makes the difference of two nodes smaller.
#[must_use]
pub fn plan(situation: &Situation, policy: &BalancePolicy) -> RebalancePlan {
    let mut draft = Draft::new(situation, policy);
    draft.split();
    draft.merge();
    draft.migrate();
    draft.finish()
}

struct Draft<'a> {
    policy: &'a BalancePolicy,
    /// The shards, each by its place.
    shards: Vec<Standing<'a>>,
    /// The nodes that have shards or may have some, in the order of their names.
    nodes: Vec<Place<'a>>,
    /// The shards that are split.
    splits: Vec<usize>,
    /// Those that end, in their order.
    ending: BTreeSet<usize>,
    steps: Vec<Planned>,
    bytes: u64,
}

/// A shard as the planner looks at it.
struct Standing<'a> {
    part: &'a Part,
    metrics: Option<&'a ShardMetrics>,
    /// The place of its node.
    node: usize,
    /// Whether it is in an operation or a step.
    is_taken: bool,
    /// Whether it is neither merged nor moved.
    stays: bool,
}

impl Standing<'_> {
    fn bytes(&self) -> u64 {
        self.metrics.map_or(0, |metrics| metrics.storage_bytes)
    }
}

/// A node as the planner looks at it.
#[derive(Clone, Copy)]
struct Place<'a> {
    node: &'a NodeId,
    /// Whether it may have more.
    is_known: bool,
    /// Its bytes now, and after the steps.
    before: u64,
    load: u64,
}

impl<'a> Draft<'a> {
    fn new(situation: &'a Situation, policy: &'a BalancePolicy) -> Self {
        let known: BTreeSet<&NodeId> = situation.nodes.iter().collect();
        let all = known.iter().copied();
        let all: BTreeSet<&NodeId> = all
            .chain(situation.parts.iter().map(|part| &part.node))
            .collect();
        let place = |node: &&'a NodeId| Place {
            node,
            is_known: known.contains(node),
            before: 0,
            load: 0,
        };
        let mut nodes: Vec<_> = all.iter().map(place).collect();
        let places: HashMap<&NodeId, usize> = all.into_iter().zip(0..).collect();
        let busy: BTreeSet<&ShardId> = situation.busy.iter().collect();
        let standing = |part: &'a Part| Standing {
            part,
            metrics: situation.metrics.get(&part.shard),
            node: places[&part.node],
            is_taken: busy.contains(&part.shard),
            stays: situation.staying.contains(&part.shard),
        };
        let shards: Vec<_> = situation.parts.iter().map(standing).collect();
        for shard in &shards {
            nodes[shard.node].before += shard.bytes();
        }
        for place in &mut nodes {
            place.load = place.before;
        }
        Self {
            policy,
            shards,
            nodes,
            splits: Vec::new(),
            ending: BTreeSet::new(),
            steps: Vec::new(),
            bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.steps.len() >= self.policy.steps_max
    }

    fn add(&mut self, step: Step, sources: &[usize], reason: String, bytes: u64) {
        for shard in sources {
            self.shards[*shard].is_taken = true;
            self.ending.insert(*shard);
        }
        self.bytes += bytes;
        self.steps.push(Planned { step, reason });
    }

    fn split(&mut self) {
        let free = self.shards.iter().enumerate();
        let free = free.filter(|(_, shard)| !shard.is_taken);
        let mut hot: Vec<_> = free
            .filter_map(|(place, shard)| {
                let hot = self.policy.hot(shard.metrics?)?;
                Some((hot.value / hot.threshold, hot, place))
            })
            .collect();
        // The hottest first, ties by name.
        let name = |place: usize| &self.shards[place].part.shard;
        hot.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| name(a.2).cmp(name(b.2))));
        for (_, hot, place) in hot {
            if self.is_full() {
                return;
            }
            let shard = self.shards[place].part.shard.clone();
            let bytes = self.shards[place].bytes();
            self.splits.push(place);
            self.add(Step::Split { shard }, &[place], hot.to_string(), bytes);
        }
    }

    fn merge(&mut self) {
        if self.is_full() {
            return;
        }
        let mut left = self.shards.len() + self.steps.len();
        let free = self.shards.iter().enumerate();
        let free = free.filter(|(_, shard)| !shard.is_taken && !shard.stays);
        let cold: Vec<(usize, &'a Part, &'a ShardMetrics)> = free
            .filter_map(|(place, shard)| Some((place, shard.part, shard.metrics?)))
            .filter(|(_, _, metrics)| self.policy.merge.cold(metrics))
            .collect();
        let neighbours = Neighbours::of(cold.iter().map(|(_, part, _)| &part.extent));
        for (number, (place, part, metrics)) in cold.iter().enumerate() {
            let too_few = left <= self.policy.merge.min_total_shards;
            if self.is_full() || too_few {
                return;
            }
            if self.shards[*place].is_taken {
                continue;
            }
            let near = neighbours.near(&part.extent).into_iter();
            let later = near.filter(|other| number < *other).map(|at| &cold[at]);
            let others = later.filter(|(place, other, _)| {
                !self.shards[*place].is_taken && part.extent.adjoins(&other.extent)
            });
            let merge = &self.policy.merge;
            let fits = others.filter(|(_, _, other)| merge.cold_together([*metrics, *other]));
            // The smallest that fits, ties by name.
            let smallest =
                fits.min_by_key(|(_, part, metrics)| (metrics.storage_bytes, &part.shard));
            let Some((joins, other, more)) = smallest else {
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
            let reason = "all metrics are below the thresholds for merges".to_owned();
            left -= 1;
            self.add(step, &[*place, *joins], reason, bytes);
        }
    }

    fn migrate(&mut self) {
        while !self.is_full() && self.migrate_one() {}
    }

    fn migrate_one(&mut self) -> bool {
        let places = || self.nodes.iter().enumerate();
        // Ties by name.
        let by_load = |(place, node): &(usize, &Place<'_>)| (node.load, *place);
        let from = places().max_by_key(by_load);
        let to = places()
            .filter(|(_, node)| node.is_known)
            .min_by_key(by_load);
        let (Some((from, fullest)), Some((to, emptiest))) = (from, to) else {
            return false;
        };
        let (most, least) = (fullest.load, emptiest.load);
        let total: u64 = self.nodes.iter().map(|node| node.load).sum();
        let mean = total / self.nodes.len().max(1) as u64;
        #[expect(clippy::cast_precision_loss, reason = "a bound")]
        let is_over = most as f64 > mean as f64 * (1.0 + self.policy.tolerance);
        if !is_over || from == to {
            return false;
        }
        let room = self
            .policy
            .node_bytes_max
            .unwrap_or(u64::MAX)
            .saturating_sub(least);
        let shards = self.shards.iter().enumerate();
        let candidate = shards
            .filter(|(_, shard)| shard.node == from && !shard.is_taken && !shard.stays)
            .filter_map(|(place, shard)| Some((place, shard.metrics?.storage_bytes)))
            // The difference becomes smaller, and there is room.
            .filter(|(_, bytes)| *bytes > 0 && *bytes < most - least && *bytes <= room)
            .min_by_key(|(place, bytes)| {
                let left = (most - least).abs_diff(2 * bytes);
                (left, &self.shards[*place].part.shard)
            });
        let Some((place, bytes)) = candidate else {
            return false;
        };
        let reason = format!("node {} has {most} bytes, the mean is {mean}", fullest.node);
        let step = Step::Migrate {
            shard: self.shards[place].part.shard.clone(),
            to: emptiest.node.clone(),
        };
        self.nodes[from].load -= bytes;
        self.nodes[to].load += bytes;
        self.add(step, &[place], reason, bytes);
        true
    }

    fn finish(self) -> RebalancePlan {
        let impact = RebalanceImpact {
            data_movement_bytes: self.bytes,
            shards_affected: self.ending.len(),
            estimated_duration_secs: self.bytes.div_ceil(self.policy.bytes_per_second.max(1)),
            load_improvement: self.improvement(),
        };
        let ending = self.ending.iter();
        let made_for = ending.map(|shard| self.shards[*shard].part.clone());
        RebalancePlan {
            made_for: made_for.collect(),
            impact,
            steps: self.steps,
        }
    }

    /// Returns the improvement of the busiest shard, or of the fullest node if that is more.
    #[expect(clippy::cast_precision_loss, reason = "a part that is shown")]
    fn improvement(&self) -> f64 {
        let split = &self.policy.split;
        let pressure = |metrics: &ShardMetrics| {
            (metrics.cpu_usage / split.cpu_threshold)
                .max(metrics.memory_usage / split.memory_threshold)
                .max(metrics.storage_bytes as f64 / split.storage_threshold as f64)
                .max(metrics.request_rate / split.request_rate_threshold)
        };
        let (mut before, mut after) = (0.0, 0.0);
        for (place, shard) in self.shards.iter().enumerate() {
            let pressure = shard.metrics.map_or(0.0, pressure);
            before = f64::max(before, pressure);
            let half = if self.splits.contains(&place) {
                2.0
            } else {
                1.0
            };
            after = f64::max(after, pressure / half);
        }
        let of_shards = gain(before, after);
        let most = |loads: &mut dyn Iterator<Item = u64>| loads.max().unwrap_or(0) as f64;
        let of_nodes = gain(
            most(&mut self.nodes.iter().map(|node| node.before)),
            most(&mut self.nodes.iter().map(|node| node.load)),
        );
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
