//! One put: levels, replacements, repairs, and the bugs of the original.

use super::*;
use Replica::Local;

fn peer(number: u32) -> Replica {
    Replica::Peer(PeerIndex(number))
}

/// A put of this factor that has begun, with that many peers to stand in.
fn begun(level: CommitLevel, factor: usize, spares: usize, repairs_max: u32) -> Put {
    let settings = Settings {
        replication_factor: factor,
        repairs_max,
        ..Settings::default()
    };
    let all: Vec<PeerIndex> = (0..).map(PeerIndex).take(factor - 1 + spares).collect();
    let mut put = Put::new(&settings, level, &all[..factor - 1], &all[..]);
    assert_eq!(starts(&tell(&mut put, Event::Begin)).len(), factor);
    put
}

fn tell(put: &mut Put, event: Event) -> Vec<Action> {
    tell_at(put, Timestamp::default(), event)
}

fn tell_at(put: &mut Put, now: Timestamp, event: Event) -> Vec<Action> {
    let mut actions = Vec::new();
    put.handle(now, event, &mut actions);
    actions
}

fn starts(actions: &[Action]) -> Vec<Replica> {
    let started = actions.iter().filter_map(|action| match action {
        Action::Start { replica, .. } => Some(*replica),
        Action::Acknowledge { .. }
        | Action::Fail { .. }
        | Action::WakeAt(_)
        | Action::Report { .. } => None,
    });
    started.collect()
}

#[test]
fn one_is_the_local_store() {
    let mut put = begun(CommitLevel::One, 3, 0, 0);
    assert!(tell(&mut put, Event::Stored(peer(0))).is_empty());
    assert_eq!(
        tell(&mut put, Event::Stored(Local)),
        [Action::Acknowledge { copies: 2 }]
    );
    let mut put = begun(CommitLevel::One, 3, 5, 0);
    tell(&mut put, Event::Stored(peer(0)));
    assert_eq!(
        tell(&mut put, Event::Failed(Local)),
        [Action::Fail { copies: 1 }]
    );
}

#[test]
fn a_factor_of_one_is_the_local_store_at_every_level() {
    for level in [CommitLevel::One, CommitLevel::Quorum, CommitLevel::All] {
        let mut put = begun(level, 1, 3, 0);
        assert_eq!(
            tell(&mut put, Event::Failed(Local)),
            [Action::Fail { copies: 0 }]
        );
    }
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    let mut put = begun(CommitLevel::Quorum, 3, 0, 0);
    assert!(tell(&mut put, Event::Stored(peer(0))).is_empty());
    assert!(tell(&mut put, Event::Stored(peer(0))).is_empty());
    assert!(tell(&mut put, Event::Failed(peer(0))).is_empty());
    assert_eq!(
        tell(&mut put, Event::Stored(peer(1))),
        [Action::Acknowledge { copies: 2 }]
    );
}

#[test]
fn a_failure_is_replaced_by_a_peer_that_was_not_tried() {
    let mut put = begun(CommitLevel::All, 3, 1, 0);
    assert_eq!(starts(&tell(&mut put, Event::Failed(peer(0)))), [peer(2)]);
    assert!(tell(&mut put, Event::Failed(peer(0))).is_empty());
    tell(&mut put, Event::Stored(Local));
    tell(&mut put, Event::Stored(peer(1)));
    assert_eq!(
        tell(&mut put, Event::Stored(peer(2))),
        [Action::Acknowledge { copies: 3 }]
    );
}

#[test]
fn the_caller_fails_only_when_the_level_is_out_of_reach() {
    let mut put = begun(CommitLevel::Quorum, 3, 0, 0);
    assert!(tell(&mut put, Event::Failed(peer(0))).is_empty());
    assert!(tell(&mut put, Event::Stored(Local)).is_empty());
    let mut other = put.clone();
    assert_eq!(
        tell(&mut put, Event::Stored(peer(1)))[0],
        Action::Acknowledge { copies: 2 }
    );
    assert_eq!(
        tell(&mut other, Event::Failed(peer(1))),
        [Action::Fail { copies: 1 }]
    );
    assert!(tell(&mut other, Event::Stored(peer(1))).is_empty());
}

#[test]
fn a_failure_after_the_acknowledgement_is_repaired() {
    let mut put = begun(CommitLevel::One, 2, 1, 1);
    tell(&mut put, Event::Stored(Local));
    assert_eq!(starts(&tell(&mut put, Event::Failed(peer(0)))), [peer(1)]);
    let wake = Timestamp(Settings::default().repair_delay);
    assert_eq!(
        tell(&mut put, Event::Failed(peer(1))),
        [Action::WakeAt(wake)]
    );
    assert!(tell(&mut put, Event::Tick).is_empty(), "too early");
    assert_eq!(
        starts(&tell_at(&mut put, wake, Event::Tick)),
        [peer(0)],
        "the failed ones again"
    );
    assert!(tell(&mut put, Event::Stored(peer(0))).is_empty());
}

#[test]
fn what_cannot_be_repaired_is_reported_once() {
    let mut put = begun(CommitLevel::Quorum, 3, 0, 0);
    tell(&mut put, Event::Stored(Local));
    tell(&mut put, Event::Stored(peer(0)));
    assert_eq!(
        tell(&mut put, Event::Failed(peer(1))),
        [Action::Report { copies: 2 }]
    );
    assert!(tell(&mut put, Event::Failed(peer(1))).is_empty());
}

#[test]
fn without_a_place_to_wait_the_missing_copies_are_reported_at_once() {
    let mut put = begun(CommitLevel::Quorum, 3, 0, 3);
    tell(&mut put, Event::Stored(Local));
    tell(&mut put, Event::Stored(peer(0)));
    let wake = Timestamp(Settings::default().repair_delay);
    assert_eq!(
        tell(&mut put, Event::Failed(peer(1))),
        [Action::WakeAt(wake)]
    );
    assert_eq!(
        tell(&mut put, Event::NoRepair),
        [Action::Report { copies: 2 }]
    );
    assert!(tell_at(&mut put, wake, Event::Tick).is_empty());
}
