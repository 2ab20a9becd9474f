//! What every sharder must do, as a test to run against one's own.
//!
//! ```
//! use shardwright_rebalancer::{ReplicaPolicy, ReplicaSharder, conformance};
//!
//! conformance::check(|| ReplicaSharder::new(ReplicaPolicy::default(), 2));
//! ```

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::{NodeId, ShardId};

use crate::{
    Cluster, Node, Partition, PartitionId, Policy, Replica, Sharder, SharderPolicy, sharder::Error,
};

/// Checks the [contract](Sharder) on sharders that `make` makes, all alike and empty.
///
/// # Panics
/// With the rule that is broken.
pub fn check<S: Sharder>(make: impl Fn() -> S + Send + Sync) {
    duplicates_and_unknown_names_are_refused(&mut make());
    too_few_nodes_are_named_and_more_come_later(&mut make());
    every_change_leaves_a_consistent_answer(&mut make());
    equal_calls_give_equal_answers(&make);
    a_coordinator_can_follow(make);
}

fn node(number: usize) -> Node {
    Node::new(NodeId::new(format!("node-{number}")).expect("a valid name"))
}

fn node_id(number: usize) -> NodeId {
    node(number).id
}

fn partition(number: usize) -> PartitionId {
    PartitionId::from(ShardId::new(format!("p{number}")).expect("a valid name"))
}

fn nodes(numbers: std::ops::Range<usize>) -> Vec<Node> {
    numbers.map(node).collect()
}

fn partitions(numbers: std::ops::Range<usize>) -> Vec<PartitionId> {
    numbers.map(partition).collect()
}

/// Everything that a sharder answers.
type Answers = (Vec<Vec<NodeId>>, Vec<Vec<Replica>>);

fn answers(sharder: &impl Sharder, ids: &[PartitionId], nodes: &[NodeId]) -> Answers {
    let of_id = |id| sharder.nodes(id).expect("the partition is registered");
    let of_node = |node| sharder.partitions(node).expect("the node is registered");
    (
        ids.iter().map(of_id).collect(),
        nodes.iter().map(of_node).collect(),
    )
}

/// Checks what must hold at any time, and returns how many copies there are of each partition.
fn consistent(sharder: &impl Sharder, ids: &[PartitionId], nodes: &[NodeId]) -> Vec<usize> {
    let (by_id, by_node) = answers(sharder, ids, nodes);
    let mut served: BTreeMap<&NodeId, BTreeSet<&PartitionId>> = BTreeMap::new();
    for (id, holders) in ids.iter().zip(&by_id) {
        let different: BTreeSet<_> = holders.iter().collect();
        assert_eq!(
            different.len(),
            holders.len(),
            "{id} is on a node twice: {holders:?}"
        );
        for holder in holders {
            assert!(
                nodes.contains(holder),
                "{id} is on {holder}, which is not registered"
            );
            served.entry(holder).or_default().insert(id);
        }
    }
    for (node, replicas) in nodes.iter().zip(&by_node) {
        let listed: BTreeSet<_> = replicas.iter().map(|replica| &replica.id).collect();
        assert_eq!(
            listed.len(),
            replicas.len(),
            "{node} lists a partition twice"
        );
        let expected = served.remove(node).unwrap_or_default();
        assert_eq!(
            listed, expected,
            "{node} and its partitions contradict each other"
        );
    }
    by_id.iter().map(Vec::len).collect()
}

fn duplicates_and_unknown_names_are_refused(sharder: &mut impl Sharder) {
    let (ids, names) = (partitions(0..6), [node_id(0), node_id(1)]);
    sharder
        .register_nodes(&nodes(0..2))
        .expect("new nodes are accepted");
    sharder
        .register_partitions(&ids)
        .expect("new partitions are accepted");
    let before = answers(sharder, &ids, &names);

    let exists = |number| {
        Err(Error::NodeExists {
            node: node_id(number),
        })
    };
    assert_eq!(sharder.register_nodes(&[node(2), node(1)]), exists(1));
    assert_eq!(sharder.register_nodes(&[node(2), node(2)]), exists(2));
    let unknown_node = |number| Error::UnknownNode {
        node: node_id(number),
    };
    let refused = sharder.unregister_nodes(&[node_id(0), node_id(2)]);
    assert_eq!(refused, Err(unknown_node(2)));
    assert_eq!(sharder.partitions(&node_id(2)), Err(unknown_node(2)));

    let exists = |number| {
        Err(Error::PartitionExists {
            partition: partition(number),
        })
    };
    assert_eq!(
        sharder.register_partitions(&[partition(9), partition(5)]),
        exists(5)
    );
    assert_eq!(
        sharder.register_partitions(&[partition(9), partition(9)]),
        exists(9)
    );
    let unknown = |number| Error::UnknownPartition {
        partition: partition(number),
    };
    let refused = sharder.unregister_partitions(&[partition(0), partition(9)]);
    assert_eq!(refused, Err(unknown(9)));
    assert_eq!(sharder.nodes(&partition(9)), Err(unknown(9)));

    let after = answers(sharder, &ids, &names);
    assert_eq!(after, before, "a refused call changed something");
}

fn too_few_nodes_are_named_and_more_come_later(sharder: &mut impl Sharder) {
    let ids = partitions(0..8);
    sharder
        .register_partitions(&ids)
        .expect("partitions may come before nodes");
    let mut before = consistent(sharder, &ids, &[]);
    let mut names = Vec::new();
    for number in 0..8 {
        sharder
            .register_nodes(&[node(number)])
            .expect("a new node is accepted");
        names.push(node_id(number));
        let copies = consistent(sharder, &ids, &names);
        let fewer = copies.iter().zip(&before).any(|(now, before)| now < before);
        assert!(
            !fewer,
            "a new node left a partition with fewer copies: {copies:?}"
        );
        before = copies;
    }
    assert!(
        before.iter().all(|copies| *copies > 0),
        "eight nodes, and nobody serves: {before:?}"
    );
}

fn every_change_leaves_a_consistent_answer(sharder: &mut impl Sharder) {
    sharder
        .register_nodes(&nodes(0..5))
        .expect("new nodes are accepted");
    sharder
        .register_partitions(&partitions(0..40))
        .expect("new partitions are accepted");
    let mut names: Vec<NodeId> = (0..5).map(node_id).collect();
    let full = consistent(sharder, &partitions(0..40), &names);

    sharder
        .unregister_nodes(&[node_id(1), node_id(3)])
        .expect("the nodes are registered");
    names.retain(|name| ![node_id(1), node_id(3)].contains(name));
    consistent(sharder, &partitions(0..40), &names);

    sharder
        .unregister_partitions(&partitions(10..40))
        .expect("the partitions are registered");
    consistent(sharder, &partitions(0..10), &names);

    sharder
        .register_nodes(&[node(1), node(3)])
        .expect("names may be used again");
    sharder
        .register_partitions(&partitions(10..20))
        .expect("names may be used again");
    names.extend([node_id(1), node_id(3)]);
    let healed = consistent(sharder, &partitions(0..20), &names);
    assert_eq!(healed, full[..20], "copies were lost for good");

    sharder.unregister_nodes(&names).expect("all nodes may go");
    assert_eq!(consistent(sharder, &partitions(0..20), &[]), [0; 20]);
}

fn equal_calls_give_equal_answers<S: Sharder>(make: &impl Fn() -> S) {
    let run = || {
        let mut sharder = make();
        sharder
            .register_nodes(&nodes(0..4))
            .expect("new nodes are accepted");
        sharder
            .register_partitions(&partitions(0..30))
            .expect("new partitions are accepted");
        sharder
            .unregister_nodes(&[node_id(2)])
            .expect("the node is registered");
        let names = [node_id(0), node_id(1), node_id(3)];
        answers(&sharder, &partitions(0..30), &names)
    };
    assert_eq!(run(), run(), "equal calls gave different answers");
}

fn a_coordinator_can_follow<S: Sharder>(make: impl Fn() -> S + Send + Sync) {
    let policy = SharderPolicy::new(make);
    let mut cluster = Cluster::new();
    for id in partitions(0..30) {
        cluster.set_partition(id, Partition::new(1));
    }
    for number in 0..5 {
        cluster.set_node(node(number));
        let plan = policy.plan(&cluster);
        assert_eq!(plan.refused, None, "the sharder refused a cluster");
        cluster.apply_all(&plan).expect("the plan fits the cluster");
        let again = policy.plan(&cluster);
        assert!(
            again.is_empty(),
            "what was planned is not left alone:\n{again}"
        );
    }
}
