//! Members that give their place to a copy on a node that was named.

use super::world::{World, id, settings, shard};
use crate::replication::{Condition, Event, Input, Move, Purpose, Refused, Settings, Stage};

pub(super) fn moving(from: &str, to: &str, stage: Stage) -> Option<Move> {
    let (from, to) = (id(from), id(to));
    Some(Move { from, to, stage })
}

/// Three whole copies on the first of so many nodes, each in a zone of its own.
fn whole(nodes: usize) -> World {
    let mut world = World::new(nodes, nodes, &settings(), 1);
    world.until_whole();
    world
}

fn replica(world: &World) -> String {
    let names = ["n1", "n2", "n3"].into_iter();
    let mut others = names.filter(|name| *name != world.primary());
    others.next().expect("a replica").to_owned()
}

fn purposes(world: &World) -> Vec<Purpose> {
    let events = world.events.iter();
    let attempts = events.filter_map(|event| match event {
        Event::Attempt { purpose, .. } => Some(purpose.clone()),
        _ => None,
    });
    attempts.collect()
}

/// What is left of three members when one of them has given its place to another one.
fn after(from: &str, to: &str) -> String {
    let names = ["n1", "n2", "n3", to].into_iter();
    let left: Vec<_> = names.filter(|name| *name != from).collect();
    left.join(" ")
}

impl World {
    pub(super) fn moves(&mut self, moving: Option<Move>) {
        let shard = shard();
        self.tell(|| Input::Move {
            shard: shard.clone(),
            moving: moving.clone(),
        });
    }

    fn is_ready(&self, node: &str) -> bool {
        let standing = self.machine().standing(&shard(), &id(node));
        standing.is_some_and(|standing| standing.is_ready)
    }

    /// Has a copy made and filled, until it may take the member's place.
    #[track_caller]
    fn fill(&mut self, from: &str, to: &str) {
        self.moves(moving(from, to, Stage::Fill));
        self.until("ready copy", |world| world.is_ready(to));
    }

    fn has_copy(&self, name: &str) -> bool {
        self.nodes[&id(name)].copy.is_some()
    }
}

#[test]
fn a_copy_is_filled_and_kept_up_to_date_and_nobody_leaves() {
    let mut world = whole(5);
    let (from, writes) = (replica(&world), world.writes);
    world.fill(&from, "n5");
    world.run(60);
    assert!(world.is_ready("n5"), "it is kept");
    assert_eq!(
        (world.members().as_str(), world.writes),
        ("n1 n2 n3", writes)
    );
    assert!(!world.has_copy("n4"), "nobody asked for one there");
    let standing = world.machine().standing(&shard(), &id("n5"));
    let standing = standing.expect("a copy");
    assert!(standing.is_whole && !standing.is_member && !standing.is_primary);
    assert!(standing.lag.is_some_and(|lag| lag <= settings().lag_max));
    assert_eq!(world.machine().standing(&shard(), &id("n4")), None);
}

#[test]
fn a_member_gives_its_place_in_one_change_and_its_copy_is_deleted_at_once() {
    let mut world = whole(5);
    let (from, primary, writes) = (replica(&world), world.primary(), world.writes);
    world.fill(&from, "n5");
    world.moves(moving(&from, "n5", Stage::Swap));
    let since = world.now;
    world.until("empty node", |world| !world.has_copy(&from));
    let took = world.now.since(since);
    assert!(took < settings().keep, "it is not kept for later: {took:?}");
    assert_eq!(world.members(), after(&from, "n5"));
    assert_eq!((world.primary(), world.writes), (primary, writes + 1));
    let standing = world.machine().standing(&shard(), &id("n5"));
    assert!(standing.expect("a copy").is_member);
    world.moves(None);
    let writes = world.writes;
    world.run(30);
    assert_eq!(world.writes, writes, "what is well is left alone");
}

#[test]
fn a_primary_hands_over_before_it_gives_its_place() {
    let mut world = whole(4);
    let from = world.primary();
    world.fill(&from, "n4");
    world.moves(moving(&from, "n4", Stage::Swap));
    world.until("empty node", |world| !world.has_copy(&from));
    assert_eq!(world.members(), after(&from, "n4"));
    let expected = [Purpose::First, Purpose::HandOver, Purpose::Members];
    assert_eq!(purposes(&world), expected);
}

#[test]
fn nobody_gives_its_place_to_a_copy_whose_data_is_still_being_made() {
    let mut world = whole(4);
    let from = world.primary();
    world.moves(moving(&from, "n4", Stage::Swap));
    world.until("copy", |world| world.has_copy("n4"));
    let installs = |world: &mut World, installs| {
        let node = world.nodes.get_mut(&id("n4")).expect("a node");
        node.copy.as_mut().expect("a copy").installs = installs;
    };
    installs(&mut world, true);
    world.run(60);
    assert_eq!(
        (world.primary(), world.members().as_str()),
        (from.clone(), "n1 n2 n3")
    );
    installs(&mut world, false);
    world.until("swap", |world| world.members() == after(&from, "n4"));
}

#[test]
fn nothing_that_a_move_asks_for_waits_until_things_have_settled() {
    let mut world = whole(4);
    let from = world.primary();
    world.fill(&from, "n4");
    world.moves(moving(&from, "n4", Stage::Swap));
    world.until("hand-over", |world| world.primary() != from);
    let since = world.now;
    world.until("swap", |world| world.members() == after(&from, "n4"));
    let took = world.now.since(since);
    assert!(took < settings().steady, "{took:?}");
}

#[test]
fn the_only_copy_moves_too() {
    let lone = Settings {
        factor: 1,
        w_min: 1,
        ..settings()
    };
    let mut world = World::new(2, 2, &lone, 1);
    world.until_whole();
    world.fill("n1", "n2");
    world.moves(moving("n1", "n2", Stage::Swap));
    world.until("empty node", |world| !world.has_copy("n1"));
    assert_eq!(world.members(), "n2");
}

#[test]
fn nobody_goes_while_the_copy_is_not_ready() {
    let mut world = whole(5);
    let from = world.primary();
    world.crash("n5");
    world.moves(moving(&from, "n5", Stage::Swap));
    let writes = world.writes;
    world.run(30);
    assert_eq!((world.primary(), world.writes), (from.clone(), writes));
    assert!(!world.has_copy("n4"), "another node was not named");
    world.restart("n5");
    world.until("empty node", |world| !world.has_copy(&from));
    assert_eq!(world.members(), after(&from, "n5"));
}

#[test]
fn what_is_taken_back_leaves_no_copy() {
    for stage in [Stage::Fill, Stage::Undo] {
        let mut world = whole(5);
        let from = replica(&world);
        world.fill(&from, "n5");
        let wanted = moving(&from, "n5", Stage::Undo).filter(|_| stage == Stage::Undo);
        world.moves(wanted);
        let since = world.now;
        world.until("empty node", |world| !world.has_copy("n5"));
        let took = world.now.since(since);
        assert_eq!(took < settings().keep, stage == Stage::Undo, "{took:?}");
        assert_eq!(world.members(), "n1 n2 n3");
    }
}

#[test]
fn a_copy_that_is_yet_to_be_made_can_be_taken_back() {
    let mut world = whole(4);
    world.node("n4").is_stalled = true;
    world.moves(moving("n1", "n4", Stage::Fill));
    world.step();
    world.moves(moving("n1", "n4", Stage::Undo));
    world.until("empty node", |world| !world.has_copy("n4"));
    world.run(30);
    assert!(!world.has_copy("n4"));
    assert_eq!(world.members(), "n1 n2 n3");
}

#[test]
fn a_member_that_moved_comes_back() {
    let mut world = whole(4);
    let from = replica(&world);
    world.fill(&from, "n4");
    world.moves(moving(&from, "n4", Stage::Swap));
    let moved = after(&from, "n4");
    world.until("swap", |world| world.members() == moved);
    // What is left there is filled up, or made anew.
    world.fill("n4", &from);
    world.moves(moving("n4", &from, Stage::Swap));
    world.until("empty node", |world| !world.has_copy("n4"));
    assert_eq!(world.members(), "n1 n2 n3");
}

#[test]
fn a_member_that_is_lost_meanwhile_is_replaced() {
    for nodes in [4, 5] {
        let mut world = whole(nodes);
        let from = replica(&world);
        world.fill(&from, "n4");
        let lost = ["n1", "n2", "n3"].into_iter();
        let mut lost = lost.filter(|name| *name != from && *name != world.primary());
        let lost = lost.next().expect("another one");
        world.crash(lost);
        world.until("replacement", |world| !world.members().contains(lost));
        // The copy that was to move is the one that is there.
        assert_eq!(world.members(), after(lost, "n4"), "{nodes} nodes");
        assert!(world.members().contains(&from));
    }
}

#[test]
fn whoever_leads_next_is_told_again() {
    let mut world = World::new(4, 4, &settings(), 2);
    world.leaders = 1;
    world.until_whole();
    let from = replica(&world);
    world.fill(&from, "n4");
    world.leaders = 0;
    world.step();
    assert_eq!(world.machine().moving(&shard()), None, "it is forgotten");
    world.leaders = 1;
    world.run(3);
    assert_eq!(world.members(), "n1 n2 n3", "nobody asked for anything");
    world.moves(moving(&from, "n4", Stage::Swap));
    world.until("empty node", |world| !world.has_copy(&from));
    assert_eq!(world.members(), after(&from, "n4"));
}

#[test]
fn no_zone_is_given_up_that_a_write_is_to_be_in() {
    let zoned = Settings {
        zones: 2,
        ..settings()
    };
    let mut world = World::new(3, 1, &zoned, 1);
    world.add_node("n4", 1);
    world.add_node("n5", 2);
    world.until_whole();
    assert!(world.members().contains("n4") && world.members().contains("n5"));
    let (from, to) = (id("n4"), id("n2"));
    let fits = world.machine().check_move(&shard(), &from, &to);
    assert_eq!(fits, Ok(()), "n5 is in a zone of its own");

    let mut world = World::new(3, 1, &zoned, 1);
    world.add_node("n4", 1);
    world.add_node("n5", 1);
    world.until_whole();
    let only = if world.members().contains("n4") {
        "n4"
    } else {
        "n5"
    };
    let outside = ["n1", "n2", "n3"].into_iter();
    let mut outside = outside.filter(|name| !world.members().contains(name));
    let to = outside.next().expect("a node");
    let refused = world.machine().check_move(&shard(), &id(only), &id(to));
    let (zones, needed) = (1, 2);
    let expected = Refused::TooFewZones {
        shard: shard(),
        node: id(to),
        zones,
        needed,
    };
    assert_eq!(refused, Err(expected));
    world.moves(moving(only, to, Stage::Swap));
    world.run(30);
    assert!(world.members().contains(only), "it stays nevertheless");
}

#[test]
fn a_move_that_cannot_be_is_refused() {
    let mut world = whole(5);
    world.crash("n5");
    world.run(2);
    let check = |from: &str, to: &str| world.machine().check_move(&shard(), &id(from), &id(to));
    let code = |from, to| check(from, to).expect_err("it cannot be").code();
    assert_eq!(check("n1", "n4"), Ok(()));
    assert_eq!(code("n4", "n5"), "NOT_HOLDER");
    assert_eq!(code("n1", "n2"), "HOLDS");
    assert_eq!(code("n1", "n5"), "NOT_ACCEPTING");
    assert_eq!(code("n1", "n9"), "NOT_ACCEPTING");
    world.run(5);
    assert_eq!(world.condition(), Condition::Whole);
}
