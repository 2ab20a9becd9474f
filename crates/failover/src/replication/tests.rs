//! The rules by which replicated shards are looked after.

mod beside;
mod chaos;
mod leaving;
mod moving;
mod world;

use std::{collections::BTreeSet, time::Duration};

use shardwright_topology::{Epoch, NodeId, ShardId};

use self::world::{World, id, settings, shard};
use super::*;

/// Three whole copies on five nodes in five zones, or as many nodes as said.
fn whole(nodes: usize) -> World {
    let mut world = World::new(nodes, nodes, &settings(), 1);
    world.until_whole();
    world
}

fn purposes(world: &World) -> Vec<Purpose> {
    let events = world.events.iter();
    let attempts = events.filter_map(|event| match event {
        Event::Attempt { purpose, .. } => Some(purpose.clone()),
        _ => None,
    });
    attempts.collect()
}

#[test]
fn a_new_shard_gets_copies_and_a_first_configuration() {
    let world = whole(5);
    assert_eq!(world.members(), "n1 n2 n3");
    assert_eq!((world.active().w, world.active().epoch), (2, Epoch(1)));
    assert_eq!(purposes(&world), [Purpose::First]);
}

#[test]
fn copies_are_spread_over_zones_before_they_are_spread_over_nodes() {
    let mut world = World::new(6, 2, &settings(), 1);
    world.until_whole();
    // n1, n3 and n5 are in one zone.
    assert_eq!(world.members(), "n1 n2 n3");
    let mut world = World::new(5, 1, &settings(), 1);
    world.add_node("n6", 1);
    world.until_whole();
    assert!(world.members().contains("n6"), "{}", world.members());
}

#[test]
fn with_fewer_nodes_it_begins_after_a_while_and_grows_when_nodes_come() {
    let mut world = World::new(2, 2, &settings(), 1);
    world.run(2);
    assert_eq!(world.stored.value.active, None, "another node may come");
    world.until("configuration", |world| world.stored.value.active.is_some());
    assert_eq!(world.members(), "n1 n2");
    world.run(2);
    let (copies, factor) = (2, 3);
    assert_eq!(
        world.condition(),
        Condition::UnderReplicated { copies, factor }
    );
    world.add_node("n3", 2);
    world.until_whole();
    assert_eq!(world.members(), "n1 n2 n3");
}

#[test]
fn one_node_alone_is_refused_unless_one_copy_is_enough() {
    let mut world = World::new(1, 1, &settings(), 1);
    world.run(30);
    let (copies, factor) = (1, 3);
    assert_eq!(world.condition(), Condition::Unassigned { copies, factor });
    let lone = Settings {
        w_min: 1,
        ..settings()
    };
    let mut world = World::new(1, 1, &lone, 1);
    world.until("configuration", |world| world.stored.value.active.is_some());
    assert_eq!(world.members(), "n1");
}

#[test]
fn a_primary_that_dies_is_followed_by_a_member_and_its_place_is_filled_after_the_grace() {
    let mut world = whole(5);
    let dead = world.primary();
    world.crash(&dead);
    world.until("primary", |world| world.primary() != dead);
    assert_eq!(world.members(), "n1 n2 n3", "it may come back");
    let since = world.now;
    world.until_whole();
    let took = world.now.since(since);
    assert!(
        settings().grace <= took + Duration::from_secs(2),
        "{took:?}"
    );
    assert!(!world.members().contains(&dead), "{}", world.members());
    assert_eq!(purposes(&world)[1..], [Purpose::Failover, Purpose::Members]);
}

#[test]
fn a_member_that_restarts_in_time_costs_no_change() {
    let mut world = whole(5);
    let dead = ["n1", "n2", "n3"]
        .into_iter()
        .find(|name| *name != world.primary());
    let dead = dead.expect("a replica");
    let writes = world.writes;
    world.crash(dead);
    world.run(5);
    world.restart(dead);
    world.until_whole();
    world.run(20);
    assert_eq!(
        (world.writes, world.members().as_str()),
        (writes, "n1 n2 n3")
    );
}

#[test]
fn a_primary_that_restarts_never_goes_on_with_its_old_epoch() {
    let mut world = whole(3);
    let (primary, epoch) = (world.primary(), world.active().epoch);
    world.crash(&primary);
    world.restart(&primary);
    world.until("new epoch", |world| world.active().epoch > epoch);
    world.until_whole();
}

#[test]
fn a_primary_that_opens_its_copy_again_is_chosen_by_the_new_opening() {
    let mut world = whole(3);
    let (primary, before) = (world.primary(), world.active().primary.clone());
    world.reopen(&primary);
    world.run(1);
    assert!(world.stored.value.pending.is_some() || world.active().primary != before);
    world.until_whole();
    assert_ne!(world.active().primary, before);
    // It is told from the opening before, also when it is the primary again.
    let done = world.hand_over(&primary);
    assert!(done.is_ok(), "{done:?}");
    let again = &world.active().primary;
    assert_eq!(again.node, before.node);
    assert!(before.incarnation < again.incarnation);
}

#[test]
fn an_attempt_that_hangs_is_replaced_by_one_of_another_candidate() {
    let mut world = whole(3);
    let dead = world.primary();
    let others: Vec<_> = ["n1", "n2", "n3"]
        .into_iter()
        .filter(|name| *name != dead)
        .collect();
    let first = lose_primary_and_its_first_successor(&mut world);
    assert_ne!(world.primary(), first);
    assert!(others.contains(&world.primary().as_str()));
}

/// Lets the primary die and the one that is to take over stand still, until another one is the primary. Returns which one stands still.
fn lose_primary_and_its_first_successor(world: &mut World) -> String {
    let dead = world.primary();
    world.crash(&dead);
    world.until("attempt", |world| world.stored.value.pending.is_some());
    let first = world.stored.value.pending.clone().expect("an attempt");
    let first = first.primary.node.to_string();
    world.node(&first).is_stalled = true;
    world.until("primary", |world| world.primary() != dead);
    first
}

/// Settings by which what can wait is put off for long after an attempt that has failed.
fn wary() -> Settings {
    Settings {
        patience_max: Duration::from_secs(60),
        ..settings()
    }
}

#[test]
fn an_attempt_for_another_primary_puts_nothing_off_once_somebody_is_primary() {
    let mut world = World::new(5, 5, &wary(), 1);
    world.until_whole();
    let (dead, since) = (world.primary(), world.now);
    let first = lose_primary_and_its_first_successor(&mut world);
    assert_ne!(world.primary(), first, "the first attempt has failed");
    world.until_whole();
    let took = world.now.since(since);
    assert!(
        took < wary().grace + Duration::from_secs(10),
        "the place of {dead} is filled after the grace, not {took:?}"
    );
    assert!(!world.members().contains(&dead), "{}", world.members());
}

#[test]
fn a_change_of_members_that_failed_is_not_tried_again_soon_whoever_is_active_since() {
    let mut world = World::new(5, 5, &wary(), 1);
    world.until_whole();
    let primary = world.primary();
    let mut replicas = ["n1", "n2", "n3"].into_iter();
    let dead = replicas.find(|name| *name != primary);
    world.crash(dead.expect("a replica"));
    world.until("change", |world| world.stored.value.pending.is_some());
    let failed = world.stored.value.pending.clone().expect("an attempt");
    assert_eq!(failed.primary, world.active().primary);
    world.node(&primary).is_stalled = true;
    world.until("another attempt", |world| {
        let pending = world.stored.value.pending.as_ref();
        pending.is_none_or(|pending| pending.epoch > failed.epoch)
    });
    world.node(&primary).is_stalled = false;
    world.until("primary", |world| world.stored.value.pending.is_none());
    let since = world.now;
    world.until_whole();
    let took = world.now.since(since);
    assert!(
        wary().patience_max <= took + Duration::from_secs(5),
        "{took:?}"
    );
}

#[test]
fn a_copy_that_is_lost_begins_anew_and_joins_when_it_has_caught_up() {
    let mut world = whole(3);
    let lost = ["n1", "n2", "n3"]
        .into_iter()
        .find(|name| *name != world.primary());
    let lost = lost.expect("a replica");
    let before = world.active().member(&id(lost)).cloned().expect("a member");
    world.wipe(lost);
    world.until("new member", |world| {
        world
            .active()
            .member(&id(lost))
            .is_some_and(|member| *member != before)
    });
    let copy = world.node(lost).copy.clone().expect("a copy");
    assert!(copy.place.1 > 0, "it has caught up before it counts");
    world.until_whole();
}

#[test]
fn without_a_recovery_quorum_nothing_happens_until_the_loss_is_accepted_by_name() {
    let mut world = whole(3);
    let (primary, epoch) = (world.primary(), world.active().epoch);
    let mut others = ["n1", "n2", "n3"]
        .into_iter()
        .filter(|name| *name != primary);
    let (dead, left) = (others.next().expect("one"), others.next().expect("two"));
    world.add_node("n4", 3);
    world.crash(&primary);
    world.crash(dead);
    let unavailable = Condition::NoRecoveryQuorum {
        whole: 1,
        needed: 2,
        members: 3,
    };
    world.until("refusal", |world| world.condition() == unavailable);
    world.run(60);
    assert_eq!(
        world.active().epoch,
        epoch,
        "nobody decides that but an operator"
    );
    let refused = world.hand_over(left).expect_err("it would lose writes");
    assert!(matches!(
        refused,
        Refused::NoRecoveryQuorum { whole: 1, .. }
    ));
    let other = ShardId::numbered(9);
    let refused = world
        .force(left, other.clone())
        .expect_err("another shard was named");
    let (shard, accepted) = (shard(), other);
    assert_eq!(refused, Refused::OtherShard { shard, accepted });
    let forced = world.force(left, ShardId::numbered(0)).expect("accepted");
    assert!(forced > epoch);
    assert_eq!(world.primary(), left);
    assert_eq!(world.stored.value.data_loss_generation, 1);
    let audited = world.events.iter().any(|event| {
        let Event::LossAccepted {
            by,
            generation,
            given_up,
            left,
            ..
        } = event
        else {
            return false;
        };
        let gone: BTreeSet<NodeId> = given_up.iter().map(|each| each.node.clone()).collect();
        by == "an operator"
            && *generation == 1
            && gone == BTreeSet::from([id(&primary), id(dead)])
            && left.len() == 1
    });
    assert!(audited, "{:?}", world.events);
    assert_eq!(
        world.members().split(' ').count(),
        2,
        "two must hold a write"
    );
}

#[test]
fn a_loss_that_need_not_be_accepted_is_refused() {
    let mut world = whole(3);
    let shard = shard();
    let refused = world.force("n2", shard.clone());
    assert_eq!(refused, Err(Refused::NoLossNeeded { shard }));
}

#[test]
fn a_primary_hands_over_to_a_member_in_sync_and_to_nobody_else() {
    let mut world = whole(5);
    let primary = world.primary();
    let to = ["n1", "n2", "n3"].into_iter().find(|name| *name != primary);
    let to = to.expect("a replica");
    let epoch = world.hand_over(to).expect("it is in sync");
    assert_eq!(
        (world.primary().as_str(), world.active().epoch),
        (to, epoch)
    );
    world.until_whole();
    assert_eq!(world.hand_over(to), Ok(epoch), "it is so already");
    let refused = world.hand_over("n5").expect_err("it has no copy");
    assert!(matches!(refused, Refused::NotMember { .. }), "{refused}");
    world.crash(&primary);
    world.run(2);
    let refused = world.hand_over(&primary).expect_err("it is down");
    assert!(matches!(refused, Refused::NotUp { .. }), "{refused}");
    world.restart(&primary);
    world.node(&primary).copy.as_mut().expect("a copy").health = Health::Faulty;
    world.step();
    world.step();
    let refused = world.hand_over(&primary).expect_err("it is set aside");
    assert!(matches!(refused, Refused::NotUp { .. }), "{refused}");
}

#[test]
fn a_node_that_is_drained_hands_over_and_then_loses_its_copies() {
    let mut world = whole(5);
    let primary = world.primary();
    world.drain(&primary);
    world.until("empty node", |world| {
        world.nodes[&id(&primary)].copy.is_none()
    });
    assert_eq!(world.active().members.len(), 3);
    assert!(purposes(&world).contains(&Purpose::HandOver));
    assert!(!purposes(&world).contains(&Purpose::Failover));
}

#[test]
fn a_node_that_is_replaced_leaves_its_copy_to_the_one_named() {
    let mut world = whole(5);
    let primary = world.primary();
    let since = world.now;
    world.replace(&primary, "n5");
    world.drain(&primary);
    world.until("empty node", |world| {
        world.nodes[&id(&primary)].copy.is_none()
    });
    let took = world.now.since(since);
    assert!(took < settings().keep, "it is not kept for later: {took:?}");
    assert!(world.members().contains("n5"), "{}", world.members());
    assert!(!world.members().contains("n4"), "{}", world.members());
}

#[test]
fn a_node_that_is_down_and_replaced_or_removed_is_not_waited_for() {
    for is_removed in [true, false] {
        let mut world = whole(5);
        let dead = world.primary();
        world.crash(&dead);
        world.until("primary", |world| world.primary() != dead);
        let since = world.now;
        if is_removed {
            world.remove(&dead);
        } else {
            world.replace(&dead, "n5");
        }
        world.until_whole();
        let took = world.now.since(since);
        assert!(took < settings().grace / 2, "{took:?}");
        let members = world.members();
        assert!(!members.contains(&dead), "{members}");
        assert_eq!(members.contains("n5"), !is_removed, "{members}");
    }
}

#[test]
fn a_heir_that_is_gone_is_not_waited_for() {
    let mut world = whole(5);
    let primary = world.primary();
    world.crash("n5");
    world.run(2);
    world.replace(&primary, "n5");
    world.drain(&primary);
    world.until("empty node", |world| {
        world.nodes[&id(&primary)].copy.is_none()
    });
    assert!(world.members().contains("n4"), "{}", world.members());
}

#[test]
fn when_all_must_hold_a_write_a_member_that_is_away_is_dropped_soon() {
    let all = Settings {
        width: Width::All,
        ..settings()
    };
    let mut world = World::new(3, 3, &all, 1);
    world.until_whole();
    assert_eq!(world.active().w, 3);
    let dead = ["n1", "n2", "n3"]
        .into_iter()
        .find(|name| *name != world.primary());
    let dead = dead.expect("a replica");
    world.crash(dead);
    world.until("smaller shard", |world| world.active().members.len() == 2);
    assert_eq!(world.active().w, 2);
    world.restart(dead);
    world.until_whole();
    assert_eq!(world.active().w, 3);
}

#[test]
fn a_shard_that_cannot_commit_takes_copies_on_other_nodes_without_waiting_for_the_grace() {
    let mut world = whole(7);
    let primary = world.primary();
    let dead = ["n1", "n2", "n3"]
        .into_iter()
        .filter(|name| *name != primary);
    let since = world.now;
    dead.for_each(|name| world.crash(name));
    world.until("commit", |world| {
        let is_new = !world
            .active()
            .members
            .iter()
            .all(|each| each.node <= id("n3"));
        is_new && world.condition().is_available()
    });
    assert!(world.now.since(since) < settings().grace);
    assert_eq!(world.primary(), primary, "it had all that was acknowledged");
    world.until_whole();
}

#[test]
fn nothing_is_copied_while_most_nodes_seem_to_be_down() {
    let mut world = whole(5);
    for name in ["n4", "n5"] {
        world.crash(name);
    }
    let dead = ["n1", "n2", "n3"]
        .into_iter()
        .find(|name| *name != world.primary());
    world.crash(dead.expect("a replica"));
    world.add_node("n6", 6);
    let writes = world.writes;
    world.run(30);
    let orders = world.events.iter();
    let orders = orders.filter(|event| matches!(event, Event::CopyOrdered { .. }));
    assert_eq!(
        (orders.count(), world.writes),
        (3, writes),
        "the first three"
    );
}

#[test]
fn a_registry_that_went_back_freezes_the_shard() {
    let mut world = whole(3);
    let primary = world.primary();
    let other = ["n1", "n2", "n3"].into_iter().find(|name| *name != primary);
    let other = other.expect("a replica");
    world.node(other).copy.as_mut().expect("a copy").health = Health::RegistryWentBack;
    world.run(1);
    assert_eq!(world.condition(), Condition::Frozen);
    let writes = world.writes;
    world.crash(&primary);
    world.run(20);
    assert_eq!(world.writes, writes);
    let refused = world.hand_over(other);
    assert_eq!(refused, Err(Refused::Frozen { shard: shard() }));
}

#[test]
fn writes_that_cannot_be_in_enough_zones_are_not_promised() {
    let zoned = Settings {
        zones: 2,
        zones_min: 2,
        ..settings()
    };
    let mut world = World::new(3, 1, &zoned, 1);
    world.run(20);
    assert_eq!(world.stored.value.active, None);
    world.add_node("n4", 1);
    world.until("configuration", |world| world.stored.value.active.is_some());
    assert_eq!(world.active().zones, 2);
}

#[test]
fn whoever_does_not_lead_refuses_and_does_nothing() {
    let mut machine =
        Replication::new(settings(), KeyspaceName::main(), 1).expect("settings that fit");
    let (mut actions, now) = (Vec::new(), Timestamp::default());
    let command = Command::HandOver {
        shard: shard(),
        to: id("n1"),
    };
    machine.handle(now, Input::Tick, &mut actions);
    machine.handle(now, Input::Command { ticket: 1, command }, &mut actions);
    let answer = Err(Refused::NotLeading);
    assert_eq!(actions, [Action::Answer { ticket: 1, answer }]);
}
