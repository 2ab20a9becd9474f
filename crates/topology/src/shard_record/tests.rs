//! The transitions of a shard record.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    ConfigId, Incarnation, InvalidConfig, Member, Operation, OperationKind, Phase, Primary,
    Proposal, ReplicaId,
};

fn node(number: u128) -> NodeId {
    NodeId::new(format!("n{number}")).expect("a valid name")
}

fn operation_id(name: &str) -> OperationId {
    OperationId::new(name).expect("a valid name")
}

fn operation(phase: Phase) -> Operation {
    Operation {
        id: operation_id("op-1"),
        keyspace: KeyspaceName::main(),
        kind: OperationKind::Migrate,
        sources: vec![ShardId::numbered(0)],
        targets: vec![ShardId::numbered(9)],
        phase,
        error: None,
        paused: false,
        members: None,
    }
}

/// Copies are numbered like their nodes; the first is primary.
fn proposal(config: u128, copies: &[u128], w: u32) -> Proposal {
    let member = |copy: &u128| Member {
        node: node(*copy),
        replica_id: ReplicaId::from_bits(*copy),
    };
    Proposal {
        config_id: ConfigId::from_bits(config),
        primary: Primary {
            node: node(copies[0]),
            incarnation: Incarnation(1),
        },
        members: copies.iter().map(member).collect(),
        w,
        zones: 1,
    }
}

fn clean(copies: &[u128]) -> Conditions {
    Conditions {
        clean: copies.iter().copied().map(ReplicaId::from_bits).collect(),
        w_min: 1,
    }
}

fn shard() -> ShardRecord {
    ShardRecord::new(
        KeyspaceName::main(),
        ShardId::numbered(0),
        Some(KeyRange::ALL),
    )
}

fn replicated() -> ShardRecord {
    shard()
        .begin_attempt(proposal(1, &[1, 2, 3], 2), &clean(&[1, 2, 3]))
        .and_then(|record| record.activate(ConfigId::from_bits(1)))
        .expect("a first configuration")
}

#[test]
fn a_first_configuration_has_the_first_epoch() {
    assert_eq!(shard().active_epoch(), Epoch::UNASSIGNED);
    let record = replicated();
    assert_eq!(
        (record.epoch, record.active_epoch()),
        (Epoch::INITIAL, Epoch::INITIAL)
    );
    assert_eq!(record.primary(), Some(&node(1)));
    assert_eq!(record.pending, None);
}

#[test]
fn an_attempt_leaves_the_active_configuration_as_it_is() {
    let record = replicated();
    let tried = record
        .begin_attempt(proposal(2, &[2, 3], 2), &clean(&[2, 3]))
        .expect("enough");
    assert_eq!(tried.active, record.active);
    assert_eq!(tried.epoch, Epoch(2));
    let again = tried
        .begin_attempt(proposal(3, &[3, 2], 2), &clean(&[2, 3]))
        .expect("enough");
    assert_eq!(
        again.active, record.active,
        "an attempt recovers from the last active one"
    );
    assert_eq!(
        again.pending.as_ref().map(|config| config.epoch),
        Some(Epoch(3))
    );
    let late = tried.pending.expect("an attempt").config_id;
    let refused = AttemptRefused::NotPending {
        shard: ShardId::numbered(0),
        config_id: late,
        epoch: Epoch(3),
    };
    assert_eq!(
        again.activate(late),
        Err(refused),
        "an attempt that was replaced is never activated"
    );
}

#[test]
fn activating_twice_is_activating_once() {
    let record = replicated();
    assert_eq!(record.activate(ConfigId::from_bits(1)), Ok(record.clone()));
}

#[test]
fn a_copy_that_is_not_known_to_be_whole_cannot_be_a_member() {
    let refused = replicated().begin_attempt(proposal(2, &[2, 4], 2), &clean(&[1, 2, 3]));
    let replica_id = ReplicaId::from_bits(4);
    let expect = AttemptRefused::UncleanMember {
        shard: ShardId::numbered(0),
        replica_id,
    };
    assert_eq!(refused, Err(expect));
}

#[test]
fn a_commit_width_below_the_least_is_refused() {
    let strict = Conditions {
        w_min: 2,
        ..clean(&[1, 2, 3])
    };
    let refused = replicated().begin_attempt(proposal(2, &[2, 3], 1), &strict);
    let expect = AttemptRefused::TooNarrow {
        shard: ShardId::numbered(0),
        w: 1,
        w_min: 2,
    };
    assert_eq!(refused, Err(expect));
}

#[test]
fn without_a_recovery_quorum_only_an_accepted_loss_goes_on() {
    let record = replicated();
    let (alone, conditions) = (proposal(2, &[3], 1), clean(&[3]));
    let refused = record.begin_attempt(alone.clone(), &conditions);
    let expect = AttemptRefused::TooFewClean {
        shard: ShardId::numbered(0),
        clean: 1,
        needed: 2,
    };
    assert_eq!(refused, Err(expect));
    let forced = record
        .begin_attempt_accepting_loss(alone, &conditions)
        .expect("accepted");
    assert_eq!(forced.data_loss_generation, 1);
    assert!(forced.accepts_loss() && !record.accepts_loss());
    let all = clean(&[1, 2, 3]);
    let next = forced.begin_attempt(proposal(3, &[1, 3], 2), &all);
    let next = next.expect("enough are back");
    assert!(!next.accepts_loss(), "it was accepted for one attempt");
    assert_eq!(
        (next.data_loss_generation, next.loss_accepted_at),
        (1, Some(Epoch(2)))
    );
}

#[test]
fn a_copy_with_a_new_id_does_not_count_for_the_recovery() {
    let refused = replicated().begin_attempt(proposal(2, &[3], 1), &clean(&[3, 11, 12]));
    assert!(
        matches!(refused, Err(AttemptRefused::TooFewClean { clean: 1, .. })),
        "{refused:?}"
    );
}

#[test]
fn a_proposal_that_contradicts_itself_is_refused() {
    let refused = shard().begin_attempt(proposal(1, &[1], 2), &clean(&[1]));
    let reason = InvalidConfig::Width { w: 2, members: 1 };
    assert_eq!(
        refused,
        Err(AttemptRefused::Invalid {
            shard: ShardId::numbered(0),
            reason
        })
    );
}

#[test]
fn a_shard_takes_part_in_one_operation_at_a_time() {
    let held = shard().hold_by(&operation_id("op-1")).expect("free");
    assert_eq!(held.hold_by(&operation_id("op-1")), Ok(held.clone()));
    let refused = HoldRefused::HeldByAnother {
        shard: ShardId::numbered(0),
        holder: operation_id("op-1"),
        operation: operation_id("op-2"),
    };
    assert_eq!(held.hold_by(&operation_id("op-2")), Err(refused));
}

#[test]
fn only_the_operation_that_holds_a_source_seals_it() {
    let not_held = HoldRefused::NotHeld {
        shard: ShardId::numbered(0),
        operation: operation_id("op-2"),
    };
    assert_eq!(
        shard().seal_by(&operation_id("op-2")),
        Err(not_held.clone())
    );
    let held = shard().hold_by(&operation_id("op-1")).expect("free");
    assert_eq!(held.seal_by(&operation_id("op-2")), Err(not_held));
    let sealed = held.seal_by(&operation_id("op-1")).expect("held");
    assert_eq!(sealed.state, ShardState::Sealed);
    assert_eq!(sealed.seal_by(&operation_id("op-1")), Ok(sealed.clone()));
}

#[test]
fn a_hold_ends_with_the_decision_and_not_before() {
    let sealed = shard()
        .hold_by(&operation_id("op-1"))
        .and_then(|held| held.seal_by(&operation_id("op-1")))
        .expect("free");
    let undecided = HoldRefused::Undecided {
        shard: ShardId::numbered(0),
        operation: operation_id("op-1"),
    };
    assert_eq!(sealed.resolve(&operation(Phase::Sealed)), Err(undecided));
    let kept = sealed
        .resolve(&operation(Phase::Aborting))
        .expect("decided");
    assert_eq!((kept.state, kept.hold), (ShardState::Serving, None));
    let gone = sealed
        .resolve(&operation(Phase::Committed))
        .expect("decided");
    assert_eq!((gone.state, gone.hold.clone()), (ShardState::Retired, None));
    assert_eq!(
        gone.resolve(&operation(Phase::Committed)),
        Ok(gone.clone()),
        "again is the same"
    );
}

#[test]
fn the_decision_of_another_operation_changes_nothing() {
    let held = shard().hold_by(&operation_id("op-2")).expect("free");
    assert_eq!(held.resolve(&operation(Phase::Committed)), Ok(held.clone()));
}

#[test]
fn the_stored_form_of_a_record_is_pinned() {
    let record = replicated().hold_by(&operation_id("op-1")).expect("free");
    let stored = serde_json::to_string(&record).expect("texts and numbers");
    let expect = concat!(
        r#"{"id":"shard-0","keyspace":"main","range":{"start":"0000000000000000","end":null},"#,
        r#""state":"serving","epoch":1,"active":{"epoch":1,"#,
        r#""config_id":"00000000000000000000000000000001","#,
        r#""primary":{"node":"n1","incarnation":1},"members":["#,
        r#"{"node":"n1","replica_id":"00000000000000000000000000000001"},"#,
        r#"{"node":"n2","replica_id":"00000000000000000000000000000002"},"#,
        r#"{"node":"n3","replica_id":"00000000000000000000000000000003"}],"w":2,"zones":1},"#,
        r#""pending":null,"hold":{"operation":"op-1","side":"source"},"data_loss_generation":0,"#,
        r#""loss_accepted_at":null}"#,
    );
    assert_eq!(stored, expect);
    assert_eq!(
        serde_json::from_str::<ShardRecord>(&stored).expect("as written"),
        record
    );
}

#[test]
fn the_shard_that_a_target_is_made_beside_is_stored_if_there_is_one() {
    let target = ShardRecord::target_of(
        operation_id("op-1"),
        KeyspaceName::main(),
        ShardId::numbered(9),
        KeyRange::ALL,
    );
    let stored = serde_json::to_value(&target).expect("texts and numbers");
    assert_eq!(stored.get("beside"), None);
    let target = target.replicated().beside(ShardId::numbered(0));
    let stored = serde_json::to_value(&target).expect("texts and numbers");
    assert_eq!(stored["beside"], "shard-0");
    assert_eq!(
        serde_json::from_value::<ShardRecord>(stored).expect("as written"),
        target
    );
    assert_eq!(target.check_invariants(), Ok(()));
}

#[test]
fn a_field_from_a_later_format_is_refused() {
    let mut value = serde_json::to_value(shard()).expect("texts and numbers");
    value["colour"] = "green".into();
    let refused = serde_json::from_value::<ShardRecord>(value).expect_err("an unknown field");
    assert!(refused.to_string().contains("colour"), "{refused}");
}

#[derive(Debug, Clone)]
enum Step {
    Attempt {
        copies: Vec<u128>,
        w: u32,
        clean: Vec<u128>,
        force: bool,
    },
    Activate {
        config: u128,
    },
    Hold,
    Seal,
    Resolve {
        phase: Phase,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let copies = || prop::collection::btree_set(1_u128..5, 1..4).prop_map(Vec::from_iter);
    let attempt = (copies(), 0_u32..4, copies(), any::<bool>());
    let step = prop_oneof![
        4 => attempt.prop_map(|(copies, w, clean, force)| Step::Attempt { copies, w, clean, force }),
        4 => (0_u128..40).prop_map(|config| Step::Activate { config }),
        1 => Just(Step::Hold),
        1 => Just(Step::Seal),
        1 => prop::sample::select(&Phase::ALL[..]).prop_map(|phase| Step::Resolve { phase }),
    ];
    prop::collection::vec(step, 0..40)
}

fn take(record: &ShardRecord, number: u128, step: Step) -> Option<ShardRecord> {
    match step {
        Step::Attempt {
            copies,
            w,
            clean: whole,
            force,
        } => {
            let (proposal, conditions) = (proposal(number, &copies, w), clean(&whole));
            if force {
                record
                    .begin_attempt_accepting_loss(proposal, &conditions)
                    .ok()
            } else {
                record.begin_attempt(proposal, &conditions).ok()
            }
        }
        Step::Activate { config } => record.activate(ConfigId::from_bits(config)).ok(),
        Step::Hold => record.hold_by(&operation_id("op-1")).ok(),
        Step::Seal => record.seal_by(&operation_id("op-1")).ok(),
        Step::Resolve { phase } => record.resolve(&operation(phase)).ok(),
    }
}

proptest! {
    #[test]
    fn invariants_hold_and_epochs_only_grow_after_any_sequence_of_transitions(steps in steps()) {
        let mut record = shard();
        let mut configs = BTreeSet::new();
        for (number, step) in (0..).zip(steps) {
            let Some(next) = take(&record, number, step) else { continue };
            prop_assert_eq!(next.check_invariants(), Ok(()));
            prop_assert!(next.epoch >= record.epoch && next.active_epoch() >= record.active_epoch());
            prop_assert!(next.data_loss_generation >= record.data_loss_generation);
            prop_assert_eq!(next.range, record.range);
            if let Some(active) = next.active.as_ref().filter(|_| next.active != record.active) {
                prop_assert!(configs.insert(active.epoch), "one configuration has an epoch");
            }
            record = next;
        }
    }
}
