//! Scripts of what a node sees, and all that it does.

use std::time::Duration;

use shardwright_registry::{assign, node_lease};
use shardwright_topology::{Incarnation, KeyspaceName, NodeId, NodeRecord};

use super::*;

const TIMEOUT_MS: u64 = 100;
const HOLD_MS: u64 = 90;

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

fn key() -> Key {
    Key::new("shard/main/shard-0").expect("a key")
}

/// The shard as `owner` and its process hold it, at an epoch and a revision.
fn shard(owner: &str, incarnation: u64, epoch: u64, revision: u64) -> LicenceEvent {
    let mut rng = StdRng::seed_from_u64(1);
    let mut record = ShardRecord::new(KeyspaceName::main(), ShardId::numbered(0), None);
    for turn in 1..=epoch {
        let owner = NodeRecord {
            incarnation: Incarnation(if turn == epoch {
                incarnation
            } else {
                turn + 100
            }),
            ..NodeRecord::new(node(owner), "")
        };
        record = assign::assigned(&record, &owner, &mut rng).expect("another process");
    }
    LicenceEvent::Shard(Stored {
        key: key(),
        value: record,
        revision: Revision(revision),
    })
}

/// The licence of the second process of node-1.
struct Node(Licence);

impl Node {
    fn new() -> Self {
        let timing = LeaseTiming::new(
            Duration::from_millis(TIMEOUT_MS),
            Duration::from_millis(HOLD_MS),
        );
        let me = Primary {
            node: node("node-1"),
            incarnation: Incarnation(2),
        };
        let timing = timing.expect("the hold is shorter");
        Self(Licence::new(node_lease(&me.node), me, timing, 7))
    }

    /// One that took its lease at 0 ms, at revision 10.
    fn leased() -> Self {
        let mut node = Self::new();
        assert_eq!(
            node.at(0, LicenceEvent::Lease(None)),
            ["lease None term 1.0 held"]
        );
        assert!(node.lease_written(0, 10).is_empty());
        node
    }

    fn at(&mut self, ms: u64, event: LicenceEvent) -> Vec<String> {
        let mut actions = Vec::new();
        let now = Timestamp(Duration::from_millis(ms));
        self.0.handle(now, event, &mut actions);
        actions.iter().map(text).collect()
    }

    fn lease_written(&mut self, ms: u64, revision: u64) -> Vec<String> {
        let outcome = WriteOutcome::Written(Revision(revision));
        self.at(ms, LicenceEvent::LeaseWritten(outcome))
    }

    fn serves(&self, ms: u64) -> Option<Epoch> {
        let now = Timestamp(Duration::from_millis(ms));
        self.0.may_serve(now, &ShardId::numbered(0))
    }
}

fn text(action: &LicenceAction) -> String {
    match action {
        LicenceAction::WriteLease { expected, record } => {
            let held = if record.holder.is_some() {
                "held"
            } else {
                "free"
            };
            let expected = expected.map_or("None".to_owned(), |revision| revision.to_string());
            format!(
                "lease {expected} term {}.{} {held}",
                record.term, record.counter
            )
        }
        LicenceAction::WriteShard {
            expected, record, ..
        } => format!("shard {expected} {}", record.epoch),
        LicenceAction::ReadShard { key } => format!("read {key}"),
        LicenceAction::Serve { shard, epoch } => format!("serve {shard} {epoch}"),
        LicenceAction::StepDown {
            shard,
            epoch,
            reason,
        } => format!("step down {shard} {epoch} {reason:?}"),
    }
}

#[test]
fn a_record_younger_than_the_lease_is_served_until_the_lease_ends_by_the_clock() {
    let mut node = Node::leased();
    assert_eq!(node.at(5, shard("node-1", 2, 3, 11)), ["serve shard-0 e3"]);
    assert_eq!(node.serves(HOLD_MS - 1), Some(Epoch(3)));
    assert_eq!(node.serves(HOLD_MS), None, "nobody had to tell it");
    let actions = node.at(30, LicenceEvent::Tick);
    assert_eq!(actions, ["lease r10 term 1.1 held"]);
    assert!(node.lease_written(40, 12).is_empty());
    assert_eq!(
        node.serves(30 + HOLD_MS - 1),
        Some(Epoch(3)),
        "from when it was sent"
    );
    assert_eq!(node.serves(30 + HOLD_MS), None);
}

#[test]
fn a_record_older_than_the_lease_or_of_an_earlier_process_is_claimed_anew() {
    for (incarnation, revision) in [(2, 9), (1, 11)] {
        let mut node = Node::leased();
        let actions = node.at(5, shard("node-1", incarnation, 3, revision));
        assert_eq!(actions, [format!("shard r{revision} e4")]);
        assert_eq!(node.serves(5), None);
        assert!(
            node.at(6, LicenceEvent::Tick).is_empty(),
            "one claim at a time"
        );
        let actions = node.at(7, shard("node-1", 2, 4, 12));
        assert_eq!(
            actions,
            ["serve shard-0 e4"],
            "the watch is faster than the answer"
        );
    }
    // A later process of the node has it.
    assert!(Node::leased().at(5, shard("node-1", 3, 3, 9)).is_empty());
    assert!(Node::leased().at(5, shard("node-2", 2, 3, 11)).is_empty());
}

#[test]
fn a_claim_without_an_answer_is_read_back_and_one_that_is_refused_was_too_late() {
    let mut node = Node::leased();
    node.at(5, shard("node-1", 1, 3, 9));
    let event = |written| LicenceEvent::ShardWritten {
        key: key(),
        record: Box::new(ShardRecord::new(
            KeyspaceName::main(),
            ShardId::numbered(0),
            None,
        )),
        written,
    };
    assert_eq!(
        node.at(6, event(Written::Unknown)),
        ["read shard/main/shard-0"]
    );
    assert_eq!(
        node.at(20, LicenceEvent::Tick),
        ["shard r9 e4"],
        "and it is tried again"
    );
    assert_eq!(
        node.at(21, event(Written::Refused)),
        ["read shard/main/shard-0"]
    );
    assert!(node.at(22, shard("node-2", 1, 4, 12)).is_empty());
    assert_eq!(node.at(40, LicenceEvent::Tick), ["lease r10 term 1.1 held"]);
    assert_eq!(node.serves(40), None);
}

#[test]
fn a_node_that_was_cut_off_steps_down_and_hears_that_it_was_replaced() {
    let mut node = Node::leased();
    node.at(5, shard("node-1", 2, 3, 11));
    let actions = node.at(500, LicenceEvent::Tick);
    assert_eq!(
        actions,
        ["step down shard-0 e3 LeaseEnded", "lease r10 term 2.0 held"]
    );
    let actions = node.at(501, shard("node-2", 1, 4, 13));
    assert_eq!(actions, ["step down shard-0 e3 Replaced"]);
    assert!(
        node.at(502, shard("node-1", 2, 3, 11)).is_empty(),
        "an old record changes nothing"
    );
    assert!(node.lease_written(503, 14).is_empty());
    assert_eq!(node.serves(503), None);
}

#[test]
fn another_term_of_the_lease_makes_the_records_of_the_one_before_void() {
    let mut node = Node::leased();
    node.at(5, shard("node-1", 2, 3, 11));
    assert_eq!(node.at(500, LicenceEvent::Tick).len(), 2);
    assert_eq!(
        node.lease_written(501, 14),
        ["shard r11 e4"],
        "what named it before is claimed"
    );
}

#[test]
fn a_new_epoch_of_the_same_owner_is_taken_up_and_a_shard_that_is_gone_is_not_served() {
    let mut node = Node::leased();
    node.at(5, shard("node-1", 2, 3, 11));
    let actions = node.at(6, shard("node-1", 2, 4, 12));
    assert_eq!(
        actions,
        ["step down shard-0 e3 NewEpoch", "serve shard-0 e4"]
    );
    let actions = node.at(7, LicenceEvent::ShardGone(key()));
    assert_eq!(actions, ["step down shard-0 e4 Removed"]);
}

#[test]
fn a_node_that_ends_or_is_superseded_gives_its_lease_back_and_takes_it_no_more() {
    for event in [LicenceEvent::Resign, LicenceEvent::Superseded] {
        let mut node = Node::leased();
        node.at(5, shard("node-1", 2, 3, 11));
        let actions = node.at(6, event);
        assert_eq!(
            actions,
            ["step down shard-0 e3 LeaseEnded", "lease r10 term 1.0 free"]
        );
        assert!(!node.0.is_over() && node.serves(6).is_none());
        assert!(node.lease_written(7, 12).is_empty());
        assert!(node.0.is_over());
        assert!(node.at(1_000, LicenceEvent::Tick).is_empty());
    }
}
