//! Properties of every policy, on any cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
};

use proptest::prelude::*;
use shardwright_topology::{Location, NodeId, ShardId};

use super::*;
use crate::{
    Limits, Load, LoadPolicy, Node, Partition, PartitionId, ReplicaPolicy, ReplicaSharder,
    RingPolicy, SharderPolicy, Spread, Standing, TargetPolicy,
};

const NODES: usize = 7;

fn node_id(number: usize) -> NodeId {
    NodeId::new(format!("n{number}")).unwrap()
}

fn node(number: usize) -> impl Strategy<Value = Node> {
    let weight = prop_oneof![1 => Just(0), 4 => Just(100), 1 => 1_u32..300];
    let standing = prop_oneof![
        5 => Just(Standing::Accepting),
        1 => Just(Standing::Keeping),
        1 => Just(Standing::Draining),
        1 => Just(Standing::Down),
    ];
    let zone = prop::option::of(prop::sample::select(vec!["a", "b", "c"]));
    (weight, standing, zone).prop_map(move |(weight, standing, zone)| Node {
        id: node_id(number),
        weight,
        location: Location {
            region: None,
            zone: zone.map(str::to_owned),
        },
        standing,
    })
}

fn partition() -> impl Strategy<Value = Partition> {
    // One node more than there is, as if it had been forgotten.
    let nodes: Vec<NodeId> = (0..=NODES).map(node_id).collect();
    let load = prop::option::weighted(0.3, 0_u32..6);
    let measured = (0_u64..6, 0_u64..3).prop_map(|(bytes, requests)| Load {
        bytes,
        requests,
        ..Load::default()
    });
    let measured = prop::option::weighted(0.8, measured);
    let group = prop::sample::select(vec!["g1", "g2", "g3"]).prop_map(str::to_owned);
    let apart = prop_oneof![
        9 => Just(BTreeSet::new()),
        1 => prop::collection::btree_set(group, 1..3),
    ];
    let holders = prop::sample::subsequence(nodes, 0..4).prop_shuffle();
    let pinned = prop::bool::weighted(0.1);
    (0_u32..4, holders, pinned, load, measured, apart).prop_map(
        |(copies, holders, pinned, load, measured, apart)| Partition {
            copies,
            holders,
            pinned,
            load,
            measured,
            apart,
        },
    )
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let nodes: Vec<_> = (0..NODES)
        .map(|number| prop::option::weighted(0.9, node(number)))
        .collect();
    (nodes, prop::collection::vec(partition(), 0..40)).prop_map(|(nodes, partitions)| {
        let mut cluster = Cluster::new();
        for node in nodes.into_iter().flatten() {
            cluster.set_node(node);
        }
        for (partition, number) in partitions.into_iter().zip(0..) {
            cluster.set_partition(PartitionId::from(ShardId::numbered(number)), partition);
        }
        cluster
    })
}

fn policies() -> Vec<Box<dyn Policy>> {
    let replica = |steal_above_percent, spread| ReplicaPolicy {
        steal_above_percent,
        spread,
    };
    let ring = |spread| RingPolicy {
        spread,
        ..RingPolicy::default()
    };
    let targets = (0..NODES).zip([3, 0, 5, 20, 1, 7, 9]);
    let targets = TargetPolicy::new(targets.map(|(number, target)| (node_id(number), target)));
    let own = || ReplicaSharder::new(ReplicaPolicy::default(), 2);
    vec![
        Box::new(replica(130, Spread::Nodes)),
        Box::new(replica(100, Spread::Nodes)),
        Box::new(replica(130, Spread::Zones)),
        Box::new(replica(100, Spread::Zones)),
        Box::new(LoadPolicy::default()),
        Box::new(LoadPolicy {
            spread: Spread::Zones,
            start_percent: 100,
            ..LoadPolicy::default()
        }),
        Box::new(ring(Spread::Nodes)),
        Box::new(ring(Spread::Zones)),
        Box::new(targets.clone()),
        Box::new(TargetPolicy {
            spread: Spread::Zones,
            ..targets
        }),
        Box::new(SharderPolicy::new(own)),
    ]
}

fn is_up(cluster: &Cluster, node: &NodeId) -> bool {
    cluster
        .node(node)
        .is_some_and(|node| node.standing != Standing::Down)
}

/// Checks the result of a plan against where it started.
fn check_result(policy: &dyn Policy, before: &Cluster, plan: &Plan) -> Result<(), TestCaseError> {
    let mut after = before.clone();
    prop_assert_eq!(after.apply_all(plan), Ok(()));
    let again = policy.plan(&after);
    prop_assert!(
        again.is_empty(),
        "{policy:?} moves on:\n{plan}then\n{again}"
    );
    prop_assert_eq!(&again.under_replicated, &plan.under_replicated);
    prop_assert_eq!(&again.stuck, &plan.stuck);
    prop_assert_eq!(&again.crowded, &plan.crowded);
    prop_assert_eq!(&again.together, &plan.together);
    for (id, partition) in after.partitions() {
        let holders: BTreeSet<_> = partition.holders.iter().collect();
        prop_assert_eq!(
            holders.len(),
            partition.holders.len(),
            "{} is on a node twice",
            id
        );
        let was = before.partition(id).unwrap();
        let new = partition
            .holders
            .iter()
            .filter(|holder| !was.holders.contains(holder));
        for holder in new {
            prop_assert!(
                before.node(holder).is_some_and(Node::accepts),
                "{id} came to {holder}"
            );
        }
        if was.pinned {
            let all = was.holders.iter().all(|holder| holders.contains(holder));
            prop_assert!(all, "{policy:?} moved pinned {id}");
        }
        let up = partition
            .holders
            .iter()
            .filter(|holder| is_up(before, holder))
            .count();
        let lack = plan
            .under_replicated
            .iter()
            .find(|lack| lack.partition == *id);
        let expected = (up < partition.copies as usize).then_some(up);
        prop_assert_eq!(
            lack.map(|lack| lack.has as usize),
            expected,
            "copies of {}",
            id
        );
        check_primary(policy, before, id, partition, up)?;
        for holder in partition
            .holders
            .iter()
            .filter_map(|holder| before.node(holder))
        {
            let leaving = holder.standing == Standing::Draining;
            let stuck = plan
                .stuck
                .iter()
                .any(|stuck| stuck.partition == *id && stuck.node == holder.id);
            prop_assert!(!leaving || stuck, "{policy:?} left {id} on {}", holder.id);
        }
    }
    Ok(())
}

fn check_primary(
    policy: &dyn Policy,
    before: &Cluster,
    id: &PartitionId,
    partition: &Partition,
    up: usize,
) -> Result<(), TestCaseError> {
    let primary_up = partition
        .primary()
        .is_some_and(|primary| is_up(before, primary));
    prop_assert!(
        primary_up || up == 0,
        "{policy:?} left {id} to a dead primary"
    );
    Ok(())
}

/// Checks that no copy is moved twice and that the batches keep the order and the limits.
fn check_moves(plan: &Plan) -> Result<(), TestCaseError> {
    let mut touched = BTreeSet::new();
    for planned in &plan.moves {
        let copies = match &planned.step {
            crate::Step::Promote { .. } => [None, None],
            step => [step.from(), step.to()],
        };
        for node in copies.into_iter().flatten() {
            let first = touched.insert((&planned.partition, node));
            prop_assert!(
                first,
                "{} moves twice at {node}:\n{plan}",
                planned.partition
            );
        }
    }
    let limits = Limits {
        in_flight_max: NonZeroUsize::new(3).unwrap(),
        per_node_max: NonZeroUsize::new(2).unwrap(),
    };
    let mut order: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for planned in plan.batches(limits).into_iter().flatten() {
        order.entry(&planned.partition).or_default().push(planned);
    }
    let mut expected: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for planned in &plan.moves {
        expected
            .entry(&planned.partition)
            .or_default()
            .push(planned);
    }
    prop_assert_eq!(order, expected);
    for batch in plan.batches(limits) {
        prop_assert!((1..=3).contains(&batch.len()));
        let mut with: BTreeMap<_, usize> = BTreeMap::new();
        for planned in &batch {
            for node in [planned.step.from(), planned.step.to()]
                .into_iter()
                .flatten()
            {
                *with.entry(node).or_default() += 1;
            }
        }
        prop_assert!(with.values().all(|moves| *moves <= 2));
    }
    if let Some(first) = plan.batches(limits).first() {
        prop_assert_eq!(&plan.startable(limits, []), first);
        let started = plan.startable(limits, first.iter().copied());
        prop_assert!(started.iter().all(|planned| !first.contains(planned)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_plan_leads_to_a_state_that_is_left_alone(cluster in cluster()) {
        for policy in policies() {
            let plan = policy.plan(&cluster);
            prop_assert_eq!(&policy.plan(&cluster), &plan);
            check_result(&policy, &cluster, &plan)?;
            check_moves(&plan)?;
        }
    }
}
