//! Where people have put partitions, as two coordinators and a registry know it.

use std::{collections::BTreeMap, time::Duration};

use rand::{SeedableRng, rngs::StdRng};
use shardwright_rebalancer::ReplicaPolicy;
use shardwright_registry::{Holder, Key, LeaseRecord, Revision, Seen, Stored};
use shardwright_topology::{
    Config, ConfigId, Epoch, Incarnation, Member, NodeRecord, NodeState, Primary, ReplicaId,
    ShardId, ShardRecord, Timestamp,
};

use super::*;
use crate::core::{Change, Command, CommandId, Event, Settings, WriteOutcome};

/// What a write of a pin comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    /// Nobody knows, and it has not happened.
    Lost,
}

/// Two coordinators, which see every change at once.
struct Desk {
    cores: [Core; 2],
    registry: BTreeMap<Key, (u64, Value)>,
    revision: u64,
    now: Timestamp,
    fate: Fate,
}

fn name(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

fn partition() -> PartitionId {
    PartitionId::new(Settings::partitions(), ShardId::new("p").unwrap())
}

/// The partition, which a node serves.
fn record(node: &str) -> ShardRecord {
    let member = Member {
        node: name(node),
        replica_id: ReplicaId::from_bits(1),
    };
    let config = Config {
        epoch: Epoch(1),
        config_id: ConfigId::from_bits(1),
        primary: Primary {
            node: name(node),
            incarnation: Incarnation(1),
        },
        members: [member].into(),
        w: 1,
        zones: 1,
    };
    ShardRecord {
        state: ShardState::Serving,
        epoch: Epoch(1),
        active: Some(config),
        ..ShardRecord::new(partition().keyspace, partition().shard, None)
    }
}

impl Desk {
    /// Two nodes that are up, a partition on the first, and two coordinators of which the first leads.
    fn new() -> Self {
        let core = |id: &str| {
            let settings = Settings::new(name(id), Incarnation(1));
            let rng = Box::new(StdRng::seed_from_u64(1));
            Core::new(settings, Box::new(ReplicaPolicy::default()), rng)
        };
        let mut desk = Self {
            cores: [core("c0"), core("c1")],
            registry: BTreeMap::new(),
            revision: 0,
            now: Timestamp::default(),
            fate: Fate::Done,
        };
        for node in ["n1", "n2"] {
            let holder = Some(Holder {
                node: name(node),
                incarnation: Incarnation(1),
            });
            let (term, counter) = (1, 0);
            let lease = LeaseRecord {
                holder,
                term,
                counter,
            };
            desk.put(&format!("lease/node.{node}"), Value::Lease(lease));
            desk.node(node, NodeState::Up);
        }
        desk.put("shard/partitions/p", Value::Shard(record("n1")));
        for core in 0..2 {
            let listed = Seen::Listed(Revision(desk.revision));
            desk.tell(core, Event::Seen(listed));
        }
        desk.until_leading(0);
        desk
    }

    fn node(&mut self, node: &str, state: NodeState) {
        let record = NodeRecord {
            state,
            incarnation: Incarnation(1),
            ..NodeRecord::new(name(node), "http://127.0.0.1:1")
        };
        self.put(&format!("node/{node}"), Value::Node(record));
    }

    fn put(&mut self, key: &str, value: Value) {
        self.store(Key::new(key).unwrap(), Some(value));
    }

    /// Changes a key, and shows that.
    fn store(&mut self, key: Key, value: Option<Value>) -> Revision {
        self.revision += 1;
        let revision = Revision(self.revision);
        match &value {
            Some(value) => self
                .registry
                .insert(key.clone(), (self.revision, value.clone())),
            None => self.registry.remove(&key),
        };
        for core in 0..2 {
            let seen = match value.clone() {
                Some(value) => value.seen(key.clone(), revision),
                None => Seen::Deleted {
                    key: key.clone(),
                    revision,
                },
            };
            self.tell(core, Event::Seen(seen));
        }
        revision
    }

    fn tell(&mut self, core: usize, event: Event) {
        let mut actions = Vec::new();
        self.cores[core].handle(self.now, event, &mut actions);
        self.carry_out(core, actions);
    }

    fn carry_out(&mut self, core: usize, actions: Vec<Action>) {
        for action in actions {
            if let Action::Write { write, change } = action {
                let outcome = self.write(change);
                self.tell(core, Event::Wrote { write, outcome });
            }
        }
    }

    fn write(&mut self, change: Change) -> WriteOutcome {
        let known = self
            .registry
            .get(&change.key)
            .map(|(revision, _)| *revision);
        if change.key.as_str().starts_with("pin/") && self.fate == Fate::Lost {
            return WriteOutcome::Unknown;
        }
        if known != change.expected.map(|revision| revision.0) {
            return WriteOutcome::Conflict;
        }
        WriteOutcome::Done(self.store(change.key, change.value))
    }

    fn tick(&mut self) {
        self.now = self.now + Duration::from_millis(100);
        for core in 0..2 {
            self.tell(core, Event::Tick);
        }
    }

    fn until_leading(&mut self, core: usize) {
        for _ in 0..1_000 {
            if self.cores[core].is_leading(self.now) {
                return;
            }
            self.now = self.now + Duration::from_millis(100);
            self.tell(core, Event::Tick);
        }
        panic!("c{core} does not lead");
    }

    /// Has the other coordinator lead.
    fn hand_over(&mut self) {
        let mut actions = Vec::new();
        self.cores[0].resign(&mut actions);
        self.carry_out(0, actions);
        self.until_leading(1);
    }

    fn command(&mut self, command: Command) {
        let id = CommandId(self.revision);
        self.tell(0, Event::Command { id, command });
    }

    /// Has somebody put the partition on the other node.
    fn put_by_hand(&mut self) {
        self.command(Command::Move {
            partition: partition(),
            from: None,
            to: name("n2"),
        });
    }

    /// Where the registry says that the partition is to stay.
    fn pin(&self) -> Option<String> {
        let key = PinRecord::key(&partition().keyspace, &partition().shard);
        match self.registry.get(&key) {
            Some((_, Value::Pin(pin))) => Some(pin.node.to_string()),
            Some((_, other)) => panic!("no pin: {other:?}"),
            None => None,
        }
    }

    /// Whether a coordinator lets no plan move the partition.
    fn stays(&self, core: usize) -> bool {
        let known = self.cores[core].cluster.partition(&partition());
        known.expect("it is there").pinned
    }
}

#[test]
fn whoever_leads_next_leaves_a_partition_where_it_was_put() {
    let mut desk = Desk::new();
    desk.put_by_hand();
    assert_eq!(desk.pin().as_deref(), Some("n2"));
    desk.put("shard/partitions/p", Value::Shard(record("n2")));
    assert!(desk.stays(0));
    desk.hand_over();
    assert!(desk.stays(1));
    // Once it serves elsewhere, the pin says nothing of it.
    desk.put("shard/partitions/p", Value::Shard(record("n1")));
    assert!(!desk.stays(1));
}

#[test]
fn what_is_let_go_is_let_go_for_whoever_leads_next() {
    let mut desk = Desk::new();
    desk.put_by_hand();
    desk.put("shard/partitions/p", Value::Shard(record("n2")));
    let partition = partition();
    desk.command(Command::Unpin { partition });
    assert_eq!((desk.pin(), desk.stays(0)), (None, false));
    desk.hand_over();
    assert!(!desk.stays(1));
}

#[test]
fn a_pin_lapses_with_its_node_and_with_its_partition() {
    for state in [NodeState::Draining, NodeState::Down] {
        let mut desk = Desk::new();
        desk.put_by_hand();
        desk.node("n2", state);
        assert_eq!(desk.pin(), None, "{state:?}");
        desk.node("n2", NodeState::Up);
        desk.put("shard/partitions/p", Value::Shard(record("n2")));
        assert!(!desk.stays(0), "{state:?}");
    }
    let mut desk = Desk::new();
    desk.put_by_hand();
    let key = Key::new("shard/partitions/p").unwrap();
    desk.store(key, None);
    assert_eq!(desk.pin(), None);
}

#[test]
fn a_pin_that_lapsed_while_nobody_led_is_removed_by_whoever_leads_next() {
    let mut desk = Desk::new();
    desk.put_by_hand();
    let mut actions = Vec::new();
    desk.cores[0].resign(&mut actions);
    desk.carry_out(0, actions);
    desk.node("n2", NodeState::Draining);
    assert_eq!(desk.pin().as_deref(), Some("n2"), "nobody leads");
    desk.until_leading(1);
    assert_eq!(desk.pin(), None);
}

#[test]
fn a_pin_of_which_nobody_knows_is_written_again() {
    let mut desk = Desk::new();
    desk.fate = Fate::Lost;
    desk.put_by_hand();
    assert_eq!(desk.pin(), None);
    desk.fate = Fate::Done;
    desk.tick();
    assert_eq!(desk.pin().as_deref(), Some("n2"));
}

#[test]
fn who_does_not_lead_any_more_wants_nothing() {
    let mut desk = Desk::new();
    desk.fate = Fate::Lost;
    desk.put_by_hand();
    desk.put("shard/partitions/p", Value::Shard(record("n2")));
    assert!(desk.stays(0));
    desk.hand_over();
    desk.fate = Fate::Done;
    desk.tick();
    assert_eq!((desk.pin(), desk.stays(0)), (None, false));
}

#[test]
fn what_somebody_else_has_written_is_written_over_once_it_is_seen() {
    let mut desk = Desk::new();
    desk.put_by_hand();
    let key = PinRecord::key(&partition().keyspace, &partition().shard);
    // Another leader's, which this one has not been shown.
    let other = Value::Pin(PinRecord { node: name("n1") });
    desk.registry.insert(key.clone(), (1_000, other.clone()));
    desk.revision = 1_000;
    desk.command(Command::Unpin {
        partition: partition(),
    });
    assert_eq!(desk.pin().as_deref(), Some("n1"));
    let stored = Stored {
        key,
        value: PinRecord { node: name("n1") },
        revision: Revision(1_000),
    };
    desk.tell(0, Event::Seen(Seen::Pin(stored)));
    assert_eq!(desk.pin(), None);
}
