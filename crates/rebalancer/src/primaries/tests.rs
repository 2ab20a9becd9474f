//! Who hands over what.

use shardwright_topology::ShardId;

use super::*;
use crate::{Load, Partition};

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// Partitions with so many requests in a second, and their holders, the primary first.
fn cluster(nodes: &[(&str, u32)], partitions: &[(u64, &[&str])]) -> Cluster {
    let mut cluster = Cluster::new();
    for (name, weight) in nodes {
        cluster.set_node(Node {
            weight: *weight,
            ..Node::new(node(name))
        });
    }
    for (number, (requests, holders)) in (0..).zip(partitions) {
        let measured = Load {
            requests: *requests,
            ..Load::default()
        };
        let partition = Partition {
            holders: holders.iter().map(|name| node(name)).collect(),
            measured: Some(measured),
            ..Partition::new(number_of_copies(holders))
        };
        cluster.set_partition(PartitionId::from(ShardId::numbered(number)), partition);
    }
    cluster
}

fn number_of_copies(holders: &[&str]) -> u32 {
    u32::try_from(holders.len()).unwrap()
}

/// What is best by looking at every hand-over there is: of a node, and the load of the larger one of the two afterwards.
fn best_of_all(draft: &Draft<'_>, from: usize, to: usize) -> Option<u128> {
    let before = draft.ratio(from, draft.nodes[from].load);
    let all = draft.primaries.iter();
    let possible = all.filter(|primary| primary.at == from && primary.holders.contains(&to));
    let after = possible.map(|primary| {
        let left = draft.ratio(from, draft.nodes[from].load - primary.cost);
        left.max(draft.ratio(to, draft.nodes[to].load + primary.cost))
    });
    after.filter(|after| *after < before).min()
}

#[test]
fn two_look_ups_find_what_is_best() {
    for partitions in [10, 33, 300] {
        let cluster = lopsided(partitions);
        let mut draft = Draft::new(&cluster, PrimaryPolicy::default().blend);
        while let Some((_, _, primary, to)) = draft.best_of(0).or_else(|| draft.best_of(1)) {
            for (from, to) in (0..10).flat_map(|from| (0..10).map(move |to| (from, to))) {
                let found = draft.offer(from, to).map(|(after, ..)| after);
                assert_eq!(found, best_of_all(&draft, from, to));
            }
            draft.hand_over(primary, to, Reason::Overloaded);
        }
    }
}

const THREE: [(&str, u32); 3] = [("n1", 100), ("n2", 100), ("n3", 100)];

/// Plans, checks that the plan fits and that nothing is planned on its result, and returns how many primaries each node has then.
#[track_caller]
fn primaries(mut cluster: Cluster, moves: usize) -> Vec<(String, usize)> {
    let plan = PrimaryPolicy::default().plan(&cluster);
    assert_eq!(plan.moves.len(), moves, "{plan:?}");
    cluster.apply_all(&plan).unwrap();
    assert_eq!(PrimaryPolicy::default().plan(&cluster), Plan::default());
    let count = |node: &Node| {
        let all = cluster.partitions();
        let here = all.filter(|(_, partition)| partition.primary() == Some(&node.id));
        (node.id.to_string(), here.count())
    };
    cluster.nodes().map(count).collect()
}

fn counts(found: &[(String, usize)]) -> Vec<usize> {
    found.iter().map(|(_, count)| *count).collect()
}

#[test]
fn primaries_of_idle_partitions_are_spread_by_number() {
    let all = [(0, &["n1", "n2", "n3"][..]); 6];
    assert_eq!(counts(&primaries(cluster(&THREE, &all), 4)), [2, 2, 2]);
    // As even as whole primaries can be.
    assert_eq!(counts(&primaries(cluster(&THREE, &all[..4]), 2)), [2, 1, 1]);
}

#[test]
fn one_half_of_a_hot_partition_goes_elsewhere() {
    let split: [(u64, &[&str]); 4] = [
        (500, &["n1", "n2", "n3"]),
        (500, &["n1", "n2", "n3"]),
        (20, &["n2", "n3", "n1"]),
        (20, &["n3", "n1", "n2"]),
    ];
    // And what was there goes to the third one.
    let found = primaries(cluster(&THREE, &split), 2);
    assert_eq!(counts(&found), [1, 1, 2]);
}

#[test]
fn what_is_even_enough_stays() {
    let nearly: [(u64, &[&str]); 3] = [
        (110, &["n1", "n2", "n3"]),
        (100, &["n2", "n3", "n1"]),
        (95, &["n3", "n1", "n2"]),
    ];
    primaries(cluster(&THREE, &nearly), 0);
    // One that is too hot for any node is as good where it is.
    let alone: [(u64, &[&str]); 1] = [(1_000, &["n1", "n2", "n3"])];
    primaries(cluster(&THREE, &alone), 0);
}

#[test]
fn weights_pins_and_holders_bind() {
    let all = [(10, &["n1", "n2", "n3"][..]); 8];
    let halved = [("n1", 100), ("n2", 50), ("n3", 50)];
    assert_eq!(counts(&primaries(cluster(&halved, &all), 4)), [4, 2, 2]);
    let none = [("n1", 100), ("n2", 0), ("n3", 100)];
    assert_eq!(counts(&primaries(cluster(&none, &all), 4)), [4, 0, 4]);
    let elsewhere: [(u64, &[&str]); 2] = [(10, &["n1"]), (10, &["n1"])];
    primaries(cluster(&THREE, &elsewhere), 0);
    let mut pinned = cluster(&THREE, &all[..2]);
    for shard in 0..2 {
        pinned.pin(&PartitionId::from(ShardId::numbered(shard)));
    }
    primaries(pinned, 0);
}

/// So many partitions on ten nodes, three copies of each, and every primary on one of two nodes. Their loads differ.
fn lopsided(partitions: u32) -> Cluster {
    let names: Vec<_> = (0..10).map(|number| format!("n{number}")).collect();
    let mut cluster = Cluster::new();
    for name in &names {
        cluster.set_node(Node::new(node(name)));
    }
    for number in 0..partitions {
        let place = number as usize;
        let others = [2 + place % 4, 6 + place / 4 % 4];
        let holders = [place % 2].into_iter().chain(others);
        let partition = Partition {
            holders: holders.map(|place| node(&names[place])).collect(),
            measured: Some(Load {
                requests: u64::from(number % 97),
                cpu: u64::from(number % 89),
                ..Load::default()
            }),
            ..Partition::new(3)
        };
        cluster.set_partition(PartitionId::from(ShardId::numbered(number)), partition);
    }
    cluster
}

/// How much was looked at for a plan, and how much one of the nodes has at most, in hundredths of its share.
fn looked(partitions: u32) -> (u64, u128) {
    let (cluster, policy) = (lopsided(partitions), PrimaryPolicy::default());
    let mut draft = Draft::new(&cluster, policy.blend);
    let looked = draft.even_out(policy.start_percent, policy.settle_percent);
    let percents = (0..draft.nodes.len()).map(|place| draft.percent_of_share(place) / draft.total);
    (looked, percents.max().unwrap())
}

#[test]
fn what_a_plan_costs_grows_as_the_number_of_partitions_does() {
    let (few, few_percent) = looked(1_000);
    let (many, many_percent) = looked(100_000);
    assert!(few_percent <= 120 && many_percent <= 120);
    assert!(many <= 15 * 100_000, "{many} for 100,000 partitions");
    assert!(many <= 150 * few, "{many} for 100 times what {few} are for");
}
