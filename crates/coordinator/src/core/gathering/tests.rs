//! Which members move, by where they are.

use shardwright_topology::{ConfigId, Epoch, Incarnation, Member, Primary, ReplicaId};

use super::*;

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// A configuration with these nodes, of which the first has the primary.
fn config(nodes: &[&str]) -> Config {
    let member = |node: &&str| Member {
        node: id(node),
        replica_id: ReplicaId::from_bits(1),
    };
    Config {
        epoch: Epoch(1),
        config_id: ConfigId::from_bits(1),
        primary: Primary {
            node: id(nodes[0]),
            incarnation: Incarnation(1),
        },
        members: nodes.iter().map(member).collect(),
        w: u32::try_from(nodes.len() / 2 + 1).unwrap(),
        zones: 1,
    }
}

fn may_not(
    refused: &'static [(&'static str, &'static str)],
) -> impl Fn(&ShardId, &MemberChange) -> Result<(), Refusal> {
    move |_, change| {
        let is_refused =
            |(from, to): &(&str, &str)| (change.from.as_str(), change.to.as_str()) == (*from, *to);
        match refused.iter().any(is_refused) {
            true => Err(Refusal::NotAccepting {
                node: change.to.clone(),
            }),
            false => Ok(()),
        }
    }
}

/// Says who moves, as `shard: from > to`, and beside which shard the new one is made.
fn plan(
    shards: &[&[&str]],
    refused: &'static [(&'static str, &'static str)],
) -> Result<(String, Vec<String>), Refusal> {
    let names: Vec<_> = (0..).take(shards.len()).map(ShardId::numbered).collect();
    let configs: Vec<_> = shards.iter().map(|nodes| config(nodes)).collect();
    let shards: Vec<_> = names.iter().zip(&configs).collect();
    let Gathering { first, moves } = fewest(&shards, &may_not(refused))?;
    let moves = moves.iter().map(|moved| {
        let MemberChange { from, to } = &moved.members;
        format!("{}: {from} > {to}", moved.shard)
    });
    Ok((first.to_string(), moves.collect()))
}

#[track_caller]
fn check(shards: &[&[&str]], first: &str, expected: &[&str]) {
    let (found, moves) = plan(shards, &[]).unwrap();
    assert_eq!(
        (found.as_str(), moves),
        (
            first,
            expected.iter().map(|&text| text.to_owned()).collect()
        )
    );
}

#[test]
fn shards_with_all_copies_on_the_same_nodes_stay() {
    check(&[&["a", "b", "c"], &["c", "a", "b"]], "shard-0", &[]);
    check(&[&["a", "b"], &["c", "b", "a"]], "shard-0", &[]);
}

#[test]
fn what_cannot_move_is_made_anew_if_enough_others_have_all() {
    let shards: [&[&str]; 2] = [&["a", "b", "c"], &["a", "b", "d"]];
    let (first, moves) = plan(&shards, &[("d", "c"), ("c", "d")]).unwrap();
    assert_eq!((first.as_str(), moves), ("shard-0", Vec::new()));
}

#[test]
fn as_few_members_move_as_are_lacking() {
    check(
        &[&["a", "b", "c"], &["c", "d", "e"]],
        "shard-0",
        &["shard-1: d > a", "shard-1: e > b"],
    );
    check(
        &[&["a", "b", "c"], &["d", "e", "f"]],
        "shard-0",
        &["shard-1: e > a", "shard-1: f > b", "shard-1: d > c"],
    );
    check(
        &[&["a", "b", "c"], &["d", "e", "f"], &["d", "e", "g"]],
        "shard-1",
        &[
            "shard-0: b > d",
            "shard-0: c > e",
            "shard-0: a > f",
            "shard-2: g > f",
        ],
    );
    check(&[&["a"], &["b"]], "shard-0", &["shard-1: b > a"]);
}

#[test]
fn a_move_that_may_not_be_is_done_otherwise_or_not_at_all() {
    let shards: [&[&str]; 2] = [&["a", "b", "c"], &["c", "d", "e"]];
    let (first, moves) = plan(&shards, &[("d", "a")]).unwrap();
    assert_eq!(
        (first.as_str(), moves),
        (
            "shard-0",
            vec!["shard-1: e > a".to_owned(), "shard-1: d > b".to_owned()]
        )
    );
    let all = &[
        ("d", "a"),
        ("e", "a"),
        ("c", "a"),
        ("a", "d"),
        ("a", "e"),
        ("b", "d"),
        ("b", "e"),
    ];
    let refused = plan(&shards, all).unwrap_err();
    assert!(matches!(refused, Refusal::NotAccepting { .. }), "{refused}");
}
