//! What a migration does next, by its phase and what there is to see.

use shardwright_topology::{KeyspaceName, MemberChange, OperationKind, ShardId};

use super::*;

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn operation(phase: Phase) -> Operation {
    let shard = vec![ShardId::numbered(0)];
    Operation {
        id: OperationId::new("move-1").unwrap(),
        keyspace: KeyspaceName::main(),
        kind: OperationKind::Migrate,
        sources: shard.clone(),
        targets: shard,
        phase,
        error: None,
        paused: false,
        members: Some(MemberChange {
            from: id("n1"),
            to: id("n4"),
        }),
    }
}

fn members<const N: usize>(names: [&str; N]) -> BTreeSet<NodeId> {
    names.map(id).into()
}

/// The shard is held, its copies are whole, and nothing is there yet.
fn sight() -> Sight {
    Sight {
        serves: true,
        holder: Holder::Own,
        is_settled: true,
        members: members(["n1", "n2", "n3"]),
        from: Some(Standing::default()),
        to: None,
        is_up: [true; 2],
        refused: None,
        is_for_nothing: false,
        is_followed: false,
    }
}

fn copy(lag: Option<u64>, is_ready: bool) -> Option<Standing> {
    Some(Standing {
        is_whole: true,
        lag,
        is_ready,
        ..Standing::default()
    })
}

fn swapped() -> Sight {
    Sight {
        members: members(["n2", "n3", "n4"]),
        to: copy(Some(0), false),
        ..sight()
    }
}

#[track_caller]
fn check(phase: Phase, sight: Sight, expected: Step) {
    let found = next(&operation(phase), &sight);
    assert_eq!(found, expected, "{phase}: {sight:?}");
    if let Step::Enter(next, _) = found {
        assert!(phase.allows(next), "{phase} -> {next}");
    }
}

fn enter(phase: Phase) -> Step {
    Step::Enter(phase, None)
}

fn with(to: Option<Standing>) -> Sight {
    Sight { to, ..sight() }
}

#[test]
fn the_copy_is_made_and_filled_before_the_commit() {
    let free = Sight {
        holder: Holder::Nobody,
        ..sight()
    };
    let (ready, behind) = (copy(Some(0), true), copy(Some(9), false));
    check(Phase::Planned, free, Step::Hold);
    check(Phase::Planned, sight(), enter(Phase::Created));
    check(Phase::Created, sight(), Step::Wait);
    check(
        Phase::Created,
        with(copy(None, false)),
        enter(Phase::Copying),
    );
    check(Phase::Copying, with(copy(None, false)), Step::Wait);
    check(Phase::Copying, with(behind), enter(Phase::CatchingUp));
    check(Phase::CatchingUp, with(behind), Step::Wait);
    check(Phase::CatchingUp, with(ready), enter(Phase::Verified));
    check(Phase::Verified, with(behind), enter(Phase::CatchingUp));
    check(Phase::Verified, with(ready), enter(Phase::Sealing));
    check(Phase::Sealing, with(ready), enter(Phase::Sealed));
    check(Phase::Sealed, with(behind), Step::Wait);
    check(Phase::Sealed, with(ready), enter(Phase::Committed));
    let changing = Sight {
        is_settled: false,
        ..with(ready)
    };
    check(Phase::Sealed, changing, Step::Wait);
}

#[test]
fn after_the_commit_members_change_and_what_is_left_is_deleted() {
    check(Phase::Committed, with(copy(Some(0), true)), Step::Wait);
    let trying = Sight {
        is_settled: false,
        ..swapped()
    };
    check(Phase::Committed, trying, Step::Wait);
    check(Phase::Committed, swapped(), Step::LetGo);
    let free = || Sight {
        holder: Holder::Nobody,
        ..swapped()
    };
    check(Phase::Committed, free(), enter(Phase::CleaningUp));
    check(Phase::CleaningUp, free(), Step::Wait);
    let gone = Sight {
        from: None,
        ..free()
    };
    check(Phase::CleaningUp, gone, enter(Phase::Done));
    let away = Sight {
        is_up: [false, true],
        ..free()
    };
    check(Phase::CleaningUp, away, enter(Phase::Done));
    let followed = Sight {
        is_followed: true,
        ..free()
    };
    check(Phase::CleaningUp, followed, enter(Phase::Done));
    check(Phase::Done, free(), Step::Wait);
}

#[test]
fn what_cannot_be_is_aborted_and_leaves_nothing() {
    let open = [Phase::Planned, Phase::Copying, Phase::Sealed];
    let gone = "node n4 was removed".to_owned();
    let impossible = [
        Sight {
            serves: false,
            ..sight()
        },
        Sight {
            holder: Holder::Other(OperationId::new("split-1").unwrap()),
            ..sight()
        },
        swapped(),
        Sight {
            members: members(["n2", "n3"]),
            ..sight()
        },
        Sight {
            refused: Some(gone.clone()),
            ..sight()
        },
    ];
    for phase in open {
        for sight in &impossible {
            let step = next(&operation(phase), sight);
            let is_abort = matches!(step, Step::Enter(Phase::Aborting, Some(_)));
            assert!(is_abort, "{phase}: {step:?}");
        }
    }
    check(Phase::Aborting, with(copy(None, false)), Step::LetGo);
    let free = |to| Sight {
        holder: Holder::Nobody,
        ..with(to)
    };
    check(Phase::Aborting, free(copy(None, false)), Step::Wait);
    check(Phase::Aborting, free(None), enter(Phase::Aborted));
    let away = Sight {
        is_up: [true, false],
        ..free(copy(None, false))
    };
    check(Phase::Aborting, away, enter(Phase::Aborted));
    // It was decided that it takes the place, and it never will.
    let refused = Sight {
        refused: Some(gone.clone()),
        ..free(None)
    };
    check(
        Phase::Committed,
        refused.clone(),
        Step::Enter(Phase::CleaningUp, Some(gone)),
    );
    check(Phase::CleaningUp, refused, enter(Phase::Done));
}

#[test]
fn a_paused_one_stays_where_it_is_until_the_commit() {
    let ready = with(copy(Some(0), true));
    let paused = |phase| Operation {
        paused: true,
        ..operation(phase)
    };
    for phase in [Phase::Planned, Phase::Copying, Phase::Sealed] {
        assert_eq!(next(&paused(phase), &ready), Step::Wait, "{phase}");
    }
    assert_eq!(stage(Phase::Copying), Some(Stage::Fill), "the copy follows");
    assert_eq!(next(&paused(Phase::Committed), &swapped()), Step::LetGo);
}

#[test]
fn no_member_goes_before_the_commit_and_no_hold_outlives_the_end() {
    for phase in Phase::ALL {
        let swaps = stage(phase) == Some(Stage::Swap);
        let is_final = phase.is_final();
        assert_eq!(
            swaps,
            phase.decision() == Decision::Commit && !is_final,
            "{phase}"
        );
        if is_final {
            check(phase, sight(), Step::LetGo);
        }
    }
}
