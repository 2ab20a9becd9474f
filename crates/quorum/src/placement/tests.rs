//! Placement: the documented order and examples, the bugs of the original, and properties.

use proptest::prelude::*;

use super::*;

/// Peers named by their place: `l1`, `l2` in the same zone, `z1a`, `z1b` in zone `z1`, `r1a` in region `r1`.
fn peers(ids: &[&str]) -> Peers<()> {
    let mut peers = Peers::default();
    for id in ids {
        let place = match &id[..1] {
            "z" => Place::OtherZone(id[..2].to_owned()),
            "r" => Place::OtherRegion(id[..2].to_owned()),
            _ => Place::SameZone,
        };
        peers.add(PeerId::new(*id), (), place);
    }
    peers
}

fn choose(peers: &Peers<()>, factor: usize, zones: usize, regions: usize, seed: u64) -> Vec<&str> {
    let strategy = ReplicationStrategy {
        other_zone_replicas: zones,
        other_region_replicas: regions,
    };
    let chosen = peers.choose(factor, &strategy, &mut Random::new(seed));
    chosen
        .into_iter()
        .map(|index| peers.at(index).id().as_str())
        .collect()
}

/// The places of chosen peers, as their first letters.
fn places(chosen: &[&str]) -> String {
    chosen.iter().map(|id| &id[..1]).collect()
}

const SIX: [&str; 8] = ["l1", "l2", "l3", "z1a", "z2a", "z2b", "r1a", "r2a"];

#[test]
fn first_documented_example_two_other_zones_and_no_region() {
    let peers = peers(&SIX);
    for seed in 0..50 {
        let chosen = choose(&peers, 3, 2, 1, seed);
        assert_eq!(places(&chosen), "zz", "seed {seed}");
        assert_ne!(chosen[0][..2], chosen[1][..2], "two zones, seed {seed}");
    }
}

#[test]
fn second_documented_example_one_other_zone_and_one_region() {
    let peers = peers(&SIX);
    for seed in 0..50 {
        assert_eq!(places(&choose(&peers, 3, 1, 1, seed)), "zr");
    }
}

#[test]
fn third_documented_example_same_zone_only() {
    for seed in 0..50 {
        assert_eq!(places(&choose(&peers(&SIX), 3, 0, 0, seed)), "ll");
        // With exactly two peers in the zone, both are chosen, and none in another zone.
        let peers = peers(&["z1a", "l1", "l2", "z1b"]);
        let mut chosen = choose(&peers, 3, 0, 0, seed);
        chosen.sort_unstable();
        assert_eq!(chosen, ["l1", "l2"]);
    }
}

#[test]
fn all_peers_of_the_zone_come_before_those_of_others() {
    let peers = peers(&["z1a", "z1b", "z1c", "l1", "l2", "l3", "l4", "l5", "l6"]);
    for seed in 0..50 {
        assert_eq!(places(&choose(&peers, 7, 0, 0, seed)), "llllll");
    }
}

#[test]
fn more_copies_than_zones_or_regions_are_distinct_peers_of_them() {
    let peers = peers(&["z1a", "z1b", "z1c", "r1a", "r1b", "r1c", "l1"]);
    for seed in 0..50 {
        for (zones, regions, expected) in [(2, 0, "zz"), (0, 2, "rr")] {
            let mut chosen = choose(&peers, 3, zones, regions, seed);
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(places(&chosen), expected, "seed {seed}");
        }
    }
}

#[test]
fn places_without_peers_are_made_up_for() {
    assert_eq!(choose(&peers(&["l1"]), 2, 1, 1, 1), ["l1"]);
    assert_eq!(
        choose(&peers(&["r1a", "z1b", "z1a"]), 4, 0, 0, 1),
        ["z1b", "z1a", "r1a"]
    );
    assert_eq!(choose(&peers(&["l1"]), 5, 1, 1, 1), ["l1"]);
    assert!(choose(&peers(&[]), 1, 1, 1, 1).is_empty());
}

#[test]
fn equal_seeds_choose_alike_and_every_peer_has_its_turn() {
    let peers = peers(&SIX);
    let chosen = |seed| choose(&peers, 4, 1, 1, seed);
    assert_eq!(chosen(5), chosen(5));
    let mut seen: Vec<&str> = (0..200).flat_map(chosen).collect();
    seen.sort_unstable();
    seen.dedup();
    let mut all = SIX.to_vec();
    all.sort_unstable();
    assert_eq!(seen, all);
}

#[test]
fn any_text_is_an_id() {
    let peers = peers(&["constructor", "toString", "__proto__"]);
    assert_eq!(peers.len(), 3);
    assert_eq!(choose(&peers, 4, 0, 0, 1).len(), 3);
}

#[test]
fn an_id_is_at_one_place_and_dropped_from_wherever_it_is() {
    let mut peers = peers(&["z1a", "z2a"]);
    let moved = PeerId::new("z1a");
    assert!(peers.add(moved.clone(), (), Place::OtherRegion("r1".to_owned())));
    assert_eq!(peers.len(), 2);
    assert_eq!(choose(&peers, 3, 1, 1, 1), ["z2a", "z1a"]);

    assert!(!peers.drop_peer(&PeerId::new("z9x")), "not there");
    assert_eq!(peers.len(), 2, "and nobody else is hidden");
    assert!(peers.drop_peer(&moved));
    assert_eq!(choose(&peers, 3, 1, 1, 1), ["z2a"]);
    assert!(peers.index_of(&moved).is_none());
}

proptest! {
    #[test]
    fn every_choice_is_full_distinct_and_spread(
        places in prop::collection::vec(0_usize..7, 0..14),
        factor in 1_usize..10,
        zones in 0_usize..5,
        regions in 0_usize..5,
        seed: u64,
    ) {
        let mut peers = Peers::default();
        for (number, place) in places.iter().enumerate() {
            let place = match place {
                0 => Place::SameZone,
                1..=3 => Place::OtherZone(format!("z{place}")),
                _ => Place::OtherRegion(format!("r{place}")),
            };
            peers.add(PeerId::new(format!("p{number}")), (), place);
        }
        let strategy = ReplicationStrategy { other_zone_replicas: zones, other_region_replicas: regions };
        let chosen = peers.choose(factor, &strategy, &mut Random::new(seed));
        prop_assert_eq!(chosen.len(), (factor - 1).min(peers.len()));
        let mut distinct = chosen.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), chosen.len());

        let in_zones: Vec<&Place> = chosen.iter().map(|index| peers.at(*index).place())
            .take_while(|place| matches!(place, Place::OtherZone(_))).take(zones).collect();
        let known: usize = peers.iter().filter(|peer| matches!(peer.place(), Place::OtherZone(_))).count();
        prop_assert_eq!(in_zones.len(), zones.min(known).min(factor - 1));
        let groups = peers.zones.len();
        let mut used = in_zones.clone();
        used.sort_unstable();
        used.dedup();
        prop_assert_eq!(used.len(), in_zones.len().min(groups), "a zone twice before another once");
    }
}
