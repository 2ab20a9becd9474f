//! A member against the rules that it follows.

use shardwright_topology::ConfigId;

use super::*;
use crate::log::{Kind, Stamp};

const LEASE: Duration = Duration::from_secs(1);

fn replica() -> Replica {
    let durable = Durable::new(ReplicaId::from_bits(1));
    let applied = Point::default();
    Replica::open(Timestamp::default(), durable, applied, LEASE).expect("it lacks nothing")
}

fn ballot(epoch: u64) -> Ballot {
    let config_id = ConfigId::from_bits(epoch.into());
    let epoch = Epoch(epoch);
    Ballot { epoch, config_id }
}

fn request(ballot: Ballot, ask: Ask) -> Request {
    Request {
        ballot,
        stamp: Stamp::default(),
        lease: Duration::ZERO,
        ask,
    }
}

fn send(replica: &mut Replica, ballot: Ballot, ask: Ask) -> Vec<Action> {
    send_at(replica, Timestamp::default(), request(ballot, ask))
}

fn send_at(replica: &mut Replica, now: Timestamp, request: Request) -> Vec<Action> {
    let from = NodeId::new("n9").expect("a name");
    let mut actions = Vec::new();
    replica.request(now, &from, 7, request, &mut actions);
    replica.flush(&mut actions);
    actions
}

fn reply(actions: impl IntoIterator<Item = Action>) -> Reply {
    let answers = actions.into_iter().find_map(|action| match action {
        Action::Reply(_, reply) => Some(reply),
        _ => None,
    });
    answers.expect("every request is answered")
}

/// What is answered once everything is durable.
fn ask_at(replica: &mut Replica, now: Timestamp, request: Request) -> Reply {
    let mut actions = send_at(replica, now, request);
    replica.persisted(replica.issued);
    replica.flush(&mut actions);
    reply(actions)
}

fn ask(replica: &mut Replica, ballot: Ballot, ask: Ask) -> Answer {
    ask_at(replica, Timestamp::default(), request(ballot, ask)).answer
}

fn append(prev: Point, epoch: u64, mark: u8, commit: u64) -> (Ask, Point) {
    let record = Record::after(prev, Epoch(epoch), Kind::Batch, vec![], vec![mark]);
    let (last, records, commit) = (record.point(), vec![Arc::new(record)], Lsn(commit));
    let append = Append {
        prev,
        records,
        commit,
        trim: Lsn(0),
    };
    (Ask::Append(append), last)
}

#[test]
fn a_lower_epoch_is_refused_after_a_fence() {
    let mut replica = replica();
    ask(&mut replica, ballot(2), Ask::Fence);
    let (late, _) = append(Point::default(), 1, 0, 0);
    assert_eq!(
        ask(&mut replica, ballot(1), late),
        Answer::StaleEpoch(Epoch(2))
    );
    assert_eq!(
        ask(&mut replica, ballot(1), Ask::Fence),
        Answer::StaleEpoch(Epoch(2))
    );
    assert_eq!(replica.durable.log, Log::default());
    let twin = Ballot {
        config_id: ConfigId::from_bits(9),
        ..ballot(2)
    };
    let refused = Answer::OtherConfig(ConfigId::from_bits(2));
    assert_eq!(ask(&mut replica, twin, Ask::Ping), refused);
}

#[test]
fn nothing_is_answered_before_it_is_durable() {
    let mut replica = replica();
    let (first, _) = append(Point::default(), 1, 0, 0);
    let actions = send(&mut replica, ballot(1), first);
    let writes = |action: &Action| matches!(action, Action::Persist(..));
    assert!(
        actions.len() == 2 && actions.iter().all(writes),
        "{actions:?}"
    );
    let mut actions = Vec::new();
    replica.persisted(Ticket(1));
    replica.flush(&mut actions);
    assert_eq!(actions, []);
    replica.fail(Fault::Storage);
    replica.flush(&mut actions);
    assert_eq!(reply(actions).answer, Answer::Faulty);
    assert_eq!(ask(&mut replica, ballot(1), Ask::Ping), Answer::Faulty);
}

#[test]
fn another_suffix_is_dropped_unless_it_is_committed() {
    let mut replica = replica();
    let (first, one) = append(Point::default(), 1, 0, 0);
    let (second, two) = append(one, 1, 0, 1);
    ask(&mut replica, ballot(1), first.clone());
    assert_eq!(
        ask(&mut replica, ballot(1), second),
        Answer::Appended(Lsn(2))
    );
    assert_eq!(
        ask(&mut replica, ballot(1), first),
        Answer::Appended(Lsn(1)),
        "only what is verified"
    );
    assert_eq!(
        replica.durable.log.last(),
        two,
        "a late message truncates nothing"
    );
    let (other, end) = append(one, 2, 9, 0);
    assert_eq!(
        ask(&mut replica, ballot(2), other),
        Answer::Appended(Lsn(2))
    );
    assert_eq!(replica.durable.log.last(), end);
    let (gap, _) = append(two, 2, 0, 0);
    assert!(matches!(
        ask(&mut replica, ballot(2), gap),
        Answer::Diverged { .. }
    ));
    let (committed, _) = append(Point::default(), 3, 9, 0);
    assert_eq!(ask(&mut replica, ballot(3), committed), Answer::Faulty);
    assert_eq!(replica.fault(), Some(Fault::Diverged(Lsn(0))));
}

#[test]
fn a_higher_fence_waits_for_the_lease() {
    let mut replica = replica();
    let at = |millis| Timestamp(Duration::from_millis(millis));
    let ping = Request {
        lease: LEASE * 2,
        ..request(ballot(1), Ask::Ping)
    };
    assert_eq!(ask_at(&mut replica, at(100), ping).lease, LEASE, "at most");
    let fence = || request(ballot(2), Ask::Fence);
    let held = ask_at(&mut replica, at(600), fence()).answer;
    assert_eq!(held, Answer::Held(Duration::from_millis(500)));
    assert_eq!(replica.promised(), Some(ballot(1)));
    let ping = Request {
        lease: LEASE,
        ..request(ballot(1), Ask::Ping)
    };
    let last = ask_at(&mut replica, at(700), ping);
    assert_eq!(last.lease, Duration::ZERO, "the fence gets through");
    let fenced = ask_at(&mut replica, at(1100), fence()).answer;
    assert!(matches!(fenced, Answer::Fenced(_)), "{fenced:?}");
    let again = Replica::open(at(1200), replica.durable, Point::default(), LEASE);
    let fence = request(ballot(3), Ask::Fence);
    let held = ask_at(&mut again.expect("it lacks nothing"), at(1300), fence).answer;
    assert_eq!(
        held,
        Answer::Held(Duration::from_millis(900)),
        "it may have promised"
    );
}

#[test]
fn a_copy_that_lacks_what_is_committed_is_not_opened() {
    let mut replica = replica();
    let (first, one) = append(Point::default(), 1, 0, 1);
    ask(&mut replica, ballot(1), first);
    let open = |durable: Durable, applied| {
        let opened = Replica::open(Timestamp::default(), durable, applied, LEASE);
        opened.map(|replica| replica.known_commit())
    };
    let held = replica.durable.clone();
    let forgot = Durable {
        known_commit: Lsn(0),
        ..held.clone()
    };
    assert_eq!(
        open(forgot, one),
        Ok(Lsn(1)),
        "what was applied is committed"
    );
    let mut lost = held.clone();
    lost.log.truncate_after(Lsn(0));
    let too_short = Unclean::LogTooShort {
        last: Lsn(0),
        known_commit: Lsn(1),
    };
    assert_eq!(open(lost.clone(), Point::default()), Err(too_short));
    let applied = Unclean::AppliedNotHeld { applied: Lsn(1) };
    assert_eq!(open(lost, one), Err(applied));
}

#[test]
fn what_is_left_of_a_copy_is_shown_and_counts_for_nothing() {
    let mut replica = replica();
    let (first, one) = append(Point::default(), 1, 0, 1);
    ask(&mut replica, ballot(1), first.clone());
    let mut left = Durable {
        clean: false,
        ..replica.durable
    };
    left.log.truncate_after(Lsn(0));
    let opened = Replica::open(Timestamp(LEASE), left, one, LEASE);
    let mut opened = opened.expect("what is left can be opened");
    let later = Timestamp(LEASE * 3);
    let refused = ask_at(&mut opened, later, request(ballot(1), first));
    assert_eq!(refused.answer, Answer::Faulty);
    let shown = ask_at(&mut opened, later, request(ballot(2), Ask::Fence));
    assert!(matches!(shown.answer, Answer::Fenced(ack) if !ack.clean));
}

#[test]
fn a_snapshot_takes_the_place_of_the_log_unless_it_is_older() {
    let mut replica = replica();
    let (first, one) = append(Point::default(), 1, 0, 1);
    ask(&mut replica, ballot(1), first);
    let (_, two) = append(one, 1, 0, 0);
    let (_, three) = append(two, 1, 0, 0);
    let offer = ask(&mut replica, ballot(1), Ask::Snapshot(two));
    assert_eq!(offer, Answer::Installing);
    let mut actions = Vec::new();
    replica.install(one, &mut actions);
    assert_eq!(actions, []);
    replica.install(three, &mut actions);
    replica.persisted(replica.issued);
    replica.flush(&mut actions);
    assert!(matches!(actions[..], [Action::Persist(..), Action::Install(base)] if base == three));
    assert_eq!(replica.log().last(), three);
    let offer = ask(&mut replica, ballot(1), Ask::Snapshot(three));
    assert_eq!(offer, Answer::Appended(Lsn(3)));
}

#[test]
fn a_copy_that_committed_what_its_primary_has_not_is_set_aside() {
    let mut replica = replica();
    let (_, one) = append(Point::default(), 1, 0, 0);
    let (_, two) = append(one, 1, 0, 0);
    replica.install(two, &mut Vec::new());
    replica.persisted(replica.issued);
    let offer = ask(&mut replica, ballot(1), Ask::Snapshot(one));
    assert!(matches!(offer, Answer::Diverged { .. }), "it may be old");
    let (_, other) = append(Point::default(), 2, 0, 0);
    let offer = ask(&mut replica, ballot(2), Ask::Snapshot(other));
    assert_eq!(offer, Answer::Faulty, "epochs never fall along a log");
    assert_eq!(replica.fault(), Some(Fault::Diverged(Lsn(1))));
}
