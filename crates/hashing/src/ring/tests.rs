//! Properties of the ring under any sequence of changes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn weight(weight: f64) -> Weight {
    Weight::new(weight).unwrap()
}

/// A ring of `shards` shards of weight 1.
fn ring(placement: Placement, shards: u32) -> Ring<String> {
    let mut ring = Ring::new(placement, DEFAULT_VIRTUAL_NODES);
    for shard in 0..shards {
        ring.add(format!("node-{shard}")).unwrap();
    }
    ring
}

/// The part of all positions that has different owners in the two rings, by (old owner, new owner).
fn moves(before: &Ring<String>, after: &Ring<String>) -> BTreeMap<(String, String), f64> {
    let mut starts: Vec<u64> = before
        .arcs
        .iter()
        .chain(after.arcs.iter())
        .map(|arc| arc.start)
        .collect();
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().cycle().skip(1);
    let mut moves = BTreeMap::new();
    for (start, end) in starts.iter().zip(ends) {
        let owner = |ring: &Ring<String>| ring.shard_at(Position(*start)).unwrap().clone();
        let change = (owner(before), owner(after));
        if change.0 != change.1 {
            let length = end.wrapping_sub(*start) as f64 / arcs::WHOLE;
            *moves.entry(change).or_insert(0.0) += length;
        }
    }
    moves
}

#[test]
fn the_tokens_and_the_homes_of_keys_are_pinned() {
    let ring = ring(Placement::Hashed, 10);
    let stored = ring.tokens();
    let first = stored
        .shards
        .iter()
        .find(|shard| shard.shard == "node-0")
        .unwrap();
    let tokens =
        [first.tokens[0], first.tokens[1], first.tokens[299]].map(|token| token.to_string());
    assert_eq!(
        tokens,
        ["005bbd1a0e1f5322", "035380a8f1d9f060", "ff996789eea47da3"]
    );
    let homes =
        ["tenant-123", "user:1234", "a", "b", ""].map(|key| ring.shard_of(key).unwrap().as_str());
    assert_eq!(homes, ["node-3", "node-0", "node-0", "node-0", "node-6"]);
}

#[test]
fn the_homes_of_keys_on_a_placed_ring_are_pinned() {
    let ring = ring(Placement::Placed, 10);
    let homes =
        ["tenant-123", "user:1234", "a", "b", ""].map(|key| ring.shard_of(key).unwrap().as_str());
    assert_eq!(homes, ["node-5", "node-2", "node-2", "node-3", "node-8"]);
}

#[test]
fn a_hundred_shards_share_the_ring_evenly() {
    let hashed = ring(Placement::Hashed, 100).heaviest_over_mean().unwrap();
    assert!((hashed - 1.109_165).abs() < 1e-6, "hashed tokens: {hashed}");
    let placed = ring(Placement::Placed, 100);
    let ratio = placed.heaviest_over_mean().unwrap();
    assert!((1.0..1.02).contains(&ratio), "placed tokens: {ratio}");
    assert!(
        placed.token_count() <= 100 * 151,
        "{} tokens",
        placed.token_count()
    );
}

#[test]
fn placed_tokens_stay_balanced_while_shards_come_and_go() {
    let mut ring = ring(Placement::Placed, 20);
    for round in 0..60 {
        ring.remove(&format!("node-{round}")).unwrap();
        ring.add_weighted(
            format!("node-{}", round + 20),
            weight(f64::from(round % 3 + 1)),
        )
        .unwrap();
        let ratio = ring.heaviest_over_mean().unwrap();
        assert!(ratio < 1.03, "{ratio} after {round} rounds");
    }
    // 40 is the sum of the weights that remain.
    assert!(
        ring.token_count() < 40 * 2 * 150,
        "{} tokens",
        ring.token_count()
    );
}

#[test]
fn keys_are_shared_by_weight() {
    for placement in [Placement::Hashed, Placement::Placed] {
        let mut ring = Ring::new(placement, DEFAULT_VIRTUAL_NODES);
        for (shard, heavy) in [("a", 1.0), ("b", 2.0), ("c", 0.5), ("d", 4.5)] {
            ring.add_weighted(shard, weight(heavy)).unwrap();
        }
        for (shard, expected) in [("a", 0.125), ("b", 0.25), ("c", 0.0625), ("d", 0.5625)] {
            let share = ring.share(shard).unwrap();
            assert!(
                (share / expected - 1.0).abs() < 0.3,
                "{placement:?}: {shard} has {share}"
            );
        }
    }
}

#[test]
fn adding_a_shard_moves_its_share_and_only_to_it() {
    for (placement, tolerance) in [(Placement::Hashed, 0.35), (Placement::Placed, 0.01)] {
        for shards in [1, 2, 9, 50] {
            let before = ring(placement, shards);
            let after = ring(placement, shards + 1);
            let moves = moves(&before, &after);
            let newcomer = format!("node-{shards}");
            assert!(
                moves.keys().all(|(_, to)| *to == newcomer),
                "keys moved between old shards"
            );
            let moved: f64 = moves.values().sum();
            let share = 1.0 / f64::from(shards + 1);
            assert!(
                (moved / share - 1.0).abs() < tolerance,
                "{placement:?}: {moved} moved, not {share}"
            );
        }
    }
}

#[test]
fn adding_and_removing_a_shard_of_hashed_tokens_leaves_no_trace() {
    let before = ring(Placement::Hashed, 10);
    let mut after = before.clone();
    after.add("passing".to_owned()).unwrap();
    after.remove("passing").unwrap();
    assert_eq!(after.tokens(), before.tokens());
}

#[test]
fn a_split_divides_the_parent_in_halves_and_touches_nobody_else() {
    for placement in [Placement::Hashed, Placement::Placed] {
        let mut ring = ring(placement, 4);
        let mut parent = "node-1".to_owned();
        // More often than there are tokens to divide by two.
        for generation in 0..12 {
            let before = ring.clone();
            let share = ring.share(&parent).unwrap();
            let (left, right) = (format!("left-{generation}"), format!("right-{generation}"));
            ring.split(parent.clone(), left.clone(), right.clone())
                .unwrap();
            let moves = moves(&before, &ring);
            assert!(
                moves
                    .keys()
                    .all(|(from, to)| *from == parent && (*to == left || *to == right))
            );
            for child in [&left, &right] {
                let part = ring.share(child).unwrap() / share;
                assert!(
                    (part - 0.5).abs() < 0.04,
                    "{child} got {part} of its parent"
                );
            }
            parent = right;
        }
    }
}

#[test]
fn shards_adjoin_where_the_arc_of_one_starts_at_the_end_of_the_others() {
    let arcs = [("a", [0, 300]), ("b", [100, 400]), ("c", [200, 500])];
    let shards = arcs.map(|(shard, tokens)| ShardTokens {
        shard,
        weight: Weight::ONE,
        tokens: tokens.map(Position).to_vec(),
    });
    let mut stored = Ring::hashed().tokens();
    stored.shards = shards.to_vec();
    // d lies between c and a.
    let tokens = vec![Position(600)];
    stored.shards.push(ShardTokens {
        shard: "d",
        weight: Weight::ONE,
        tokens,
    });
    let ring = Ring::from_tokens(stored).unwrap();
    for (one, other, expected) in [
        ("a", "b", true),
        ("b", "c", true),
        ("c", "a", true),
        ("d", "a", true),
        ("d", "b", false),
    ] {
        assert_eq!(ring.adjoin(one, other), Ok(expected), "{one} and {other}");
        assert_eq!(ring.adjoin(other, one), Ok(expected), "{other} and {one}");
    }
}

#[test]
fn merging_the_children_restores_the_parent() {
    for placement in [Placement::Hashed, Placement::Placed] {
        let before = ring(placement, 5);
        let mut after = before.clone();
        after
            .split("node-2".to_owned(), "l".to_owned(), "r".to_owned())
            .unwrap();
        after
            .split("l".to_owned(), "l".to_owned(), "m".to_owned())
            .unwrap();
        let parents = ["l", "m", "r"].map(str::to_owned);
        after.merge(&parents, "node-2".to_owned()).unwrap();
        assert!(moves(&before, &after).is_empty());
        assert_eq!(after.members.len(), 5);
        assert!(
            after
                .members
                .iter()
                .all(|member| member.weight == Weight::ONE)
        );
    }
}

#[test]
fn names_are_unique_and_must_exist() {
    let mut ring = ring(Placement::Hashed, 3);
    let before = ring.tokens();
    let [a, b, x] = ["node-0", "node-1", "x"].map(str::to_owned);
    let exists = |shard: &str| {
        Err(Error::ShardExists {
            shard: shard.to_owned(),
        })
    };
    let unknown = || Error::UnknownShard {
        shard: "x".to_owned(),
    };
    assert_eq!(ring.add(a.clone()), exists("node-0"));
    assert_eq!(ring.remove("x"), Err(unknown()));
    assert_eq!(ring.share("x"), Err(unknown()));
    assert_eq!(ring.split(x.clone(), x.clone(), a.clone()), Err(unknown()));
    assert_eq!(
        ring.split(a.clone(), x.clone(), b.clone()),
        exists("node-1")
    );
    assert_eq!(ring.split(a.clone(), x.clone(), x.clone()), exists("x"));
    assert_eq!(
        ring.merge(&[a.clone(), x.clone()], x.clone()),
        Err(unknown())
    );
    assert_eq!(
        ring.merge(&[a.clone(), b], "node-2".to_owned()),
        exists("node-2")
    );
    for parents in [vec![], vec![a.clone()], vec![a.clone(), a]] {
        assert_eq!(ring.merge(&parents, x.clone()), Err(Error::MergeOfOne));
    }
    assert_eq!(ring.tokens(), before, "a refused change left traces");
}

#[test]
fn a_ring_without_shards_has_no_home_for_any_key() {
    let mut ring = Ring::placed();
    assert_eq!(ring.shard_of("key"), None);
    assert_eq!(ring.heaviest_over_mean(), None);
    ring.add("only").unwrap();
    assert_eq!(ring.shard_of("key"), Some(&"only"));
    ring.remove("only").unwrap();
    assert_eq!(ring.shard_of("key"), None);
}

#[test]
fn a_single_position_is_not_split() {
    let mut ring = ring(Placement::Hashed, 1);
    let mut stored = ring.tokens();
    stored.shards[0].tokens = vec![Position(7)];
    let mut small = stored.shards[0].clone();
    small.shard = "small".to_owned();
    small.tokens = vec![Position(6)];
    stored.shards.push(small);
    ring = Ring::from_tokens(stored).unwrap();
    let small = "small".to_owned();
    let refused = ring.split(small.clone(), small, "other".to_owned());
    assert_eq!(
        refused,
        Err(Error::Indivisible {
            shard: "small".to_owned()
        })
    );
}

#[test]
fn damaged_tokens_are_refused() {
    let refused = |damage: fn(&mut RingTokens<String>)| {
        let mut stored = ring(Placement::Placed, 3).tokens();
        damage(&mut stored);
        Ring::from_tokens(stored).map(|_| ()).unwrap_err()
    };
    let shard = "node-0".to_owned();
    assert_eq!(
        refused(|stored| stored.version = 2),
        Error::UnknownVersion {
            version: 2,
            known: 1
        }
    );
    assert_eq!(
        refused(|stored| stored.shards[0].tokens.clear()),
        Error::NoToken {
            shard: shard.clone()
        }
    );
    let twice: fn(&mut RingTokens<String>) = |stored| stored.shards[1].shard = "node-0".to_owned();
    assert_eq!(refused(twice), Error::ShardExists { shard });
    let taken: fn(&mut RingTokens<String>) = |stored| {
        stored.shards[1].tokens[0] = stored.shards[0].tokens[0];
    };
    assert!(matches!(refused(taken), Error::TokenTaken { .. }));
}

#[cfg(feature = "serde")]
#[test]
fn stored_tokens_of_version_1_are_read_and_written() {
    let json = serde_json::json!({
        "version": 1,
        "placement": "placed",
        "virtual_nodes": 2,
        "shards": [
            { "shard": "a", "weight": 1.0, "tokens": ["0000000000000000"] },
            { "shard": "b", "weight": 0.5, "tokens": ["8000000000000000", "c000000000000001"] },
        ],
    });
    let stored: RingTokens<String> = serde_json::from_value(json.clone()).unwrap();
    let ring = Ring::from_tokens(stored).unwrap();
    assert_eq!(ring.shard_at(Position(0x7fff_ffff_ffff_ffff)).unwrap(), "a");
    assert_eq!(ring.shard_at(Position(0x8000_0000_0000_0000)).unwrap(), "b");
    assert_eq!(serde_json::to_value(ring.tokens()).unwrap(), json);
}

#[cfg(feature = "serde")]
#[test]
fn stored_tokens_with_impossible_values_are_refused() {
    let shard = |weight: f64, token: &str| {
        let json = serde_json::json!({ "shard": "a", "weight": weight, "tokens": [token] });
        serde_json::from_value::<ShardTokens<String>>(json).map_err(|error| error.to_string())
    };
    assert!(shard(1.0, "0000000000000000").is_ok());
    let refused = shard(-1.0, "0000000000000000").unwrap_err();
    assert_eq!(refused, "weight -1 is not between 2^-64 and 2^20");
    let refused = shard(1.0, "17").unwrap_err();
    assert_eq!(refused, "\"17\" is not a position of 16 hexadecimal digits");
}

#[derive(Debug, Clone)]
enum Change {
    Add(f64),
    Remove(prop::sample::Index),
    Split(prop::sample::Index),
    Merge(prop::sample::Index, prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0.2_f64..4.0).prop_map(Change::Add),
        any::<prop::sample::Index>().prop_map(Change::Remove),
        any::<prop::sample::Index>().prop_map(Change::Split),
        any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(a, b)| Change::Merge(a, b)),
    ]
}

/// Applies a change and returns the shards that took part in it; none if it was refused.
fn apply(ring: &mut Ring<String>, change: &Change, fresh: usize) -> Vec<String> {
    let name = |place: &prop::sample::Index| {
        let names: Vec<&String> = ring.shards().collect();
        (*place.get(&names)).clone()
    };
    let [first, second] = ["a", "b"].map(|side| format!("{fresh}-{side}"));
    let (result, parties) = match change {
        Change::Add(heavy) => (
            ring.add_weighted(first.clone(), weight(*heavy)),
            vec![first],
        ),
        Change::Remove(place) => {
            let gone = name(place);
            let last = ring.members.len() == 1;
            let result = if last {
                Err(Error::MergeOfOne)
            } else {
                ring.remove(&gone)
            };
            (result, vec![gone])
        }
        Change::Split(place) => {
            let parent = name(place);
            let result = ring.split(parent.clone(), first.clone(), second.clone());
            (result, vec![parent, first, second])
        }
        Change::Merge(one, other) => {
            let parents = [name(one), name(other)];
            let result = ring.merge(&parents, first.clone());
            (result, parents.into_iter().chain([first]).collect())
        }
    };
    result.map_or_else(|_| Vec::new(), |()| parties)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_any_changes_the_arcs_tile_the_ring_and_only_parties_moved(
        placed in any::<bool>(),
        changes in prop::collection::vec(change(), 1..30),
    ) {
        let placement = if placed { Placement::Placed } else { Placement::Hashed };
        let mut ring = Ring::new(placement, 8);
        ring.add("first".to_owned()).unwrap();
        for (fresh, change) in changes.iter().enumerate() {
            let before = ring.clone();
            let parties = apply(&mut ring, change, fresh);
            for (from, to) in moves(&before, &ring).keys() {
                prop_assert!(
                    parties.contains(from) || parties.contains(to),
                    "{:?} moved keys from {} to {}", change, from, to
                );
            }
            let lengths = ring.arcs.lengths(ring.members.len());
            prop_assert_eq!(lengths.iter().sum::<u128>(), 1 << 64);
            prop_assert!(lengths.iter().all(|length| *length > 0), "a shard owns nothing");
            let copy = Ring::from_tokens(ring.tokens()).unwrap();
            prop_assert!(moves(&ring, &copy).is_empty());
        }
    }

    #[test]
    fn a_newcomer_of_any_weight_takes_its_share_from_everybody(
        placed in any::<bool>(),
        weights in prop::collection::vec(0.5_f64..4.0, 1..12),
        newcomer in 0.5_f64..4.0,
    ) {
        let placement = if placed { Placement::Placed } else { Placement::Hashed };
        let mut before = Ring::new(placement, DEFAULT_VIRTUAL_NODES);
        for (shard, heavy) in weights.iter().enumerate() {
            before.add_weighted(format!("old-{shard}"), weight(*heavy)).unwrap();
        }
        let mut after = before.clone();
        after.add_weighted("new".to_owned(), weight(newcomer)).unwrap();
        let moves = moves(&before, &after);
        prop_assert!(moves.keys().all(|(_, to)| to == "new"));
        let moved: f64 = moves.values().sum();
        let share = newcomer / (weights.iter().sum::<f64>() + newcomer);
        // Six standard deviations of the sum of as many arcs of random length as it has tokens.
        let tolerance = if placed { 0.01 } else { 6.0 / (300.0 * newcomer).sqrt() };
        prop_assert!((moved / share - 1.0).abs() < tolerance, "{} moved, not {}", moved, share);
    }
}

#[test]
fn shards_that_are_added_together_are_where_they_are_if_added_one_by_one() {
    for placement in [Placement::Hashed, Placement::Placed] {
        let one_by_one = ring(placement, 7);
        let mut together: Ring<String> = Ring::new(placement, DEFAULT_VIRTUAL_NODES);
        let named = |shard: u32| (format!("node-{shard}"), Weight::ONE);
        together.add_all((0..7).map(named)).unwrap();
        assert_eq!(together.tokens(), one_by_one.tokens());
        let taken = together.add_all([7, 3].map(named));
        assert!(matches!(taken, Err(Error::ShardExists { shard }) if shard == "node-3"));
        assert_eq!(together.tokens(), one_by_one.tokens());
    }
}

#[test]
fn the_shards_from_a_position_begin_with_its_owner_and_lose_only_the_one_that_is_removed() {
    let ring = ring(Placement::Hashed, 6);
    for key in 0..200 {
        let position = Position::of(key.to_string());
        let order: Vec<&String> = ring.shards_from(position).collect();
        assert_eq!(order.len(), 6);
        assert_eq!(order.first().copied(), ring.shard_at(position));
        let mut without = ring.clone();
        without.remove(order[1]).unwrap();
        let expected: Vec<&String> = order
            .iter()
            .copied()
            .filter(|shard| *shard != order[1])
            .collect();
        assert_eq!(without.shards_from(position).collect::<Vec<_>>(), expected);
    }
    assert_eq!(
        Ring::<String>::hashed().shards_from(Position::MIN).count(),
        0
    );
}
