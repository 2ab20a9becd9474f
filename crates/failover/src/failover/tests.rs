//! Scripts of what a coordinator sees, and all that it does.

use std::time::Duration;

use shardwright_registry::{LeaseRecord, WriteOutcome, assign, node_lease};
use shardwright_topology::{Lsn, NodeRecord};

use super::*;
use crate::{Copies, Copy, Eligible, Mode, PromotionError, PromotionRefused, Reports};

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

fn shard_key() -> Key {
    Key::new("shard/main/shard-0").expect("a key")
}

/// The shard of `nodes`, the first of which is primary, at revision `revision`.
fn shard(nodes: &[&str], revision: u64) -> Input {
    let mut rng = StdRng::seed_from_u64(1);
    let record = ShardRecord::new(KeyspaceName::main(), ShardId::numbered(0), None);
    let primary = NodeRecord::new(node(nodes[0]), "");
    let mut record = assign::assigned(&record, &primary, &mut rng).expect("unassigned");
    for replica in &nodes[1..] {
        record = assign::with_replica(&record, &node(replica), &mut rng).expect("owned");
    }
    Input::Shard(Stored {
        key: shard_key(),
        value: record,
        revision: Revision(revision),
    })
}

fn lease(name: &str, term: u64, counter: u64, held: bool, revision: u64) -> Input {
    let holder = Holder {
        node: node(name),
        incarnation: Incarnation(1),
    };
    Input::Lease(Stored {
        key: node_lease(&node(name)),
        value: LeaseRecord {
            holder: held.then_some(holder),
            term,
            counter,
        },
        revision: Revision(revision),
    })
}

struct Coordinator {
    machine: Failover,
    /// The last record that it asked to write.
    wrote: Option<ShardRecord>,
}

impl Coordinator {
    fn with(config: Config) -> Self {
        let config = Config {
            check_interval: Duration::from_millis(50),
            heartbeat_timeout: Duration::from_millis(150),
            ..config
        };
        let machine = Failover::new(config, &KeyspaceName::main(), node("c1"), Incarnation(1), 7);
        Self {
            machine: machine.expect("times that fit"),
            wrote: None,
        }
    }

    /// One that leads, and has seen a shard of node-1 with a replica on node-2, both alive.
    fn leading(config: Config) -> Self {
        let mut coordinator = Self::with(config);
        for input in [
            shard(&["node-1", "node-2"], 3),
            lease("node-1", 1, 0, true, 1),
            lease("node-2", 1, 0, true, 2),
        ] {
            assert!(coordinator.at(0, input).is_empty());
        }
        assert_eq!(coordinator.at(0, Input::Current), ["own lease term 1"]);
        let written = Input::OwnLeaseWritten(WriteOutcome::Written(Revision(4)));
        assert_eq!(coordinator.at(0, written), ["Leading { term: 1 }"]);
        coordinator
    }

    fn at(&mut self, ms: u64, input: Input) -> Vec<String> {
        let mut actions = Vec::new();
        let now = Timestamp(Duration::from_millis(ms));
        self.machine.handle(now, input, &mut actions);
        actions
            .into_iter()
            .map(|action| self.text(action))
            .collect()
    }

    fn text(&mut self, action: Action) -> String {
        match action {
            Action::WriteOwnLease { record, .. } => format!("own lease term {}", record.term),
            Action::WriteLease {
                key,
                expected,
                record,
            } => {
                let expected = expected.map_or("None".to_owned(), |revision| revision.to_string());
                let held = if record.holder.is_some() {
                    "held"
                } else {
                    "free"
                };
                format!("{key} {expected} term {} {held}", record.term)
            }
            Action::WriteShard {
                expected, record, ..
            } => {
                let primary = record.primary().cloned().expect("an owner");
                let text = format!("shard {expected} {} {primary}", record.epoch);
                self.wrote = Some(*record);
                text
            }
            Action::Read { key } => format!("read {key}"),
            Action::ReadReports => "read reports".to_owned(),
            Action::Emit(event) => match event {
                Event::NodeDown { node, shards } => format!("{node} down with {}", shards.len()),
                Event::NodeUp { node } => format!("{node} up"),
                Event::NodeSuspected { node } => format!("{node} suspected"),
                Event::Promoted {
                    from, to, epoch, ..
                } => format!("promoted {from} {to} {epoch}"),
                Event::NoReplica { reason, .. } => format!("nobody: {reason}"),
                other => format!("{other:?}"),
            },
            Action::Answer { ticket, answer } => match answer {
                Ok(epoch) => format!("#{ticket} {epoch}"),
                Err(error) => format!("#{ticket} {error}"),
            },
        }
    }

    /// Lets time pass to `ms` while node-2 and the own lease live, and returns what is done about others.
    fn wait(&mut self, from: u64, to: u64) -> Vec<String> {
        let mut all = Vec::new();
        for ms in (from + 25..=to).step_by(25) {
            let mut actions = self.at(ms, lease("node-2", 1, ms, true, 1_000 + 2 * ms));
            actions.extend(self.at(ms, Input::Tick));
            if actions.contains(&"own lease term 1".to_owned()) {
                let written = WriteOutcome::Written(Revision(1_001 + 2 * ms));
                actions.extend(self.at(ms, Input::OwnLeaseWritten(written)));
            }
            actions.retain(|action| action != "own lease term 1");
            all.extend(actions);
        }
        all
    }

    fn promote(&mut self, ms: u64, to: &str, forced: bool) -> Vec<String> {
        let input = Input::Promote {
            ticket: 1,
            shard: ShardId::numbered(0),
            to: node(to),
            forced,
        };
        self.at(ms, input)
    }
}

/// What a process of node-2 reports, as a listing of revision `revision` shows it.
fn reported_by(incarnation: u64, in_sync: bool, revision: u64) -> Input {
    let copy = Copy {
        epoch: Epoch(2),
        position: Lsn(5),
        in_sync,
    };
    let copies = Copies {
        node: node("node-2"),
        incarnation: Incarnation(incarnation),
        copies: BTreeMap::from([(ShardId::numbered(0), copy)]),
    };
    Input::Reports(Some(Reports {
        copies: BTreeMap::from([(node("node-2"), copies)]),
        revision: Revision(revision),
    }))
}

fn reported(revision: u64) -> Input {
    reported_by(1, true, revision)
}

fn nothing_reported(revision: u64) -> Input {
    Input::Reports(Some(Reports {
        copies: BTreeMap::new(),
        revision: Revision(revision),
    }))
}

fn written(key: Key, written: Written) -> Input {
    Input::Written { key, written }
}

#[test]
fn a_silent_node_is_fenced_first_and_then_its_replica_takes_over() {
    let mut c1 = Coordinator::leading(Config::default());
    let actions = c1.wait(0, 175);
    assert_eq!(
        actions,
        ["node-1 suspected", "lease/node.node-1 r1 term 2 free"]
    );
    let fenced = written(node_lease(&node("node-1")), Written::Done(Revision(2_000)));
    assert_eq!(c1.at(176, fenced), ["node-1 down with 1", "read reports"]);
    assert_eq!(c1.at(176, reported(2_000)), ["shard r3 e3 node-2"]);
    let done = written(shard_key(), Written::Done(Revision(2_001)));
    assert_eq!(c1.at(177, done), ["promoted node-1 node-2 e3"]);
    assert_eq!(
        c1.wrote.as_ref().map(|record| record.data_loss_generation),
        Some(0)
    );
    assert!(c1.wait(175, 400).is_empty(), "and then it rests");
    let back = lease("node-1", 3, 0, true, 9_000);
    assert_eq!(c1.at(410, back), ["node-1 up"]);
}

#[test]
fn a_record_younger_than_the_fence_needs_a_fence_of_its_own() {
    let mut c1 = Coordinator::leading(Config::default());
    c1.wait(0, 150);
    // The node's own claim came before the fence was known, and after it in the store.
    c1.at(151, shard(&["node-1", "node-2"], 2_005));
    let fenced = written(node_lease(&node("node-1")), Written::Done(Revision(2_000)));
    assert!(c1.at(152, fenced).is_empty());
    let actions = c1.wait(150, 200);
    assert_eq!(actions, ["lease/node.node-1 r2000 term 3 free"]);
    let fenced = written(node_lease(&node("node-1")), Written::Done(Revision(2_010)));
    assert_eq!(c1.at(201, fenced), ["node-1 down with 1", "read reports"]);
    assert_eq!(c1.at(202, reported(2_010)), ["shard r2005 e3 node-2"]);
}

#[test]
fn a_fence_that_is_refused_is_no_fence() {
    let mut c1 = Coordinator::leading(Config::default());
    c1.wait(0, 150);
    let key = node_lease(&node("node-1"));
    let refused = written(key.clone(), Written::Refused);
    assert_eq!(c1.at(151, refused), ["read lease/node.node-1"]);
    // It had renewed it meanwhile: the time-out begins again.
    assert_eq!(c1.at(152, lease("node-1", 1, 1, true, 50)), ["node-1 up"]);
    assert!(c1.wait(150, 200).is_empty());
    let actions = c1.wait(200, 325);
    assert_eq!(
        actions,
        ["node-1 suspected", "lease/node.node-1 r50 term 2 free"]
    );
}

#[test]
fn a_node_that_leaves_is_followed_at_once_and_one_that_never_came_in_the_end() {
    let mut c1 = Coordinator::leading(Config::default());
    let left = lease("node-1", 1, 0, false, 60);
    assert_eq!(c1.at(10, left), ["node-1 down with 1", "read reports"]);
    assert_eq!(c1.at(11, reported(60)), ["shard r3 e3 node-2"]);

    let mut c1 = Coordinator::leading(Config::default());
    c1.at(0, lease("node-3", 1, 0, true, 5));
    c1.at(0, shard(&["node-9"], 70));
    let actions = c1.wait(0, 150);
    assert!(
        actions.contains(&"lease/node.node-9 None term 1 free".to_owned()),
        "{actions:?}"
    );
}

#[test]
fn a_shard_with_nobody_to_take_over_is_told_of_once() {
    let mut c1 = Coordinator::leading(Config::default());
    let left = lease("node-1", 1, 0, false, 60);
    let nobody = "nobody: shard shard-0: none of 1 replicas reported that it may take over, \
                  force one to accept a loss";
    assert_eq!(c1.at(10, left), ["node-1 down with 1", "read reports"]);
    assert_eq!(c1.at(10, nothing_reported(60)), [nobody]);
    assert_eq!(c1.wait(0, 50), [""; 0], "nothing is looked at in vain");
    assert_eq!(c1.wait(50, 75), ["read reports"], "after the interval");
    assert_eq!(c1.at(76, nothing_reported(61)), [""; 0]);
    // Another replica that comes up is a reason to look at once.
    let third = lease("node-3", 1, 0, true, 62);
    assert_eq!(c1.at(77, third), ["read reports"]);
    assert_eq!(c1.at(78, reported(63)), ["shard r3 e3 node-2"]);
}

#[test]
fn a_choice_is_made_on_reports_from_after_the_fence() {
    let mut c1 = Coordinator::leading(Config::default());
    let left = lease("node-1", 1, 0, false, 60);
    assert_eq!(c1.at(10, left), ["node-1 down with 1", "read reports"]);
    assert!(c1.at(11, reported(59)).is_empty(), "it may be over");
    assert!(c1.at(12, Input::Tick).is_empty());
    assert_eq!(c1.at(25, Input::Tick), ["read reports"]);
    assert!(c1.at(26, Input::Reports(None)).is_empty());
    assert_eq!(c1.at(40, Input::Tick), ["read reports"]);
    let behind = reported_by(1, false, 61);
    assert_eq!(c1.at(41, behind), ["shard r3 e3 node-2"]);
    let lost = c1.wrote.as_ref().map(|record| record.data_loss_generation);
    assert_eq!(lost, Some(1), "it took back that it is in sync");
}

#[test]
fn an_older_listing_never_counts_after_a_newer_one() {
    let mut c1 = Coordinator::leading(Config::default());
    c1.at(10, lease("node-1", 1, 0, false, 60));
    c1.at(11, nothing_reported(70));
    let actions = c1.at(61, Input::Tick);
    assert_eq!(actions, ["own lease term 1", "read reports"]);
    assert!(c1.at(62, reported(69)).is_empty());
    assert_eq!(c1.at(74, Input::Tick), ["read reports"]);
    assert_eq!(c1.at(75, reported(70)), ["shard r3 e3 node-2"]);
}

#[test]
fn what_another_process_of_a_node_reported_says_nothing_of_this_one() {
    for incarnation in [0, 2] {
        let mut c1 = Coordinator::leading(Config::default());
        c1.at(10, lease("node-1", 1, 0, false, 60));
        let actions = c1.at(11, reported_by(incarnation, true, 60));
        assert!(
            actions[0].contains("none of 1 replicas reported"),
            "{actions:?}"
        );
        assert_eq!(c1.promote(12, "node-2", true), ["read reports"]);
        let forced = c1.at(13, reported_by(incarnation, true, 60));
        assert_eq!(forced, ["shard r3 e3 node-2"]);
        let lost = c1.wrote.as_ref().map(|record| record.data_loss_generation);
        assert_eq!(lost, Some(1));
    }
}

#[test]
fn a_promotion_waits_for_a_read_that_began_after_it_was_asked_for() {
    let mut c1 = Coordinator::leading(Config {
        mode: Mode::Manual,
        ..Config::default()
    });
    c1.at(10, lease("node-1", 1, 0, false, 60));
    assert_eq!(c1.promote(11, "node-2", false), ["read reports"]);
    assert!(c1.promote(12, "node-2", false).is_empty());
    let first = c1.at(13, nothing_reported(60));
    assert!(first[0].contains("none of 1 replicas reported"));
    assert_eq!(first[1..], ["read reports"], "for the second");
    assert_eq!(c1.at(14, reported(61)), ["shard r3 e3 node-2"]);

    let mut c1 = Coordinator::leading(Config {
        mode: Mode::Manual,
        ..Config::default()
    });
    c1.at(10, lease("node-1", 1, 0, false, 60));
    c1.promote(11, "node-2", true);
    let unread = "#1 the registry could not be reached, shard shard-0 is as it was";
    assert_eq!(c1.at(12, Input::Reports(None)), [unread]);
}

#[test]
fn who_leads_no_more_turns_promotions_away() {
    let mut c1 = Coordinator::leading(Config {
        mode: Mode::Manual,
        ..Config::default()
    });
    c1.at(10, lease("node-1", 1, 0, false, 60));
    c1.promote(11, "node-2", true);
    c1.promote(12, "node-2", true);
    let not_leader = |action: &String| action.contains("does not lead");
    let resigned = c1.at(13, Input::Resign);
    assert_eq!(
        resigned.iter().filter(|action| not_leader(action)).count(),
        1
    );
    let read = c1.at(14, reported(61));
    assert!(read.len() == 1 && not_leader(&read[0]), "{read:?}");
}

#[test]
fn a_promotion_without_an_answer_is_settled_by_what_is_seen() {
    let mut c1 = Coordinator::leading(Config {
        eligible: Eligible::Any,
        ..Config::default()
    });
    c1.at(10, lease("node-1", 1, 0, false, 60));
    assert_eq!(c1.at(10, nothing_reported(60)), ["shard r3 e3 node-2"]);
    let unknown = written(shard_key(), Written::Unknown);
    assert_eq!(c1.at(11, unknown), ["read shard/main/shard-0"]);
    assert!(c1.at(12, Input::Tick).is_empty(), "no second attempt yet");
    let record = c1.wrote.clone().expect("it was written");
    let seen = Input::Shard(Stored {
        key: shard_key(),
        value: record,
        revision: Revision(61),
    });
    assert_eq!(c1.at(13, seen), ["promoted node-1 node-2 e3"]);
}

#[test]
fn a_promotion_that_somebody_asks_for_follows_the_rules() {
    let mut standby = Coordinator::with(Config::default());
    assert_eq!(
        standby.promote(0, "node-2", false),
        ["#1 this coordinator does not lead"]
    );
    let mut c1 = Coordinator::leading(Config {
        mode: Mode::Manual,
        ..Config::default()
    });
    let alive = "#1 shard shard-0 is held by node-1, whose lease has not ended";
    assert_eq!(c1.promote(1, "node-2", true), [alive]);
    assert_eq!(
        c1.promote(1, "node-1", false),
        ["#1 e2"],
        "the primary already"
    );
    assert_eq!(
        c1.at(10, lease("node-1", 1, 0, false, 60)),
        ["node-1 down with 1"]
    );
    let stranger = "#1 node node-3 holds no replica of shard shard-0, add one first";
    assert_eq!(c1.promote(11, "node-3", true), [stranger]);
    assert_eq!(c1.promote(11, "node-2", false), ["read reports"]);
    assert!(c1.at(11, nothing_reported(60))[0].contains("none of 1 replicas reported"));
    assert_eq!(c1.promote(12, "node-2", true), ["read reports"]);
    let begun = c1.at(12, nothing_reported(60));
    assert_eq!(begun, ["shard r3 e3 node-2"]);
    c1.promote(12, "node-2", true);
    let joined = c1.at(12, nothing_reported(60));
    assert!(joined.is_empty(), "it joins the one under way");
    let done = written(shard_key(), Written::Done(Revision(61)));
    assert_eq!(
        c1.at(13, done),
        ["promoted node-1 node-2 e3", "#1 e3", "#1 e3"]
    );
    assert_eq!(
        c1.wrote.as_ref().map(|record| record.data_loss_generation),
        Some(1)
    );
    let unknown = Input::Promote {
        ticket: 2,
        shard: ShardId::numbered(9),
        to: node("node-2"),
        forced: false,
    };
    assert_eq!(c1.at(14, unknown), ["#2 there is no shard shard-9"]);
}

#[test]
fn a_replica_that_is_down_is_not_promoted_and_a_lost_race_is_told() {
    let mut c1 = Coordinator::leading(Config {
        mode: Mode::Manual,
        ..Config::default()
    });
    c1.at(10, lease("node-1", 1, 0, false, 60));
    assert_eq!(c1.promote(11, "node-2", true), ["read reports"]);
    assert_eq!(c1.at(11, nothing_reported(60)), ["shard r3 e3 node-2"]);
    let refused = written(shard_key(), Written::Refused);
    assert_eq!(
        c1.at(12, refused),
        [
            "#1 somebody else changes shard shard-0, ask again",
            "read shard/main/shard-0"
        ]
    );
    c1.at(20, lease("node-2", 1, 0, false, 61));
    assert_eq!(
        c1.promote(21, "node-2", true),
        ["#1 node node-2 is not up, it cannot take over shard shard-0"]
    );
}

#[test]
fn only_what_may_pass_is_retried() {
    let shard = ShardId::numbered(0);
    let again = [
        PromotionError::Overtaken {
            shard: shard.clone(),
        },
        PromotionError::Unknown {
            shard: shard.clone(),
        },
        PromotionError::Unavailable {
            shard: shard.clone(),
        },
    ];
    assert!(again.iter().all(PromotionError::is_retryable));
    let never = [
        PromotionError::NotLeader { leader: None },
        PromotionError::UnknownShard {
            shard: shard.clone(),
        },
        PromotionRefused::NoReplica { shard }.into(),
        PromotionError::Stopped,
    ];
    assert!(!never.iter().any(PromotionError::is_retryable));
}
