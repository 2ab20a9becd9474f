//! A member against the rules that it follows.

use shardwright_topology::ConfigId;

use super::*;
use crate::log::{Kind, Point};

fn replica() -> Replica {
    Replica::new(Durable {
        replica_id: ReplicaId::from_bits(1),
        promised: None,
        log: Log::default(),
        known_commit: Lsn(0),
    })
}

fn ballot(epoch: u64) -> Ballot {
    let config_id = ConfigId::from_bits(epoch.into());
    let epoch = Epoch(epoch);
    Ballot { epoch, config_id }
}

fn send(replica: &mut Replica, ballot: Ballot, ask: Ask) -> Vec<Action> {
    let request = Request { ballot, ask };
    let mut actions = Vec::new();
    let event = Event::Request { call: 7, request };
    replica.handle(Timestamp::default(), event, &mut actions);
    actions
}

/// What is answered once everything is durable.
fn ask(replica: &mut Replica, ballot: Ballot, ask: Ask) -> Answer {
    let mut actions = send(replica, ballot, ask);
    let all = Event::Persisted(replica.issued);
    replica.handle(Timestamp::default(), all, &mut actions);
    let answer = actions.into_iter().find_map(|action| match action {
        Action::Reply(_, reply) => Some(reply.answer),
        Action::Persist(..) | Action::Apply(_) => None,
    });
    answer.expect("every request is answered")
}

fn append(prev: Point, epoch: u64, mark: u8, commit: u64) -> (Ask, Point) {
    let record = Record::after(prev, Epoch(epoch), Kind::Batch, vec![], vec![mark]);
    let (last, records, commit) = (record.point(), vec![record], Lsn(commit));
    let append = Append {
        prev,
        records,
        commit,
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
    assert_eq!(ask(&mut replica, twin, Ask::Ping(1)), refused);
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
    let first = Event::Persisted(Ticket(1));
    replica.handle(Timestamp::default(), first, &mut actions);
    assert_eq!(actions, []);
    replica.handle(Timestamp::default(), Event::PersistFailed, &mut actions);
    let answers: Vec<_> = actions.iter().collect();
    assert!(matches!(
        answers[..],
        [Action::Reply(
            7,
            Reply {
                answer: Answer::Faulty,
                ..
            }
        )]
    ));
    assert_eq!(ask(&mut replica, ballot(1), Ask::Ping(1)), Answer::Faulty);
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
    assert!(replica.is_faulty());
}
