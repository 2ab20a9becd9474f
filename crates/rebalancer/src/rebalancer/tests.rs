//! Proposals: what they are bound to, what they leave out, and what is moved by hand.

use shardwright_topology::ShardId;

use super::*;
use crate::{Load, LoadPolicy, Node, NotApplied, Partition, StalePlan};

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn shard(number: u32) -> PartitionId {
    PartitionId::from(ShardId::numbered(number))
}

/// Ten shards of ten bytes on `n1`, and three nodes.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    for name in ["n1", "n2", "n3"] {
        cluster.set_node(Node::new(node(name)));
    }
    for number in 0..10 {
        let partition = Partition {
            holders: vec![node("n1")],
            measured: Some(Load {
                bytes: 10,
                ..Load::default()
            }),
            ..Partition::new(1)
        };
        cluster.set_partition(shard(number), partition);
    }
    cluster
}

const AT: MapRevision = MapRevision(4);

#[test]
fn a_plan_of_another_revision_is_refused_and_changes_nothing() {
    let (mut cluster, before) = (cluster(), cluster());
    let proposal = Rebalancer::new(LoadPolicy::default()).propose(AT, &cluster);
    for current in [3, 5].map(MapRevision) {
        let stale = StalePlan {
            planned: AT,
            current,
        };
        let refused = proposal.apply(&mut cluster, current);
        assert_eq!(refused, Err(NotApplied::Stale(stale)));
        assert_eq!(cluster, before);
    }
    proposal.apply(&mut cluster, AT).unwrap();
    let again = Rebalancer::new(LoadPolicy::default()).propose(MapRevision(5), &cluster);
    assert!(again.plan.is_empty(), "{}", again.plan);
}

#[test]
fn a_budget_leads_to_the_same_end_in_several_plans() {
    let mut cluster = cluster();
    let all = Rebalancer::new(LoadPolicy::default()).propose(AT, &cluster);
    let rebalancer = Rebalancer {
        budget: Budget {
            moves_max: Some(3),
            bytes_max: Some(25),
        },
        ..Rebalancer::new(LoadPolicy::default())
    };
    let (mut plans, mut moves) = (0, 0);
    loop {
        let proposal = rebalancer.propose(AT, &cluster);
        if proposal.plan.is_empty() {
            break;
        }
        assert_eq!(proposal.plan.moves.len(), 2);
        assert_eq!(proposal.deferred, all.plan.moves.len() - moves - 2);
        assert_eq!(proposal.impact.bytes, 20);
        proposal.apply(&mut cluster, AT).unwrap();
        (plans, moves) = (plans + 1, moves + 2);
    }
    assert_eq!((plans, moves), (3, all.plan.moves.len()));
}

#[test]
fn the_impact_says_what_every_node_gives_and_gets() {
    let proposal = Rebalancer::new(LoadPolicy::default()).propose(AT, &cluster());
    let impact = &proposal.impact;
    assert_eq!((impact.copies, impact.bytes), (6, 60));
    let nodes = impact.nodes.iter().map(|node| {
        let percent = (node.percent_before.unwrap(), node.percent_after.unwrap());
        (node.node.as_str(), node.gets, node.loses, percent)
    });
    // 299 and 119 where rounding down meets shares that are no whole number.
    let nodes: Vec<_> = nodes.collect();
    assert_eq!(nodes[0], ("n1", 0, 6, (300, 120)));
    assert_eq!(nodes[1], ("n2", 3, 0, (0, 90)));
    assert_eq!(nodes[2], ("n3", 3, 0, (0, 90)));
}

#[test]
fn what_is_moved_by_hand_stays_there_unless_told_otherwise() {
    let rebalancer = Rebalancer::new(LoadPolicy::default());
    for (pinning, stays) in [(Pinning::default(), true), (Pinning::Free, false)] {
        let mut cluster = cluster();
        rebalancer
            .propose(AT, &cluster)
            .apply(&mut cluster, AT)
            .unwrap();
        let here: Vec<_> = cluster
            .partitions()
            .filter(|(_, partition)| partition.holders[0] == node("n2"))
            .map(|(id, _)| id.clone())
            .collect();
        // Everything that `n2` has, so that the balance is lost.
        for id in &here {
            let moved = rebalancer.move_shard(AT, &cluster, id, &node("n2"), &node("n1"), pinning);
            moved.unwrap().apply(&mut cluster, AT).unwrap();
        }
        let plan = rebalancer.propose(AT, &cluster).plan;
        assert!(!plan.is_empty());
        let moves_back = plan
            .moves
            .iter()
            .any(|planned| here.contains(&planned.partition));
        assert!(!(stays && moves_back), "{pinning:?}: {plan}");
        for id in &here {
            assert_eq!(cluster.partition(id).unwrap().pinned, stays);
            assert!(cluster.unpin(id));
        }
    }
}

#[test]
fn a_move_by_hand_that_cannot_be_is_refused_by_name() {
    let mut cluster = cluster();
    let down = Node {
        standing: Standing::Down,
        ..Node::new(node("n4"))
    };
    cluster.set_node(down);
    for number in [0, 1] {
        let known = cluster.partition(&shard(number)).cloned().unwrap();
        let holder = if number == 0 { "n1" } else { "n3" };
        cluster.set_partition(
            shard(number),
            Partition {
                apart: ["pair".to_owned()].into(),
                holders: vec![node(holder)],
                ..known
            },
        );
    }
    let rebalancer = Rebalancer::new(LoadPolicy::default());
    let check = |number, from, to, expected| {
        let (from, to) = (node(from), node(to));
        let refused =
            rebalancer.move_shard(AT, &cluster, &shard(number), &from, &to, Pinning::Stays);
        assert_eq!(refused.unwrap_err().code(), expected);
    };
    check(99, "n1", "n2", "UNKNOWN_SHARD");
    check(2, "n2", "n1", "NOT_HOLDER");
    check(2, "n1", "n9", "UNKNOWN_NODE");
    check(2, "n1", "n1", "HOLDS");
    check(2, "n1", "n4", "NOT_ACCEPTING");
    check(0, "n1", "n3", "KEPT_APART");
}

#[test]
fn targets_that_do_not_sum_to_the_copies_are_refused_with_both_sums() {
    let targets = TargetPolicy::new([(node("n1"), 4), (node("n2"), 4)]);
    let rebalancer = Rebalancer::new(targets);
    let refused = rebalancer.calculate_plan(AT, &cluster()).unwrap_err();
    let expected = TargetError::Sum {
        targets: 8,
        copies: 10,
    };
    assert_eq!(refused, expected);
}

#[test]
fn a_proposal_has_the_fields_of_the_document_and_is_read_back() {
    let targets = TargetPolicy::new([(node("n1"), 9), (node("n2"), 1)]);
    let proposal = Rebalancer::new(targets).calculate_plan(AT, &cluster());
    let proposal = proposal.unwrap();
    let json = serde_json::to_value(&proposal).unwrap();
    let moved = &json["moves"][0];
    assert_eq!(moved["from"], "n1");
    assert_eq!(moved["to"], "n2");
    assert!(moved["shard"].is_string(), "{json}");
    assert_eq!(json["revision"], 4);
    let text = serde_json::to_string(&proposal).unwrap();
    assert_eq!(serde_json::from_str::<Proposal>(&text).unwrap(), proposal);
}
