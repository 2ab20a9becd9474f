//! Plans as people read them.

use shardwright_topology::{KeyRange, NodeId, ShardId};

use super::{BalancePolicy, Situation, plan};
use crate::{Extent, MergeCriteria, Part, ShardMetrics, SplitCriteria};

/// Neighbours of so many bytes, load in percent, and the number of the node.
fn situation(shards: &[(u64, f64, u32)], nodes: u32) -> Situation {
    let node = |number: u32| NodeId::new(format!("n{number}")).expect("a name");
    let count = u32::try_from(shards.len()).expect("few");
    let mut situation = Situation {
        nodes: (1..=nodes).map(node).collect(),
        ..Situation::default()
    };
    for ((number, range), (bytes, cpu, on)) in (0..).zip(KeyRange::even(count)).zip(shards) {
        let shard = ShardId::numbered(number);
        let metrics = ShardMetrics {
            cpu_usage: cpu / 100.0,
            storage_bytes: *bytes,
            key_count: 2_000,
            ..ShardMetrics::default()
        };
        situation.metrics.insert(shard.clone(), metrics);
        situation.parts.push(Part {
            shard,
            node: node(*on),
            extent: Extent::range(range),
        });
    }
    situation
}

fn steps(situation: &Situation) -> Vec<String> {
    let policy = BalancePolicy {
        merge: MergeCriteria {
            storage_threshold: 1_000,
            ..MergeCriteria::default()
        },
        ..BalancePolicy::default()
    };
    let plan = plan(situation, &policy);
    plan.steps
        .iter()
        .map(|planned| planned.step.to_string())
        .collect()
}

#[test]
fn a_hot_shard_is_split_and_the_hottest_comes_first() {
    let found = steps(&situation(
        &[(5_000, 81.0, 1), (5_000, 50.0, 1), (5_000, 95.0, 1)],
        1,
    ));
    assert_eq!(found, ["split shard-2", "split shard-0"]);
}

#[test]
fn what_stays_is_split_and_keeps_no_others_from_being_merged() {
    let cold = [(100, 1.0, 1); 20];
    let mut situation = situation(&cold, 1);
    let staying = (0..17).map(ShardId::numbered);
    situation.staying = staying.collect();
    assert_eq!(steps(&situation), ["merge shard-17 shard-18 on n1"]);
    let hot = situation.metrics.get_mut(&ShardId::numbered(3));
    hot.expect("it is there").cpu_usage = 0.9;
    assert_eq!(
        steps(&situation),
        ["split shard-3", "merge shard-17 shard-18 on n1"]
    );
}

#[test]
fn a_shard_with_too_many_keys_is_split_though_it_does_little() {
    let situation = situation(&[(5_000, 50.0, 1)], 1);
    let split_above = |split_keys, min_keys| {
        let policy = BalancePolicy {
            split: SplitCriteria {
                min_keys,
                ..SplitCriteria::default()
            },
            split_keys,
            ..BalancePolicy::default()
        };
        plan(&situation, &policy).steps
    };
    let steps = split_above(Some(1_999), 10);
    assert_eq!(steps[0].step.to_string(), "split shard-0");
    assert_eq!(steps[0].reason, "keys is 2000.00, above 1999.00");
    assert_eq!(split_above(Some(2_000), 10), [], "as many as it may have");
    assert_eq!(split_above(Some(1_999), 2_001), [], "too few to be divided");
    assert_eq!(split_above(None, 10), []);
}

#[test]
fn cold_neighbours_are_merged_as_long_as_enough_are_left() {
    let cold = [(100, 1.0, 1); 4];
    assert_eq!(
        steps(&situation(&cold, 1)),
        ["merge shard-0 shard-1 on n1", "merge shard-2 shard-3 on n1"]
    );
    assert_eq!(
        steps(&situation(&cold[..2], 1)),
        Vec::<String>::new(),
        "two are left"
    );
    assert_eq!(
        steps(&situation(&cold[..3], 1)),
        ["merge shard-0 shard-1 on n1"],
        "shard-2 has no partner"
    );
}

#[test]
fn shards_that_would_be_warm_together_stay_apart() {
    let found = steps(&situation(
        &[(100, 20.0, 1), (100, 20.0, 1), (100, 20.0, 1)],
        1,
    ));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_full_node_gives_to_an_empty_one_what_evens_them_out() {
    let warm = [
        (5_000, 50.0, 1),
        (2_000, 50.0, 1),
        (5_000, 50.0, 1),
        (1_500, 50.0, 2),
    ];
    assert_eq!(steps(&situation(&warm, 2)), ["migrate shard-0 to n2"]);
    let even = [(5_000, 50.0, 1), (5_000, 50.0, 2)];
    assert_eq!(steps(&situation(&even, 2)), Vec::<String>::new());
    let one = [(5_000, 50.0, 1)];
    assert_eq!(
        steps(&situation(&one, 2)),
        Vec::<String>::new(),
        "it would only go to and fro"
    );
}

#[test]
fn shards_in_an_operation_are_left_alone() {
    let mut found = situation(&[(5_000, 90.0, 1), (5_000, 90.0, 1)], 1);
    found.busy.push(ShardId::numbered(0));
    assert_eq!(steps(&found), ["split shard-1"]);
}

#[test]
fn the_impact_says_what_would_change() {
    let found = situation(&[(8_000, 90.0, 1), (1_000, 45.0, 1)], 1);
    let plan = plan(
        &found,
        &BalancePolicy {
            bytes_per_second: 1_000,
            ..BalancePolicy::default()
        },
    );
    assert_eq!(plan.impact.data_movement_bytes, 8_000);
    assert_eq!(plan.impact.shards_affected, 1);
    assert_eq!(plan.impact.estimated_duration_secs, 8);
    assert!(
        (plan.impact.load_improvement - 0.5).abs() < 1e-9,
        "{:?}",
        plan.impact
    );
}
