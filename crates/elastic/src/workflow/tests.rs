//! The workflow against stores in memory, with writers, crashes, and answers that are late, lost or given twice.

mod world;

use std::time::Duration;

use proptest::prelude::*;
use shardwright_topology::{Lsn, OperationKind, Phase, Timestamp};

use self::world::{Trouble, World};
use super::{Action, Call, Event, Report, Workflow, Written};
use crate::{Changes, Digest, DigestAt, Entry, Import, Reply, Request, Settings, Version};

const KINDS: [OperationKind; 3] = [
    OperationKind::Split,
    OperationKind::Merge,
    OperationKind::Migrate,
];

fn quick() -> Settings {
    Settings {
        batch: crate::Batch {
            rows: 16,
            bytes: 1 << 20,
        },
        call_timeout: Duration::from_millis(300),
        ..Settings::local()
    }
}

#[test]
fn every_kind_of_operation_ends_with_every_row_in_its_place() {
    for kind in KINDS {
        let mut world = World::new(kind, quick(), 200);
        world.run(Trouble::none());
        assert_eq!(world.phase(), Phase::Done, "{kind:?}");
        world.check_end();
    }
}

#[test]
fn another_coordinator_goes_on_after_a_crash_at_any_write_of_the_journal() {
    for kind in KINDS {
        for after_write in [false, true] {
            for crash_at in 1..=9 {
                let mut world = World::new(kind, quick(), 120);
                world.run(Trouble {
                    crash_at: Some((crash_at, after_write)),
                    writes: true,
                    ..Trouble::none()
                });
                assert_eq!(world.phase(), Phase::Done, "{kind:?} crash {crash_at}");
                world.check_end();
            }
        }
    }
}

#[test]
fn a_cancelled_operation_leaves_the_sources_as_they_were() {
    for kind in KINDS {
        for cancel_at in 1..=6 {
            let mut world = World::new(kind, quick(), 120);
            world.run(Trouble {
                cancel_at: Some(cancel_at),
                writes: true,
                ..Trouble::none()
            });
            assert_eq!(world.phase(), Phase::Aborted, "{kind:?} cancel {cancel_at}");
            world.check_end();
        }
    }
}

#[test]
fn a_late_answer_of_the_journal_is_not_taken_for_a_later_one() {
    let mut world = World::new(OperationKind::Split, quick(), 10);
    let (call, record) = world.next_write(Phase::Created);
    // The change was made, and is read before its answer arrives.
    let version = Version(2);
    let entry = Box::new(Entry { record, version });
    world.tell(Event::Read(Some(entry)));
    let (later, _) = world.next_write(Phase::Copying);
    assert_ne!(call, later);
    let outcome = Written::Done(version);
    world.tell(Event::Wrote { call, outcome });
    assert_eq!(world.believed(), Phase::Created);
}

#[test]
fn a_cancel_stays_wanted_until_the_journal_has_it() {
    let mut world = World::new(OperationKind::Split, quick(), 10);
    let reason = "not wanted".to_owned();
    world.tell(Event::Cancel { reason });
    let (call, _) = world.next_write(Phase::Aborting);
    let outcome = Written::Unknown;
    world.tell(Event::Wrote { call, outcome });
    // It was not written, as is found by reading.
    world.next_write(Phase::Aborting);
}

#[test]
fn what_another_coordinator_has_applied_is_asked_of_the_target() {
    let mut world = World::new(OperationKind::Migrate, quick(), 40);
    world.settle_until(Phase::CatchingUp);
    world.overtake(20);
    world.run(Trouble::none());
    assert_eq!(world.phase(), Phase::Done, "{}", world.error());
    world.check_end();
}

#[test]
fn an_operation_ends_without_effect_if_changes_are_not_kept_for_it() {
    for kind in KINDS {
        let mut world = World::new(kind, quick(), 40);
        world.run(Trouble {
            trims: true,
            writes: true,
            ..Trouble::none()
        });
        assert_eq!(world.phase(), Phase::Aborted, "{kind:?}");
        assert!(
            world.error().contains("no longer kept"),
            "{}",
            world.error()
        );
        world.check_end();
    }
}

#[test]
fn a_commit_is_not_taken_back() {
    let mut world = World::new(OperationKind::Split, quick(), 50);
    world.run(Trouble {
        cancel_at: Some(8),
        ..Trouble::none()
    });
    assert_eq!(world.phase(), Phase::Done);
    world.check_end();
}

#[test]
fn writers_that_are_faster_than_the_copy_are_held_back_until_it_has_caught_up() {
    let settings = Settings {
        batch: crate::Batch {
            rows: 4,
            bytes: 1 << 20,
        },
        lag_max: 10,
        patience: Duration::from_millis(200),
        ..quick()
    };
    let mut world = World::new(OperationKind::Migrate, settings, 100);
    world.run(Trouble {
        writes: true,
        // More in the time of one call than a call copies.
        burst: 12,
        ..Trouble::none()
    });
    assert_eq!(world.phase(), Phase::Done);
    let held_back = |report: &Report| matches!(report, Report::HeldBack { .. });
    assert!(world.reports.iter().any(held_back), "{:?}", world.reports);
    world.check_end();
}

#[test]
fn a_paused_operation_waits_and_goes_on_when_it_is_resumed() {
    let mut world = World::new(OperationKind::Split, quick(), 200);
    world.tell(Event::Pause);
    world.settle();
    let before = world.phase();
    world.advance(Duration::from_secs(60));
    assert_eq!(world.phase(), before, "it waits");
    world.tell(Event::Resume);
    world.run(Trouble::none());
    assert_eq!(world.phase(), Phase::Done);
    world.check_end();
}

#[test]
fn an_operation_that_is_sealing_is_not_paused_any_more() {
    let mut world = World::new(OperationKind::Split, quick(), 20);
    world.settle_until(Phase::Sealing);
    world.tell(Event::Pause);
    world.run(Trouble::none());
    assert_eq!((world.phase(), world.is_paused()), (Phase::Done, false));
}

#[test]
fn a_seal_that_lasts_too_long_is_given_up_and_writes_go_on() {
    let mut world = World::new(OperationKind::Split, quick(), 60);
    world.run(Trouble {
        lose_from: Some(Phase::Sealing),
        ..Trouble::none()
    });
    assert_eq!(world.phase(), Phase::Aborted);
    assert!(world.error().contains("sealed for too long"));
    world.check_end();
}

#[test]
fn an_abort_ends_although_the_node_of_a_target_is_gone() {
    let mut world = World::new(OperationKind::Migrate, quick(), 60);
    world.settle_until(Phase::Copying);
    let reason = "its node is gone".to_owned();
    world.tell(Event::Cancel { reason });
    world.run(Trouble {
        gone: Some("n2"),
        ..Trouble::none()
    });
    assert_eq!(world.phase(), Phase::Aborted);
}

#[test]
fn a_target_that_differs_is_never_switched_to() {
    let mut world = World::new(OperationKind::Migrate, quick(), 60);
    world.run(Trouble {
        corrupt: true,
        ..Trouble::none()
    });
    assert_eq!(world.phase(), Phase::Aborted);
    assert!(world.error().contains("differs"), "{}", world.error());
    world.check_end();
}

#[test]
fn a_bound_on_bytes_makes_the_copy_take_its_time() {
    let settings = Settings {
        bytes_per_second: Some(1_000),
        ..quick()
    };
    let mut world = World::new(OperationKind::Migrate, settings, 200);
    let bytes = world.bytes();
    world.run(Trouble::none());
    assert_eq!(world.phase(), Phase::Done);
    let least = Duration::from_secs(bytes / 1_000).saturating_sub(Duration::from_secs(1));
    assert!(
        world.elapsed() >= least,
        "{:?} for {bytes}",
        world.elapsed()
    );
}

#[test]
fn the_sources_are_kept_for_the_time_of_grace() {
    let settings = Settings {
        grace: Duration::from_secs(100),
        ..quick()
    };
    let mut world = World::new(OperationKind::Split, settings, 20);
    world.settle_until(Phase::CleaningUp);
    assert!(world.has_sources());
    world.run(Trouble::none());
    assert!(world.elapsed() >= Duration::from_secs(100));
    assert!(!world.has_sources());
}

/// Answers for a source whose last write is 5, and whose log has gone on to 7, and for a target that is as far as `applied`.
fn answer_after_the_seal(request: Request, applied: &mut Lsn) -> Reply {
    let digest_at = |position| DigestAt {
        position,
        digest: Digest::default(),
        counts_all: true,
    };
    let import = |applied| Import {
        complete: true,
        ..Import::begun(applied)
    };
    match request {
        Request::Follow { .. } => Reply::Position(*applied),
        Request::Seal { .. } => Reply::Position(Lsn(5)),
        Request::Imported { .. } => Reply::Import(import(*applied)),
        Request::Changes { after, up_to, .. } => {
            let through = up_to.unwrap_or(Lsn(5));
            Reply::Changes(Changes {
                after,
                changes: Vec::new(),
                through,
                head: through,
            })
        }
        Request::Apply { changes, .. } => {
            *applied = changes.through;
            Reply::Import(import(*applied))
        }
        Request::Digest { .. } => Reply::Digest(digest_at(Lsn(7))),
        Request::DigestOfImport { .. } => Reply::Digest(digest_at(*applied)),
        _ => Reply::Done,
    }
}

#[test]
fn a_source_whose_log_goes_on_after_the_seal_is_compared_all_the_same() {
    let mut world = World::new(OperationKind::Migrate, quick(), 10);
    world.settle_until(Phase::Verified);
    let (_, record) = world.next_write(Phase::Sealing);
    let now = Timestamp(Duration::from_secs(1));
    let version = Version(1);
    let mut workflow = Workflow::new(quick(), Entry { record, version }, now);
    let mut actions = Vec::new();
    workflow.handle(now, Event::Tick, &mut actions);
    let mut applied = Lsn(3);
    while !actions.is_empty() {
        match actions.remove(0) {
            Action::Call(Call { id, request, .. }) => {
                let outcome = Ok(answer_after_the_seal(request, &mut applied));
                let replied = Event::Replied { call: id, outcome };
                workflow.handle(now, replied, &mut actions);
            }
            Action::Write { record, .. } => {
                assert_eq!((record.phase(), applied), (Phase::Sealed, Lsn(7)));
                return;
            }
            _ => {}
        }
    }
    panic!("nobody goes on");
}

#[test]
fn a_copy_that_catches_up_rests_for_as_long_as_its_changes_took() {
    let mut world = World::new(OperationKind::Migrate, quick(), 10);
    world.settle_until(Phase::Copying);
    let (_, record) = world.next_write(Phase::CatchingUp);
    let (mut now, took) = (Timestamp(Duration::from_secs(1)), Duration::from_millis(40));
    let version = Version(1);
    let mut workflow = Workflow::new(quick(), Entry { record, version }, now);
    let (mut actions, mut applied) = (Vec::new(), Lsn(3));
    workflow.handle(now, Event::Tick, &mut actions);
    while !actions.is_empty() {
        let Action::Call(Call { id, request, .. }) = actions.remove(0) else {
            continue;
        };
        let applies = matches!(request, Request::Apply { .. });
        let outcome = match request {
            Request::Changes { after, .. } => Ok(Reply::Changes(Changes {
                after,
                changes: Vec::new(),
                through: Lsn(after.0 + 1),
                head: Lsn(1_000),
            })),
            request => Ok(answer_after_the_seal(request, &mut applied)),
        };
        if applies {
            now = now + took;
        }
        workflow.handle(now, Event::Replied { call: id, outcome }, &mut actions);
        if applies {
            break;
        }
    }
    let asks = |actions: &[Action]| {
        let mut calls = actions.iter().filter_map(|action| match action {
            Action::Call(call) => Some(&call.request),
            _ => None,
        });
        calls.any(|request| matches!(request, Request::Changes { .. }))
    };
    assert!(!asks(&actions), "{actions:?}");
    let wakes = |action: &Action| matches!(action, Action::WakeAt(at) if *at == now + took);
    assert!(actions.iter().any(wakes), "{actions:?}");
    actions.clear();
    workflow.handle(now + took, Event::Tick, &mut actions);
    assert!(asks(&actions), "{actions:?}");
    let lane = &mut workflow.lanes[0];
    assert!(now < lane.retry_at);
    lane.enter(Phase::Sealing, 0);
    assert!(lane.retry_at <= now, "a seal waits for no rest");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_write_is_lost_or_doubled_whatever_happens(
        kind in prop::sample::select(KINDS.to_vec()),
        seed: u64,
        burst in 0_usize..3,
        crash_at in prop::option::of((1_usize..9, any::<bool>())),
        cancel_at in prop::option::weighted(0.2, 1_usize..8),
    ) {
        let mut world = World::new(kind, quick(), 80);
        world.run(Trouble {
            crash_at,
            cancel_at,
            writes: true,
            burst,
            chaos: Some(seed),
            ..Trouble::none()
        });
        prop_assert!(world.phase().is_final());
        world.check_end();
    }
}
