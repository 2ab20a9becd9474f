//! The load policy on clusters that matter.

use expect_test::expect;
use proptest::prelude::*;
use shardwright_topology::{NodeId, ShardId};

use super::*;
use crate::{Load, PartitionId, Standing};

/// Reads `n1: a=40 b=25 | n2:`, the bytes of each shard, which has one copy.
fn cluster(text: &str) -> Cluster {
    let mut cluster = Cluster::new();
    for part in text.split('|') {
        let (name, shards) = part.split_once(':').unwrap();
        let name = NodeId::new(name.trim()).unwrap();
        cluster.set_node(Node::new(name.clone()));
        for shard in shards.split_whitespace() {
            let (shard, bytes) = shard.split_once('=').unwrap();
            let partition = Partition {
                holders: vec![name.clone()],
                ..of_bytes(bytes.parse().unwrap())
            };
            cluster.set_partition(id(shard), partition);
        }
    }
    cluster
}

fn of_bytes(bytes: u64) -> Partition {
    let measured = Load {
        bytes,
        ..Load::default()
    };
    Partition {
        measured: Some(measured),
        ..Partition::new(1)
    }
}

fn id(shard: &str) -> PartitionId {
    PartitionId::from(ShardId::new(shard).unwrap())
}

fn change(cluster: &mut Cluster, shard: &str, change: impl FnOnce(&mut Partition)) {
    let mut partition = cluster.remove_partition(&id(shard)).unwrap();
    change(&mut partition);
    cluster.set_partition(id(shard), partition);
}

fn measure(cluster: &mut Cluster, shard: &str, bytes: u64) {
    change(cluster, shard, |partition| {
        partition.measured = of_bytes(bytes).measured;
    });
}

fn plan(cluster: &Cluster) -> String {
    LoadPolicy::default().plan(cluster).to_string()
}

#[test]
fn heavy_shards_move_before_light_ones() {
    let cluster = cluster("n1: a=50 b=10 c=10 d=10 e=10 f=10 | n2:");
    expect![[r#"
        partition  step  from  to  reason
        main/a     move  n1    n2  overloaded
    "#]]
    .assert_eq(&plan(&cluster));
}

#[test]
fn what_is_pinned_stays_and_others_make_up_for_it() {
    let mut cluster = cluster("n1: a=50 b=10 c=10 d=10 e=10 f=10 | n2:");
    change(&mut cluster, "a", |partition| partition.pinned = true);
    let plan = LoadPolicy::default().plan(&cluster);
    assert!(!plan.is_empty());
    let mut moved = plan.moves.iter().map(|planned| &planned.partition);
    assert!(moved.all(|moved| *moved != id("a")), "{plan}");
}

#[test]
fn shards_of_a_group_leave_one_another_and_come_to_no_node_with_one() {
    let mut cluster = cluster("n1: a=10 b=10 c=10 | n2: d=40 | n3: e=30");
    for shard in ["a", "b", "e"] {
        change(&mut cluster, shard, |partition| {
            partition.apart.insert("replicas".to_owned());
        });
    }
    expect![[r#"
        partition  step  from  to  reason
        main/a     move  n1    n2  apart
    "#]]
    .assert_eq(&plan(&cluster));

    let full = NodeId::new("n2").unwrap();
    cluster.set_node(Node {
        standing: Standing::Keeping,
        ..Node::new(full)
    });
    expect![[r#"
        nothing to move
        together: main/a is on n1 with others that it is kept apart from
        together: main/b is on n1 with others that it is kept apart from
    "#]]
    .assert_eq(&plan(&cluster));
}

#[test]
fn loads_may_change_by_the_width_of_the_band_before_anything_moves() {
    let mut cluster = cluster("n1: a=50 b=50 c=10 | n2: d=50 e=50 f=10");
    let mut moves_with = |bytes| {
        measure(&mut cluster, "a", bytes);
        LoadPolicy::default().plan(&cluster).moves.len()
    };
    assert_eq!(moves_with(50), 0);
    assert_eq!(moves_with(90), 0);
    assert_ne!(moves_with(150), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// What is planned on loads that all changed by a twentieth since the last plan is nothing.
    #[test]
    fn small_changes_of_loads_move_nothing(
        bytes in prop::collection::vec(1_000_u64..2_000, 100..140),
        changes in prop::collection::vec(95_u64..=105, 140),
    ) {
        let mut cluster = cluster("n1: | n2: | n3: | n4:");
        for (number, bytes) in bytes.iter().enumerate() {
            cluster.set_partition(id(&format!("s{number}")), of_bytes(*bytes));
        }
        cluster.apply_all(&LoadPolicy::default().plan(&cluster)).unwrap();
        for ((number, bytes), percent) in bytes.iter().enumerate().zip(changes) {
            measure(&mut cluster, &format!("s{number}"), bytes * percent / 100);
        }
        let plan = LoadPolicy::default().plan(&cluster);
        prop_assert!(plan.is_empty(), "{plan}");
    }
}
