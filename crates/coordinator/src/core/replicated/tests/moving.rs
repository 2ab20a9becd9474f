//! Shards that move from one of their members to another node.

use shardwright_topology::{
    Hold, KeyRange, NodeId, Operation, OperationId, Phase, ShardRecord, ShardState, Side,
};

use super::desk::{Desk, id, settings, shard};
use crate::core::{Command, Done, Refusal, Steering};

/// Three whole copies, and a fourth node. A shard without a range takes part in no other operation.
fn four(has_range: bool) -> Desk {
    let mut desk = Desk::new(settings(), &["n1", "n2", "n3"]);
    desk.change(|record| ShardRecord {
        range: has_range.then_some(KeyRange::ALL),
        ..record
    });
    desk.until_whole();
    desk.add_node("n4", true);
    for _ in 0..20 {
        desk.step();
    }
    desk
}

fn replica(desk: &Desk) -> String {
    let names = ["n1", "n2", "n3"].into_iter();
    let mut others = names.filter(|name| *name != desk.primary());
    others.next().unwrap().to_owned()
}

fn to_n4(from: Option<&str>) -> Command {
    Command::Move {
        partition: shard(),
        from: from.map(id),
        to: id("n4"),
    }
}

impl Desk {
    #[track_caller]
    fn begin(&mut self, command: Command) -> OperationId {
        let done = self.command(command).expect("it may move");
        assert_eq!(done.changes, 1);
        done.operation.expect("it goes on")
    }

    #[track_caller]
    fn until_phase(&mut self, operation: &OperationId, phase: Phase) {
        self.until(&phase.to_string(), |desk| {
            desk.operation(operation).phase == phase
        });
    }

    fn steer(&mut self, operation: &OperationId, steering: Steering) -> Result<Done, Refusal> {
        let operation = operation.clone();
        self.command(Command::Steer {
            operation,
            steering,
        })
    }

    #[track_caller]
    fn check_moved(&mut self, operation: &OperationId, from: &str) {
        self.until_phase(operation, Phase::Done);
        let expected: Vec<_> = ["n1", "n2", "n3", "n4"]
            .into_iter()
            .filter(|name| *name != from)
            .collect();
        assert_eq!(self.members(), expected.join(" "));
        assert!(!self.has_copy(from), "it is deleted");
        let record = self.record(&shard());
        assert_eq!((record.hold, record.state), (None, ShardState::Serving));
        assert_ne!(self.primary(), from);
    }

    #[track_caller]
    fn check_not_moved(&mut self, operation: &OperationId) -> Option<String> {
        self.until_phase(operation, Phase::Aborted);
        assert_eq!(self.members(), "n1 n2 n3");
        let record = self.record(&shard());
        assert_eq!((record.hold, record.state), (None, ShardState::Serving));
        self.operation(operation).error
    }
}

#[test]
fn a_member_gives_its_place_to_a_copy_on_the_node_that_was_named() {
    for has_range in [true, false] {
        let mut desk = four(has_range);
        let from = replica(&desk);
        let moved = desk.begin(to_n4(Some(&from)));
        desk.until("copy", |desk| desk.has_copy("n4"));
        assert_eq!(desk.record(&shard()).hold.is_some(), has_range);
        desk.check_moved(&moved, &from);
        desk.until_whole();
        let view = desk.core.view(desk.now);
        assert_eq!(view.operations[0].phase, Phase::Done);
    }
}

#[test]
fn the_primary_moves_if_nobody_is_named() {
    let mut desk = four(true);
    let from = desk.primary();
    let moved = desk.begin(to_n4(None));
    desk.check_moved(&moved, &from);
}

#[test]
fn a_move_to_a_member_in_sync_is_a_hand_over() {
    let mut desk = four(true);
    let (primary, to) = (desk.primary(), replica(&desk));
    let command = Command::Move {
        partition: shard(),
        from: None,
        to: id(&to),
    };
    assert_eq!(desk.command(command), Ok(Done::with(1)));
    assert_eq!((desk.primary(), desk.members().as_str()), (to, "n1 n2 n3"));
    assert_ne!(desk.primary(), primary);
}

#[test]
fn whoever_leads_next_carries_it_on() {
    for phase in [Phase::Created, Phase::CatchingUp, Phase::Committed] {
        let mut desk = four(true);
        let from = desk.primary();
        let moved = desk.begin(to_n4(None));
        desk.until_phase(&moved, phase);
        desk.restart_with(settings());
        desk.check_moved(&moved, &from);
    }
}

#[test]
fn a_move_that_is_cancelled_leaves_nothing() {
    for phase in [Phase::Created, Phase::CatchingUp] {
        let mut desk = four(true);
        let moved = desk.begin(to_n4(None));
        desk.until_phase(&moved, phase);
        desk.steer(&moved, Steering::Cancel).expect("it is open");
        let error = desk.check_not_moved(&moved);
        assert_eq!(error.as_deref(), Some("cancelled"));
        assert!(!desk.has_copy("n4"));
        let again = desk.steer(&moved, Steering::Cancel);
        assert_eq!(again.map(|done| done.changes), Ok(0));
        let refused = desk.steer(&moved, Steering::Resume).unwrap_err();
        assert_eq!(refused.code(), "TOO_LATE");
        let again = desk.begin(to_n4(None));
        let from = desk.primary();
        desk.check_moved(&again, &from);
    }
}

#[test]
fn a_move_that_has_committed_is_not_cancelled_but_reversed() {
    let mut desk = four(true);
    let from = replica(&desk);
    let moved = desk.begin(to_n4(Some(&from)));
    desk.until_phase(&moved, Phase::Committed);
    let refused = desk.steer(&moved, Steering::Cancel).unwrap_err();
    assert_eq!(refused.code(), "TOO_LATE");
    desk.check_moved(&moved, &from);
    let back = desk.steer(&moved, Steering::Reverse).expect("it is done");
    let back = back.operation.expect("another one");
    desk.until_phase(&back, Phase::Done);
    assert_eq!(desk.members(), "n1 n2 n3");
    assert!(!desk.has_copy("n4"));
}

#[test]
fn a_paused_move_changes_no_member() {
    let mut desk = four(true);
    let from = replica(&desk);
    let moved = desk.begin(to_n4(Some(&from)));
    desk.until_phase(&moved, Phase::Created);
    desk.steer(&moved, Steering::Pause).expect("it is open");
    for _ in 0..200 {
        desk.step();
    }
    let Operation { phase, paused, .. } = desk.operation(&moved);
    assert_eq!((phase, paused), (Phase::Created, true));
    assert!(desk.has_copy("n4"), "it is filled all the same");
    assert_eq!(desk.members(), "n1 n2 n3");
    let refused = desk.steer(&moved, Steering::Reverse).unwrap_err();
    assert_eq!(refused.code(), "TOO_LATE", "it is not done");
    desk.steer(&moved, Steering::Resume).expect("it is open");
    desk.check_moved(&moved, &from);
}

#[test]
fn a_target_that_is_gone_is_waited_for_until_it_is_removed() {
    let mut desk = four(true);
    let moved = desk.begin(to_n4(None));
    desk.until_phase(&moved, Phase::CatchingUp);
    desk.kill("n4");
    for _ in 0..200 {
        desk.step();
    }
    let phase = desk.operation(&moved).phase;
    assert!(phase < Phase::Committed, "{phase}");
    assert_eq!(
        (desk.members().as_str(), desk.condition()),
        ("n1 n2 n3", "whole")
    );
    let node = id("n4");
    desk.command(Command::Remove { node }).expect("it is down");
    let error = desk.check_not_moved(&moved);
    assert_eq!(error.as_deref(), Some("node n4 was removed"));
}

#[test]
fn a_shard_takes_part_in_one_operation_at_a_time() {
    let mut desk = four(true);
    let from = replica(&desk);
    let moved = desk.begin(to_n4(Some(&from)));
    let refused = desk.command(to_n4(Some(&from)));
    let held = Refusal::Held {
        partition: shard(),
        operation: moved.clone(),
    };
    assert_eq!(refused, Err(held));
    desk.check_moved(&moved, &from);

    let mut desk = four(true);
    let split = OperationId::new("split-1").unwrap();
    let hold = Hold {
        operation: split.clone(),
        side: Side::Source,
    };
    desk.change(|record| ShardRecord {
        hold: Some(hold),
        ..record
    });
    desk.step();
    let held = Refusal::Held {
        partition: shard(),
        operation: split,
    };
    assert_eq!(desk.command(to_n4(None)), Err(held));
}

#[test]
fn a_move_that_cannot_be_is_refused() {
    let mut desk = four(true);
    let (primary, other) = (desk.primary(), replica(&desk));
    let command = |from: Option<NodeId>, to: &str| Command::Move {
        partition: shard(),
        from,
        to: id(to),
    };
    let codes = [
        (command(None, "n9"), "UNKNOWN_NODE"),
        (command(None, &primary), "HOLDS"),
        (command(Some(id(&primary)), &primary), "HOLDS"),
        (command(Some(id("n4")), "n4"), "NOT_HOLDER"),
        (command(Some(id(&other)), &primary), "HOLDS"),
    ];
    for (command, code) in codes {
        let refused = desk.command(command.clone()).unwrap_err();
        assert_eq!(refused.code(), code, "{command:?}");
    }
    desk.add_node("a0", false);
    for _ in 0..20 {
        desk.step();
    }
    let refused = desk.command(command(None, "a0")).unwrap_err();
    assert_eq!(refused.code(), "NOT_ACCEPTING", "it keeps no copies");
    let unknown = OperationId::new("move-1").unwrap();
    let refused = desk.steer(&unknown, Steering::Pause).unwrap_err();
    assert_eq!(refused.code(), "OPERATION_NOT_FOUND");
}

#[test]
fn a_copy_is_asked_for_and_never_a_hand_over() {
    let mut desk = four(true);
    let (primary, other) = (desk.primary(), replica(&desk));
    let command = |to: &str, dry_run: bool| Command::Migrate {
        partition: shard(),
        from: None,
        to: id(to),
        dry_run,
    };
    for dry_run in [true, false] {
        let refused = desk.command(command(&other, dry_run)).unwrap_err();
        assert_eq!(refused.code(), "HOLDS");
    }
    assert_eq!(desk.command(command("n4", true)), Ok(Done::with(1)));
    let view = desk.core.view(desk.now);
    assert!(view.operations.is_empty(), "nothing has begun");
    let moved = desk.begin(command("n4", false));
    let refused = desk.command(command("n4", true)).unwrap_err();
    assert_eq!(refused.code(), "IN_OPERATION");
    desk.until_phase(&moved, Phase::CatchingUp);
    let view = desk.core.view(desk.now);
    let known = &view.replicated[&shard()];
    assert!(known.lags.contains_key(&id("n4")), "{known:?}");
    desk.check_moved(&moved, &primary);
}
