//! Rules of the machines, one by one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shardwright_topology::Timestamp;

use super::{
    cut::{Listing, Members, Torn},
    *,
};

const ONE: CommitId = id(1);
const TWO: CommitId = id(2);

const fn id(number: u64) -> CommitId {
    CommitId {
        started: number,
        author: number as u128 + 100,
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(Duration::from_secs(seconds))
}

fn party(name: &str) -> Party {
    Party::new(name)
}

fn both() -> Vec<Party> {
    vec![party("a"), party("b")]
}

fn participant(name: &str, term: u64) -> Participant {
    Participant::new(party(name), term, 7, Timing::default())
}

fn ticket(term: u64, number: u64) -> Ticket {
    Ticket { term, number }
}

fn enlist(id: CommitId) -> Event {
    Event::Message(Message::Enlist { id, revision: 7 })
}

fn prepare(id: CommitId, ticket: Ticket) -> Event {
    Event::Message(Message::Prepare {
        id,
        ticket,
        first: party("a"),
        first_ticket: self::ticket(9, 1),
        participants: both(),
        revision: 7,
    })
}

fn part(id: CommitId) -> Prepared {
    Prepared {
        id,
        first: party("a"),
        first_ticket: ticket(9, 1),
        participants: both(),
    }
}

fn decide(id: CommitId, ticket: Ticket) -> Event {
    Event::Message(Message::Decide {
        id,
        ticket,
        participants: both(),
        revision: 7,
    })
}

fn decided(id: CommitId) -> Record {
    Record::Decided {
        id,
        participants: both(),
    }
}

fn inquire(id: CommitId, ticket: Ticket) -> Event {
    Event::Message(Message::Inquire {
        id,
        ticket,
        from: party("b"),
    })
}

fn resolve(id: CommitId, verdict: Verdict) -> Message {
    Message::Resolve {
        id,
        verdict,
        from: party("a"),
    }
}

/// A refusal that ends the ticket of that number.
fn refused(id: CommitId, number: u64, refusal: Refusal) -> Action {
    let ticket = Some(ticket(1, number));
    Action::Answer(id, Answer::Refused { ticket, refusal })
}

/// A refusal of one that has no ticket.
fn unserved(id: CommitId, refusal: Refusal) -> Action {
    let ticket = None;
    Action::Answer(id, Answer::Refused { ticket, refusal })
}

fn acknowledge(id: CommitId) -> Message {
    Message::Acknowledge {
        id,
        from: party("b"),
    }
}

/// Feeds a participant, and expects all that it asks for in answer to the last event.
#[track_caller]
fn check(
    participant: &mut Participant,
    events: impl IntoIterator<Item = (u64, Event)>,
    expect: &[Action],
) {
    let mut actions = Vec::new();
    for (seconds, event) in events {
        actions.clear();
        participant.handle(at(seconds), event, &mut actions);
        assert_eq!(participant.check_invariants(), Ok(()));
    }
    assert_eq!(actions, expect);
}

#[test]
fn a_prepared_part_is_resolved_and_acknowledged() {
    let mut b = participant("b", 1);
    let granted = ticket(1, 1);
    let opened = [
        Action::Open(ONE, granted),
        Action::Answer(ONE, Answer::Enlisted(granted)),
    ];
    check(&mut b, [(0, enlist(ONE))], &opened);
    let store = Action::Store(Record::Prepared(part(ONE)));
    check(&mut b, [(0, prepare(ONE, granted))], &[store]);
    let stored = Event::Stored(Record::Prepared(part(ONE)));
    check(
        &mut b,
        [(0, stored)],
        &[Action::Answer(ONE, Answer::Prepared)],
    );
    assert_eq!((b.prepared(), b.unresolved()), (Some(&part(ONE)), 1));

    let told = resolve(ONE, Verdict::Commit);
    let record = Record::Resolved {
        id: ONE,
        verdict: Verdict::Commit,
    };
    let store = Action::Store(record.clone());
    check(&mut b, [(1, Event::Message(told.clone()))], &[store]);
    let acknowledged = [Action::Send(party("a"), acknowledge(ONE))];
    check(&mut b, [(1, Event::Stored(record))], &acknowledged);
    check(&mut b, [(2, Event::Message(told))], &acknowledged);
    assert_eq!((b.held(), b.unresolved()), (None, 0));
    let again = [refused(ONE, 1, Refusal::Gone)];
    check(&mut b, [(3, prepare(ONE, granted))], &again);
}

#[test]
fn the_first_participant_keeps_a_decision_until_nobody_can_ask() {
    let mut a = participant("a", 1);
    let granted = ticket(1, 1);
    let store = [Action::Store(decided(ONE))];
    check(
        &mut a,
        [(0, enlist(ONE)), (0, decide(ONE, granted))],
        &store,
    );
    let committed = Action::Answer(ONE, Answer::Committed);
    let told = Action::Send(party("b"), resolve(ONE, Verdict::Commit));
    check(
        &mut a,
        [(0, Event::Stored(decided(ONE)))],
        &[told.clone(), committed.clone()],
    );
    check(&mut a, [(1, decide(ONE, granted))], &[committed]);
    check(
        &mut a,
        [(1, inquire(ONE, granted))],
        std::slice::from_ref(&told),
    );
    check(&mut a, [(2, Event::Tick)], &[told]);
    check(&mut a, [(2, Event::Message(acknowledge(ONE)))], &[]);
    assert_eq!(a.undelivered().count(), 0);
    assert_eq!(a.unresolved(), 1, "the caller may ask again");
    let forget = [Action::Store(Record::Forgotten { id: ONE })];
    let heard = Event::Message(Message::Heard { id: ONE });
    check(&mut a, [(3, heard)], &forget);
    check(
        &mut a,
        [(3, Event::Stored(Record::Forgotten { id: ONE }))],
        &[],
    );
    let gone = [refused(ONE, 1, Refusal::Gone)];
    check(&mut a, [(4, decide(ONE, granted))], &gone);
}

#[test]
fn who_asks_before_the_decision_ends_the_ticket() {
    let mut a = participant("a", 1);
    let abort = Action::Send(party("b"), resolve(ONE, Verdict::Abort));
    let ended = [
        Action::Undo(ONE),
        refused(ONE, 1, Refusal::Recovered),
        abort.clone(),
    ];
    let granted = ticket(1, 1);
    check(
        &mut a,
        [(0, enlist(ONE)), (1, inquire(ONE, granted))],
        &ended,
    );
    let gone = [refused(ONE, 1, Refusal::Gone)];
    check(&mut a, [(1, decide(ONE, granted))], &gone);
    let mut later = participant("a", 2);
    check(&mut later, [(0, inquire(ONE, granted))], &[abort]);
    check(
        &mut later,
        [(0, enlist(ONE)), (0, decide(ONE, granted))],
        &gone,
    );
}

#[test]
fn a_writer_that_is_given_back_is_free_unless_something_is_prepared() {
    let release = || Event::Message(Message::Release { id: ONE });
    let mut b = participant("b", 1);
    let events = [(0, enlist(ONE)), (0, release())];
    check(&mut b, events, &[Action::Undo(ONE)]);
    let mut b = participant("b", 1).recovered(at(0), Some(part(ONE)), []);
    check(&mut b, [(0, release())], &[]);
    assert_eq!(b.prepared(), Some(&part(ONE)));
}

#[test]
fn an_older_commit_takes_the_writer_from_one_that_has_not_prepared() {
    let mut b = participant("b", 1);
    let wounded = [
        Action::Undo(TWO),
        refused(TWO, 1, Refusal::Wounded),
        Action::Open(ONE, ticket(1, 2)),
        Action::Answer(ONE, Answer::Enlisted(ticket(1, 2))),
    ];
    check(&mut b, [(0, enlist(TWO)), (0, enlist(ONE))], &wounded);
    check(&mut b, [(0, enlist(TWO))], &[]);
    let busy = [unserved(TWO, Refusal::Busy)];
    check(&mut b, [(5, Event::Tick)], &busy);

    let mut b = participant("b", 1);
    let stored = Event::Stored(Record::Prepared(part(TWO)));
    let prepared = [
        (0, enlist(TWO)),
        (0, prepare(TWO, ticket(1, 1))),
        (0, stored),
    ];
    let answer = [Action::Answer(TWO, Answer::Prepared)];
    check(&mut b, prepared, &answer);
    check(&mut b, [(0, enlist(ONE))], &[]);
    let abort = resolve(TWO, Verdict::Abort);
    let resolved = Record::Resolved {
        id: TWO,
        verdict: Verdict::Abort,
    };
    let lent = [
        Action::Open(ONE, ticket(1, 2)),
        Action::Answer(ONE, Answer::Enlisted(ticket(1, 2))),
    ];
    let events = [(0, Event::Message(abort)), (0, Event::Stored(resolved))];
    check(&mut b, events, &lent);
}

#[test]
fn a_writer_is_held_for_the_recovery_time_at_most() {
    let mut b = participant("b", 1);
    let expired = [Action::Undo(ONE), refused(ONE, 1, Refusal::Expired)];
    check(&mut b, [(0, enlist(ONE)), (9, Event::Tick)], &[]);
    assert_eq!(b.next_wake(), Some(at(10)));
    check(&mut b, [(10, Event::Tick)], &expired);

    let mut b = participant("b", 1);
    let stored = Event::Stored(Record::Prepared(part(ONE)));
    let prepared = [
        (0, enlist(ONE)),
        (4, prepare(ONE, ticket(1, 1))),
        (4, stored),
    ];
    check(&mut b, prepared, &[Action::Answer(ONE, Answer::Prepared)]);
    let question = Message::Inquire {
        id: ONE,
        ticket: ticket(9, 1),
        from: party("b"),
    };
    let question = [Action::Send(party("a"), question)];
    check(&mut b, [(10, Event::Tick)], &question);
    let mut again = participant("b", 2).recovered(at(50), Some(part(ONE)), []);
    check(&mut again, [(50, Event::Tick)], &question);
}

#[test]
fn a_shard_is_not_sealed_while_something_of_it_is_open() {
    let mut a = participant("a", 1);
    let sealed = [Action::Undo(ONE), refused(ONE, 1, Refusal::Sealed)];
    check(&mut a, [(0, enlist(ONE)), (0, Event::Seal)], &sealed);
    check(
        &mut a,
        [(0, enlist(TWO))],
        &[unserved(TWO, Refusal::Sealed)],
    );
    let events = [
        (0, Event::Unseal),
        (0, Event::Revision(8)),
        (0, enlist(TWO)),
    ];
    check(&mut a, events, &[unserved(TWO, Refusal::Stale)]);

    let recovered = participant("a", 2).recovered(at(0), None, [(ONE, both())]);
    assert_eq!(recovered.unresolved(), 1, "another may still ask");
    let recovered = participant("b", 2).recovered(at(0), Some(part(ONE)), []);
    assert_eq!(recovered.unresolved(), 1);
}

/// Feeds a caller, and expects all that it asks for in answer to the last event.
#[track_caller]
fn call(
    caller: &mut Caller,
    events: impl IntoIterator<Item = (u64, CallerEvent)>,
    expect: &[CallerAction],
) {
    let mut actions = Vec::new();
    for (seconds, event) in events {
        actions.clear();
        caller.handle(at(seconds), event, &mut actions);
    }
    assert_eq!(actions, expect);
}

fn answer(name: &str, answer: Answer) -> CallerEvent {
    CallerEvent::Answer(party(name), answer)
}

/// The first participant ends its ticket.
fn refusal(name: &str, refusal: Refusal) -> CallerEvent {
    let ticket = Some(ticket(9, 1));
    answer(name, Answer::Refused { ticket, refusal })
}

/// A caller whose participants are enlisted, and that has asked to commit.
fn preparing() -> Caller {
    let mut caller = Caller::new(ONE, 7, Timing::default());
    let events = [
        (0, CallerEvent::Enlist(party("a"))),
        (0, CallerEvent::Enlist(party("b"))),
        (0, answer("a", Answer::Enlisted(ticket(9, 1)))),
        (0, answer("b", Answer::Enlisted(ticket(1, 1)))),
    ];
    call(
        &mut caller,
        events,
        &[CallerAction::Ready(party("b"), ticket(1, 1))],
    );
    let Event::Message(message) = prepare(ONE, ticket(1, 1)) else {
        unreachable!("it is a message")
    };
    let send = [CallerAction::Send(party("b"), message)];
    call(&mut caller, [(0, CallerEvent::Commit)], &send);
    caller
}

#[test]
fn a_caller_asks_the_first_to_decide_when_all_others_have_prepared() {
    let mut caller = preparing();
    let Event::Message(message) = decide(ONE, ticket(9, 1)) else {
        unreachable!("it is a message")
    };
    let send = [CallerAction::Send(party("a"), message)];
    call(&mut caller, [(0, answer("b", Answer::Prepared))], &send);
    call(&mut caller, [(1, CallerEvent::Tick)], &send);
    call(&mut caller, [(1, CallerEvent::Abandon)], &[]);
    let heard = CallerAction::Send(party("a"), Message::Heard { id: ONE });
    let ended = [heard.clone(), CallerAction::End(Outcome::Committed)];
    call(&mut caller, [(2, answer("a", Answer::Committed))], &ended);
    call(&mut caller, [(3, answer("a", Answer::Committed))], &[heard]);
}

#[test]
fn a_late_refusal_of_the_decision_says_nothing() {
    let mut caller = preparing();
    let gone = refusal("a", Refusal::Gone);
    let events = [(0, answer("b", Answer::Prepared)), (11, gone)];
    call(&mut caller, events, &[CallerAction::End(Outcome::Unknown)]);
}

#[test]
fn a_refusal_of_another_ticket_says_nothing() {
    let mut caller = preparing();
    let (ticket, refusal) = (None, Refusal::Busy);
    let late = answer("a", Answer::Refused { ticket, refusal });
    call(&mut caller, [(0, late)], &[]);
    assert_eq!(caller.outcome(), None);
}

#[test]
fn a_refusal_ends_a_commit_everywhere() {
    let mut caller = preparing();
    let wounded = refusal("a", Refusal::Wounded);
    let abandon = CallerAction::Send(party("b"), Message::Abandon { id: ONE });
    let outcome = Outcome::Aborted {
        by: Some(party("a")),
        refusal: Refusal::Wounded,
    };
    let ended = [abandon, CallerAction::End(outcome)];
    call(&mut caller, [(0, wounded)], &ended);
    let late = answer("b", Answer::Enlisted(ticket(1, 2)));
    let release = CallerAction::Send(party("b"), Message::Release { id: ONE });
    call(&mut caller, [(1, late)], &[release]);
}

#[test]
fn a_name_is_read_as_it_is_written() {
    assert_eq!(ONE.to_string().parse::<CommitId>(), Ok(ONE));
    for bad in ["", "1-2", "x", &ONE.to_string()[1..]] {
        assert!(bad.parse::<CommitId>().is_err(), "{bad}");
    }
}

/// What a shard lists: `1` applied before the question, `2` since, `p` prepared, `-` nothing.
fn listing(what: char) -> Listing {
    let members = Members {
        first: party("a"),
        all: vec![party("a"), party("b"), party("c")],
    };
    let mut listing = Listing {
        before: 1,
        count: 1,
        ..Listing::default()
    };
    match what {
        '1' => drop(listing.applied.insert(ONE, (1, members))),
        '2' => {
            listing.count = 2;
            listing.applied.insert(ONE, (2, members));
        }
        'p' => drop(listing.prepared.insert(ONE, members)),
        _ => {}
    }
    listing
}

#[test]
fn snapshots_belong_together_if_a_commit_is_everywhere_or_nowhere() {
    let whole: BTreeSet<&str> = [
        "---", "-pp", "111", "112", "121", "122", "211", "212", "221", "222", "1--", "-1-", "11-",
        "1-2", "12-", "-12", "-21", "--1", "-11", "2-1", "21-", "1-1",
    ]
    .into_iter()
    .collect();
    for a in "12-".chars() {
        for b in "12p-".chars() {
            for c in "12p-".chars() {
                let text = String::from_iter([a, b, c]);
                let listings: BTreeMap<Party, Listing> = ["a", "b", "c"]
                    .into_iter()
                    .zip([a, b, c])
                    .map(|(name, what)| (party(name), listing(what)))
                    .collect();
                let found = cut::check(&listings);
                assert_eq!(found.is_ok(), whole.contains(&*text), "{text}: {found:?}");
            }
        }
    }
}

#[test]
fn a_shard_that_lists_too_little_is_asked_again() {
    let outrun = Listing {
        before: 1,
        count: 5,
        ..Listing::default()
    };
    let at = party("a");
    let listings = BTreeMap::from([(at.clone(), outrun)]);
    assert_eq!(cut::check(&listings), Err(Torn::Outrun { at }));
}

#[test]
fn a_part_that_hears_nothing_asks_before_its_time_is_over_if_it_may() {
    let timing = Timing {
        ask: Duration::from_secs(2),
        ..Timing::default()
    };
    let mut b = Participant::new(party("b"), 3, 7, timing);
    let mut actions = Vec::new();
    b.handle(at(0), enlist(ONE), &mut actions);
    b.handle(at(1), prepare(ONE, ticket(3, 1)), &mut actions);
    b.handle(
        at(1),
        Event::Stored(Record::Prepared(part(ONE))),
        &mut actions,
    );
    assert_eq!(b.next_wake(), Some(at(3)));
    actions.clear();
    b.handle(at(3), Event::Tick, &mut actions);
    let inquire = Message::Inquire {
        id: ONE,
        ticket: ticket(9, 1),
        from: party("b"),
    };
    assert_eq!(actions, [Action::Send(party("a"), inquire)]);
}
