//! What a coordinator does for shards that commit on several members, and what it leaves alone.

mod desk;
mod disk;
mod gathering;
mod moving;

use std::time::Duration;

use shardwright_failover::replication::{self, Instruction, Refused};
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{NodeId, ShardId};

use self::{
    desk::{Desk, id, settings, shard},
    disk::Disk,
};
use crate::{
    core::{Command, Done, Notice, Refusal, Replication, Settings},
    protocol::{CopyTrouble, TroubleKind},
};

fn promote(to: &str, force: bool) -> Command {
    Command::Promote {
        partition: shard(),
        node: id(to),
        force,
    }
}

fn accept(to: &str, accepted: u32) -> Command {
    Command::AcceptLoss {
        partition: shard(),
        node: id(to),
        accepted: ShardId::numbered(accepted),
        by: "Ada".to_owned(),
    }
}

fn three() -> Desk {
    let mut desk = Desk::new(settings(), &["n1", "n2", "n3"]);
    desk.until_whole();
    desk
}

#[test]
fn a_shard_gets_its_first_configuration() {
    let mut desk = Desk::new(settings(), &["n1", "n2", "n3"]);
    desk.add_node("a0", false);
    desk.until_whole();
    assert_eq!(
        desk.members(),
        "n1 n2 n3",
        "a worker without copies is none"
    );
    assert_eq!(desk.record(&shard()).active.map(|active| active.w), Some(2));
    let kinds: Vec<_> = desk.notices.iter().map(Notice::kind).collect();
    for kind in ["copy-ordered", "attempt", "activated", "shard-condition"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    assert!(
        !kinds.contains(&"assigned"),
        "it is no affair of the planner"
    );
    let view = desk.core.view(desk.now);
    let lags = &view.replicated[&shard()].lags;
    assert_eq!(lags.values().sum::<u64>(), 2, "{lags:?}");
    let served = desk.nodes.values().filter_map(|node| {
        let ping = node.last_ping.as_ref()?;
        ping.assignments.as_ref().map(|all| all.serve.len())
    });
    assert_eq!(served.sum::<usize>(), 0, "nobody serves it by assignment");
}

#[test]
fn shards_of_other_keyspaces_are_assigned_as_ever() {
    let mut desk = Desk::new(settings(), &["n1", "n2", "n3"]);
    let named = ShardId::new("orders").unwrap();
    let other = PartitionId::new(Settings::partitions(), named);
    desk.add_shard(&other);
    desk.until("owner", |desk| desk.record(&other).primary().is_some());
    desk.until_whole();
    let active = desk.record(&other).active.unwrap();
    assert_eq!((active.w, active.members.len()), (1, 1));
    let assigned = |notice: &Notice| matches!(notice, Notice::Assigned { partition, .. } if *partition == other);
    assert!(desk.notices.iter().any(assigned));
    let force = Command::AcceptLoss {
        partition: other.clone(),
        node: id("n1"),
        accepted: other.shard.clone(),
        by: "Ada".to_owned(),
    };
    let refused = Refusal::NotReplicated { partition: other };
    assert_eq!(desk.command(force), Err(refused));
}

#[test]
fn the_next_leader_changes_nothing() {
    let mut desk = three();
    let first = desk.record(&shard());
    desk.restart_with(settings());
    desk.until_whole();
    assert_eq!(desk.record(&shard()), first);
}

#[test]
fn main_is_replicated_if_nodes_keep_copies_when_it_is_created() {
    let settings = Settings {
        shards: 8,
        bootstrap_wait: Duration::from_secs(20),
        ..settings()
    };
    let created = |keepers: &[&str], others: &[&str]| {
        let mut desk = Desk::new(settings.clone(), keepers);
        for node in others {
            desk.add_node(node, false);
        }
        let began = desk.now;
        desk.until("keyspace", |desk| !desk.created.is_empty());
        let waited = desk.now.since(began) >= Duration::from_secs(20);
        (desk.created[0], waited)
    };
    let all = ["n1", "n2", "n3"];
    assert_eq!(created(&all, &[]), ((8, true), false));
    assert_eq!(created(&[], &all), ((8, false), false));
    assert_eq!(
        created(&["n1", "n2"], &["w1", "w2", "w3"]),
        ((8, true), true),
        "nodes without copies are of no use to it"
    );
}

#[test]
fn a_lost_primary_is_replaced_and_then_the_copy_that_is_missing() {
    let mut desk = three();
    desk.add_node("n4", true);
    let first = desk.primary();
    desk.kill(&first);
    desk.until("other primary", |desk| desk.primary() != first);
    desk.until("fourth member", |desk| desk.members().contains("n4"));
    desk.until_whole();
    assert!(!desk.members().contains(&first), "{}", desk.members());
    let follows = |told: &Instruction| matches!(told, Instruction::Follow { .. });
    let primary = desk.primary();
    assert!(desk.nodes[&id(&primary)].instructions.iter().any(follows));
}

#[test]
fn a_member_in_sync_takes_over_when_it_is_asked() {
    let mut desk = three();
    let first = desk.primary();
    let to = if first == "n1" { "n2" } else { "n1" };
    let done = desk.command(promote(to, false));
    assert_eq!(done.map(|done| done.changes), Ok(1));
    assert_eq!(desk.primary(), to, "it is answered once that is so");
    let partition = shard();
    let refused = Refusal::LossNotNamed { partition };
    assert_eq!(desk.command(promote("n3", true)), Err(refused));
    let refused = desk.command(promote("n9", false)).unwrap_err();
    assert_eq!(refused.code(), "NOT_HOLDER");
}

#[test]
fn a_loss_is_accepted_by_name_when_nothing_else_is_left() {
    let mut desk = three();
    let refused = desk.command(accept("n1", 0)).unwrap_err();
    assert_eq!(refused.code(), "NO_LOSS_NEEDED");
    let first = desk.primary();
    let others: Vec<&str> = ["n1", "n2", "n3"]
        .into_iter()
        .filter(|node| *node != first)
        .collect();
    desk.kill(&first);
    desk.kill(others[0]);
    let left = others[1];
    desk.until("way out", |desk| desk.condition() == "no-recovery-quorum");
    let refused = desk.command(promote(left, false));
    let is_right = matches!(
        refused,
        Err(Refusal::Replication(Refused::NoRecoveryQuorum {
            whole: 1,
            ..
        }))
    );
    assert!(is_right, "{refused:?}");
    let refused = desk.command(accept(left, 1)).unwrap_err();
    assert_eq!(refused.code(), "OTHER_SHARD");
    let refused = desk.command(accept(left, 0)).unwrap_err();
    assert_eq!(refused.code(), "TOO_FEW_COPIES");
    assert!(refused.is_retryable());
    desk.add_node("n4", true);
    let has_copy = |desk: &Desk| !desk.nodes[&id("n4")].instructions.is_empty();
    desk.until("spare copy", has_copy);
    desk.command(accept(left, 0))
        .expect("a loss that was named");
    let record = desk.record(&shard());
    assert_eq!(record.data_loss_generation, 1);
    assert_eq!(desk.primary(), left);
    let accepted = desk.notices.iter().find_map(|notice| match notice {
        Notice::LossAccepted {
            by,
            generation,
            left,
            given_up,
            ..
        } => Some((by.as_str(), *generation, left.clone(), given_up.len())),
        _ => None,
    });
    let left: NodeId = id(left);
    assert_eq!(accepted, Some(("Ada", 1, vec![left], 2)));
}

#[test]
fn what_became_of_a_write_is_found_out() {
    let mut desk = Desk::new(settings(), &["n1", "n2", "n3"]);
    desk.writes_lost = 2;
    desk.until_whole();
    assert!(desk.reads >= 2, "{} readings", desk.reads);
}

#[test]
fn who_waits_for_a_leader_that_leads_no_more_is_told() {
    let mut desk = three();
    let first = desk.primary();
    let to = if first == "n1" { "n2" } else { "n1" };
    (desk.do_logs_work, desk.takes_leases) = (false, false);
    // Until its own lease is about to end: before that it would give the attempt up.
    for _ in 0..20 {
        desk.step();
    }
    assert!(desk.core.is_leading(desk.now));
    let refused = desk.command(promote(to, false)).unwrap_err();
    assert_eq!(refused.code(), "NOT_LEADER");
    assert!(desk.core.view(desk.now).replicated.is_empty());
    (desk.do_logs_work, desk.takes_leases) = (true, true);
    desk.until_whole();
}

#[test]
fn another_session_of_a_worker_changes_nothing_for_its_copies() {
    let mut desk = three();
    let (first, before) = (desk.primary(), desk.record(&shard()));
    desk.begin_session(&first);
    for _ in 0..200 {
        desk.step();
    }
    assert_eq!(desk.record(&shard()), before);
    assert_eq!(desk.condition(), "whole");
}

#[test]
fn a_node_that_is_drained_hands_over_before_it_may_go() {
    let mut desk = three();
    let first = desk.primary();
    let is_drained = |desk: &Desk| {
        let ping = desk.nodes[&id(&first)].last_ping.as_ref();
        ping.is_some_and(|ping| ping.drained)
    };
    desk.do_logs_work = false;
    let node = id(&first);
    desk.command(Command::Drain { node }).expect("it is up");
    for _ in 0..20 {
        desk.step();
        assert!(!is_drained(&desk), "it is the primary");
    }
    desk.do_logs_work = true;
    desk.until("drained node", is_drained);
    assert_ne!(desk.primary(), first);
}

#[test]
fn a_node_that_answers_is_not_taken_for_dead_because_the_registry_is_slow() {
    let mut desk = three();
    let primary = desk.primary();
    let timeout = settings().timing.timeout();
    desk.takes_node_leases = false;
    let end = desk.now + timeout * 3;
    while desk.now < end {
        desk.step();
    }
    let is_down = |desk: &Desk| {
        let mut notices = desk.notices.iter();
        notices.any(|notice| matches!(notice, Notice::NodeDown { .. }))
    };
    assert!(!is_down(&desk));
    assert_eq!(desk.primary(), primary);
    desk.takes_node_leases = true;
    desk.kill(&primary);
    let since = desk.now;
    desk.until("another primary", |desk| desk.primary() != primary);
    let took = desk.now.since(since);
    assert!(took <= timeout + Duration::from_millis(200), "{took:?}");
}

#[test]
fn a_leader_goes_on_and_lets_a_node_leave_on_a_registry_that_is_slow() {
    let mut desk = three();
    // A write takes up to two of them, of 400 ms each: a fifth of the time-out.
    desk.disk = Some(Disk::new(8));
    desk.notices.clear();
    let end = desk.now + settings().timing.timeout() * 30;
    while desk.now < end {
        desk.step();
    }
    let primary = desk.primary();
    desk.nodes.get_mut(&id(&primary)).unwrap().leaves = true;
    desk.until("hand-over", |desk| desk.primary() != primary);
    let lost = desk
        .notices
        .iter()
        .find(|notice| matches!(notice, Notice::SteppedDown { .. } | Notice::NodeDown { .. }));
    assert_eq!(lost, None);
}

#[test]
fn a_node_that_leaves_hands_over_although_what_was_written_of_it_is_lost() {
    let mut desk = three();
    let primary = desk.primary();
    desk.node_writes_lost = 3;
    desk.nodes.get_mut(&id(&primary)).unwrap().leaves = true;
    desk.until("hand-over", |desk| desk.primary() != primary);
    assert_eq!(desk.node_writes_lost, 0);
    desk.until("permission", |desk| {
        let ping = desk.nodes[&id(&primary)].last_ping.as_ref();
        ping.is_some_and(|ping| ping.drained)
    });
}

#[test]
fn a_leader_has_a_node_hand_over_that_leaves_however_short_it_leads() {
    let slow = replication::Settings {
        steady: Duration::from_secs(60),
        ..settings().replication.settings().clone()
    };
    let settings = Settings {
        replication: Replication::new(slow).unwrap(),
        ..settings()
    };
    let mut desk = Desk::new(settings.clone(), &["n1", "n2", "n3"]);
    desk.until_whole();
    let primary = desk.primary();
    desk.nodes.get_mut(&id(&primary)).unwrap().leaves = true;
    desk.restart_with(Settings {
        id: id("d"),
        ..settings
    });
    let since = desk.now;
    desk.until("hand-over", |desk| desk.primary() != primary);
    let took = desk.now.since(since);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(desk.members(), "n1 n2 n3");
}

#[test]
fn a_node_is_replaced_by_the_one_that_was_named() {
    let mut desk = Desk::new(settings(), &["n1", "n2", "n3"]);
    desk.until_whole();
    for node in ["n4", "n5"] {
        desk.add_node(node, true);
    }
    let first = desk.primary();
    let replace = |node: &str, by: &str| Command::Replace {
        node: id(node),
        by: id(by),
    };
    let itself = Refusal::SameNode { node: id("n5") };
    assert_eq!(desk.command(replace("n5", "n5")), Err(itself));
    let unknown = Refusal::UnknownNode { node: id("n9") };
    assert_eq!(desk.command(replace(&first, "n9")), Err(unknown));
    desk.until("a lease", |desk| {
        let view = desk.core.view(desk.now);
        let last = view.nodes.iter().find(|node| node.record.id == id("n5"));
        last.is_some_and(|node| node.leased)
    });
    desk.command(replace(&first, "n5")).expect("both are up");
    desk.until("another node", |desk| !desk.members().contains(&first));
    assert!(desk.members().contains("n5"), "{}", desk.members());
}

#[test]
fn a_node_that_is_down_is_forgotten_and_not_waited_for() {
    let mut settings = settings();
    let patient = replication::Settings {
        grace: Duration::from_secs(600),
        ..settings.replication.settings().clone()
    };
    settings.replication = Replication::new(patient).unwrap();
    let mut desk = Desk::new(settings, &["n1", "n2", "n3"]);
    desk.until_whole();
    desk.add_node("n4", true);
    let first = desk.primary();
    let node = id(&first);
    let remove = Command::Remove { node: node.clone() };
    let up = Refusal::NodeUp { node: node.clone() };
    assert_eq!(desk.command(remove.clone()), Err(up));
    desk.kill(&first);
    desk.until("another primary", |desk| desk.primary() != first);
    assert!(desk.members().contains(&first), "it may come back");
    desk.until("the end of its lease", |desk| {
        let view = desk.core.view(desk.now);
        view.nodes
            .iter()
            .any(|known| known.record.id == node && !known.leased)
    });
    desk.command(remove.clone()).expect("it is down");
    desk.until("another member", |desk| !desk.members().contains(&first));
    desk.until_whole();
    let view = desk.core.view(desk.now);
    assert!(view.nodes.iter().all(|known| known.record.id != node));
    assert_eq!(desk.command(remove), Err(Refusal::UnknownNode { node }));
}

#[test]
fn people_are_told_of_a_copy_that_fails_and_comes_back() {
    let mut desk = three();
    let failed = CopyTrouble {
        partition: shard(),
        kind: TroubleKind::NoRoom,
        error: "no room".to_owned(),
    };
    let told = |desk: &Desk| {
        let of_copies = desk
            .notices
            .iter()
            .filter(|notice| matches!(notice, Notice::CopyFailed { .. } | Notice::CopyBack { .. }));
        of_copies.map(Notice::kind).collect::<Vec<_>>()
    };
    let node = desk.nodes.get_mut(&id("n2")).unwrap();
    node.troubles = vec![failed.clone()];
    desk.until("event", |desk| !told(desk).is_empty());
    let view = desk.core.view(desk.now);
    let shown = &view.troubles[&shard()];
    assert_eq!(
        (&shown[0].node, shown[0].kind),
        (&id("n2"), TroubleKind::NoRoom)
    );
    // It is told once, though the text changes.
    desk.nodes.get_mut(&id("n2")).unwrap().troubles[0].error = "still none".to_owned();
    for _ in 0..50 {
        desk.step();
    }
    assert_eq!(told(&desk), ["copy-failed"]);
    // The next process of the node has none.
    desk.begin_session("n2");
    desk.nodes.get_mut(&id("n2")).unwrap().troubles.clear();
    desk.until("event", |desk| told(desk).len() > 1);
    assert_eq!(told(&desk), ["copy-failed", "copy-back"]);
    assert!(desk.core.view(desk.now).troubles.is_empty());
}

#[test]
fn whoever_has_just_begun_to_lead_says_whom_it_has_yet_to_hear() {
    let mut desk = Desk::new(settings(), &["n1", "n2", "n3"]);
    desk.until_whole();
    assert!(desk.core.view(desk.now).unheard.is_empty());
    // One that is gone is waited for until it is known to be down.
    desk.kill("n3");
    desk.restart_with(settings());
    let unheard = |desk: &Desk| {
        let view = desk.core.view(desk.now);
        assert!(view.is_leading || view.unheard.is_empty());
        view.is_leading.then(|| view.unheard.len())
    };
    desk.until("a leader", |desk| unheard(desk).is_some());
    // The others have answered by then.
    assert_eq!(unheard(&desk), Some(1));
    desk.until("the end of the other one", |desk| unheard(desk) == Some(0));
}

#[test]
fn the_primary_is_promoted_by_doing_nothing() {
    let mut desk = three();
    let primary = desk.primary();
    let before = desk.record(&shard());
    assert_eq!(desk.command(promote(&primary, false)), Ok(Done::with(0)));
    assert_eq!(desk.record(&shard()), before);
}
