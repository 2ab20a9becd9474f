//! The number of moves, against every other way to do it.
//!
//! Whatever a plan leads to, all placements of the same shards are enumerated: none that is as balanced is reached by fewer moves.

use proptest::prelude::*;
use shardwright_topology::{NodeId, ShardId};

use super::*;
use crate::{
    Blend, Load, LoadPolicy, Node, Partition, PartitionId, ReplicaPolicy, Standing, TargetPolicy,
};

/// Shards with one copy each, on nodes by number.
#[derive(Debug, Clone)]
struct Case {
    /// The weight of each node; a node of weight 0 is emptied.
    weights: Vec<u32>,
    /// Where each shard is, what it costs, and whether it may not move.
    shards: Vec<(usize, u64, bool)>,
    /// Shards that may not share a node.
    apart: Vec<usize>,
}

/// What a placement is judged by, the most important first: shards that are not kept apart, shards on nodes that are emptied, and the
/// sum of the distances of the loads from the shares.
type Fault = (usize, usize, u128);

impl Case {
    fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::new();
        for (number, weight) in self.weights.iter().enumerate() {
            cluster.set_node(Node {
                weight: *weight,
                standing: Standing::Accepting,
                ..Node::new(node(number))
            });
        }
        for (number, (holder, cost, pinned)) in self.shards.iter().enumerate() {
            let is_apart = self.apart.contains(&number);
            let partition = Partition {
                holders: vec![node(*holder)],
                pinned: *pinned,
                load: Some(u32::try_from(*cost).unwrap()),
                measured: Some(Load {
                    bytes: *cost,
                    ..Load::default()
                }),
                apart: is_apart.then(|| "group".to_owned()).into_iter().collect(),
                ..Partition::new(1)
            };
            cluster.set_partition(shard(number), partition);
        }
        cluster
    }

    fn fault(&self, placed: &[usize]) -> Fault {
        let mut loads = vec![0_u128; self.weights.len()];
        for (holder, (_, cost, _)) in placed.iter().zip(&self.shards) {
            loads[*holder] += u128::from(*cost);
        }
        let taking = || (0..self.weights.len()).filter(|node| self.weights[*node] > 0);
        let emptied = placed.iter().filter(|node| self.weights[**node] == 0);
        let all: u128 = taking().map(|node| u128::from(self.weights[node])).sum();
        let total: u128 = taking().map(|node| loads[node]).sum();
        let distance = |node: usize| {
            let share = total * u128::from(self.weights[node]);
            (loads[node] * all).abs_diff(share)
        };
        let together = |node: usize| {
            let here = self.apart.iter().filter(|shard| placed[**shard] == node);
            here.count().saturating_sub(1)
        };
        let together = (0..self.weights.len()).map(together).sum();
        (together, emptied.count(), taking().map(distance).sum())
    }

    /// Returns every placement that moves may lead to, with their number.
    fn reachable(&self) -> Vec<(Vec<usize>, usize)> {
        let mut all = vec![(Vec::new(), 0)];
        for (holder, _, pinned) in &self.shards {
            let mut longer = Vec::new();
            for (placed, moves) in all {
                for node in 0..self.weights.len() {
                    let stays = node == *holder;
                    if stays || (!pinned && self.weights[node] > 0) {
                        let mut placed: Vec<usize> = placed.clone();
                        placed.push(node);
                        longer.push((placed, moves + usize::from(!stays)));
                    }
                }
            }
            all = longer;
        }
        all
    }

    /// Returns the number of moves that lead to something as good.
    fn fewest(&self, fault: Fault) -> usize {
        let all = self.reachable();
        let as_good = all.iter().filter(|(placed, _)| self.fault(placed) <= fault);
        as_good.map(|(_, moves)| *moves).min().unwrap()
    }

    /// Returns where a policy's plan puts everything, and by how many moves.
    fn planned(&self, policy: &dyn Policy) -> (Vec<usize>, usize) {
        let mut cluster = self.cluster();
        let plan = policy.plan(&cluster);
        cluster.apply_all(&plan).unwrap();
        let holder = |number: usize| {
            let holder = cluster.partition(&shard(number)).unwrap().primary();
            holder.unwrap().as_str()[1..].parse().unwrap()
        };
        let placed = (0..self.shards.len()).map(holder).collect();
        (placed, plan.moves.len())
    }
}

fn node(number: usize) -> NodeId {
    NodeId::new(format!("n{number}")).unwrap()
}

fn shard(number: usize) -> PartitionId {
    PartitionId::from(ShardId::new(format!("s{number}")).unwrap())
}

/// Checks that nothing is better than what the policy leads to, and that nothing as good takes fewer moves.
#[track_caller]
fn check_best(case: &Case, policy: &dyn Policy) {
    let (placed, moves) = case.planned(policy);
    let reachable = case.reachable();
    let ranked = reachable.iter().map(|(placed, moves)| {
        let fault = case.fault(placed);
        (fault, *moves)
    });
    let best = ranked.min().unwrap();
    assert_eq!((case.fault(&placed), moves), best, "{case:?} to {placed:?}");
}

/// Checks that nothing as good as what the policy leads to takes fewer moves.
#[track_caller]
fn check_fewest(case: &Case, policy: &dyn Policy) {
    let (placed, moves) = case.planned(policy);
    let fewest = case.fewest(case.fault(&placed));
    assert_eq!(moves, fewest, "{case:?} to {placed:?}");
}

/// Returns how many moves more than needed the policy plans.
fn excess(case: &Case, policy: &dyn Policy) -> usize {
    let (placed, moves) = case.planned(policy);
    moves - case.fewest(case.fault(&placed))
}

/// Returns every start of so many equal shards on so many nodes.
fn starts(nodes: usize, shards: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..nodes.pow(u32::try_from(shards).unwrap())).map(move |mut number| {
        let mut placed = Vec::with_capacity(shards);
        for _ in 0..shards {
            placed.push(number % nodes);
            number /= nodes;
        }
        placed
    })
}

const EXACT: ReplicaPolicy = ReplicaPolicy {
    steal_above_percent: 100,
    spread: crate::Spread::Nodes,
};

const BY_COPIES: LoadPolicy = LoadPolicy {
    blend: Blend::COPIES,
    start_percent: 100,
    settle_percent: 100,
    spread: crate::Spread::Nodes,
};

#[test]
fn equal_shards_end_as_near_to_the_shares_as_can_be_in_the_fewest_moves() {
    for weights in [[1, 1, 1], [1, 2, 3], [1, 1, 4], [0, 1, 1], [2, 0, 3]] {
        for shards in 1..=5 {
            for start in starts(3, shards) {
                let case = Case {
                    weights: weights.to_vec(),
                    shards: start.iter().map(|holder| (*holder, 1, false)).collect(),
                    apart: Vec::new(),
                };
                check_best(&case, &EXACT);
            }
        }
    }
}

#[test]
fn targets_are_reached_in_the_fewest_moves() {
    for targets in [[2, 2, 1], [5, 0, 0], [0, 4, 1], [1, 1, 3]] {
        for start in starts(3, 5) {
            let case = Case {
                weights: targets.to_vec(),
                shards: start.iter().map(|holder| (*holder, 1, false)).collect(),
                apart: Vec::new(),
            };
            let named = (0..3).map(|number| (node(number), targets[number]));
            let policy = TargetPolicy::new(named);
            check_best(&case, &policy);
            let counts = |placed: &[usize]| {
                [0, 1, 2].map(|node| placed.iter().filter(|at| **at == node).count())
            };
            let reached = counts(&case.planned(&policy).0);
            assert_eq!(reached.map(|count| u32::try_from(count).unwrap()), targets);
        }
    }
}

/// To find the fewest moves of unequal shards is as hard as packing bins; this is how near the plans come to it.
#[test]
fn unequal_shards_take_hardly_more_moves_than_the_fewest() {
    let mut by_excess = [0; 3];
    for start in starts(3, 6) {
        let costs = [1, 2, 3, 4, 6, 8];
        let shards = start.iter().zip(costs);
        let case = Case {
            weights: vec![1, 1, 1],
            shards: shards
                .map(|(holder, cost)| (*holder, cost, false))
                .collect(),
            apart: Vec::new(),
        };
        by_excess[excess(&case, &EXACT)] += 1;
    }
    assert_eq!(by_excess, [615, 102, 12]);
}

fn case(nodes: usize, costs: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Case> {
    let weights = prop::collection::vec(prop_oneof![1 => Just(0_u32), 6 => 1_u32..4], nodes);
    let weights = weights.prop_filter("somebody takes", |weights| {
        weights.iter().any(|weight| *weight > 0)
    });
    let shard = (0..nodes, costs, prop::bool::weighted(0.15));
    let apart = prop::collection::btree_set(0_usize..6, 0..3);
    (weights, prop::collection::vec(shard, 6), apart).prop_map(|(weights, shards, apart)| Case {
        weights,
        shards,
        apart: apart.into_iter().collect(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn equal_shards_with_pins_take_the_fewest_moves(case in case(4, 1..=1)) {
        let case = Case { apart: Vec::new(), ..case };
        check_fewest(&case, &EXACT);
        check_fewest(&case, &BY_COPIES);
        check_fewest(&case, &ReplicaPolicy::default());
        check_fewest(&case, &LoadPolicy::default());
    }

    #[test]
    fn shards_are_kept_apart_wherever_moves_lead_there(case in case(4, 1..=9)) {
        let (placed, _) = case.planned(&LoadPolicy::default());
        let all = case.reachable().into_iter().map(|(placed, _)| case.fault(&placed));
        let (together, emptied, _) = all.min().unwrap();
        let reached = case.fault(&placed);
        prop_assert_eq!((reached.0, reached.1), (together, emptied));
    }

    #[test]
    fn none_of_the_moves_of_unequal_shards_can_be_left_out(case in case(4, 1..=9)) {
        for policy in [EXACT, ReplicaPolicy::default()] {
            let (placed, _) = case.planned(&policy);
            let fault = case.fault(&placed);
            for (number, (holder, ..)) in case.shards.iter().enumerate() {
                let mut without = placed.clone();
                without[number] = *holder;
                let is_worse = case.fault(&without) > fault;
                prop_assert!(placed[number] == *holder || is_worse, "{placed:?} without s{number}");
            }
        }
    }

    #[test]
    fn a_node_that_joins_gets_its_share_and_nothing_else_moves(
        nodes in 1_usize..9,
        shards in 0_usize..60,
    ) {
        for policy in [BY_COPIES, LoadPolicy::default()] {
            let mut cluster = Cluster::new();
            for number in 0..nodes {
                cluster.set_node(Node::new(node(number)));
            }
            for number in 0..shards {
                cluster.set_partition(shard(number), Partition::new(1));
            }
            cluster.apply_all(&policy.plan(&cluster)).unwrap();
            cluster.set_node(Node::new(node(nodes)));
            let plan = policy.plan(&cluster);
            prop_assert!(plan.moves.len() <= shards / (nodes + 1) + 1, "{plan}");
            let only_there = plan.moves.iter().all(|planned| planned.step.to() == Some(&node(nodes)));
            prop_assert!(only_there, "{plan}");
        }
    }
}
