//! Shards whose primaries are all on a node that gives away what it has.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_registry::{Revision, Stored};
use shardwright_topology::{
    Config, ConfigId, Epoch, Incarnation, KeyRange, KeyspaceName, Member, NodeId, NodeRecord,
    NodeState, Primary, ReplicaId, ShardId, ShardRecord, Timestamp,
};

use super::{
    beside::{OPENING, report, stored},
    world::{id, settings},
};
use crate::{Verdict, Written, replication::*};

/// Three nodes with all copies; n1 has the primaries and leaves.
struct Scene {
    machine: Replication,
    now: Timestamp,
    shards: BTreeMap<ShardId, Stored<ShardRecord>>,
}

fn served(number: u32) -> ShardRecord {
    let member = |node: u32| Member {
        node: id(&format!("n{node}")),
        replica_id: ReplicaId::from_bits(u128::from(number * 10 + node)),
    };
    let config = Config {
        epoch: Epoch(4),
        config_id: ConfigId::from_bits(u128::from(number)),
        primary: Primary {
            node: id("n1"),
            incarnation: OPENING,
        },
        members: [1, 2, 3].map(member).into(),
        w: 2,
        zones: 1,
    };
    let shard = ShardId::numbered(number);
    let record = ShardRecord::new(KeyspaceName::main(), shard, Some(KeyRange::ALL));
    ShardRecord {
        epoch: Epoch(4),
        active: Some(config),
        ..record.replicated()
    }
}

impl Scene {
    fn new(shards: u32) -> Self {
        let machine = Replication::new(settings(), KeyspaceName::main(), 7);
        let mut scene = Self {
            machine: machine.expect("settings that fit"),
            now: Timestamp::default(),
            shards: (0..shards)
                .map(|number| (ShardId::numbered(number), stored(served(number))))
                .collect(),
        };
        for shard in scene.shards.clone().into_values() {
            scene.tell(Input::Shard(shard));
        }
        for node in ["n1", "n2", "n3"] {
            scene.introduce(&id(node));
        }
        scene.tell(Input::Leading(true));
        scene.now = scene.now + settings().patience_max;
        scene
    }

    fn tell(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        self.machine.handle(self.now, input, &mut actions);
        actions
    }

    fn introduce(&mut self, node: &NodeId) {
        self.state(node, NodeState::Up);
        let incarnation = Incarnation(1);
        self.tell(Input::Verdict(Verdict::Up {
            node: node.clone(),
            incarnation,
        }));
        let (mut copies, mut reports) = (BTreeMap::new(), BTreeMap::new());
        for (shard, stored) in &self.shards {
            let active = stored.value.active.as_ref().expect("it is served");
            let copy = active.member(node).expect("a member").replica_id;
            let leads = (active.primary.node == *node).then_some(active);
            copies.insert(shard.clone(), copy);
            reports.insert(shard.clone(), report(copy, leads));
        }
        self.tell(Input::Registered(Registered {
            node: node.clone(),
            opened: Incarnation(0),
            copies,
        }));
        self.tell(Input::Copies {
            node: node.clone(),
            incarnation,
            copies: reports,
        });
    }

    fn state(&mut self, node: &NodeId, state: NodeState) -> Vec<Action> {
        let mut record = NodeRecord::new(node.clone(), "http://127.0.0.1:1");
        (record.state, record.incarnation) = (state, Incarnation(1));
        self.tell(Input::Node(record))
    }

    /// Has one attempt written and activated, and returns what is done then.
    fn succeed(&mut self, shard: &ShardId, record: ShardRecord) -> Vec<Action> {
        let written = Written::Done(Revision(2));
        let pending = record.pending.clone().expect("an attempt");
        let begun = self.tell(Input::Written {
            shard: shard.clone(),
            written,
        });
        assert!(attempts(&begun).is_empty(), "its turn is not over");
        let mut stored = stored(record.activate(pending.config_id).expect("its own"));
        stored.revision = Revision(3);
        self.tell(Input::Shard(stored))
    }
}

fn attempts(actions: &[Action]) -> BTreeMap<ShardId, ShardRecord> {
    let attempt = |action: &Action| match action {
        Action::Write { record, .. } => Some((record.id.clone(), (**record).clone())),
        _ => None,
    };
    actions.iter().filter_map(attempt).collect()
}

#[test]
fn primaries_of_a_node_that_leaves_make_way_one_after_the_other() {
    let mut scene = Scene::new(3);
    let mut actions = scene.state(&id("n1"), NodeState::Draining);
    let mut moved = BTreeSet::new();
    while let Some((shard, record)) = attempts(&actions).pop_first() {
        assert_eq!(attempts(&actions).len(), 1, "{moved:?}");
        let pending = record.pending.as_ref().expect("an attempt");
        assert_ne!(pending.primary.node, id("n1"));
        assert!(moved.insert(shard.clone()), "{shard} has moved already");
        actions = scene.succeed(&shard, record);
    }
    assert_eq!(moved.len(), 3);
}

#[test]
fn one_that_is_stuck_holds_up_the_others_for_a_moment() {
    let mut scene = Scene::new(2);
    let first = attempts(&scene.state(&id("n1"), NodeState::Draining));
    assert_eq!(first.len(), 1);
    assert!(attempts(&scene.tell(Input::Tick)).is_empty());
    scene.now = scene.now + settings().resend;
    let second = attempts(&scene.tell(Input::Tick));
    assert_eq!(second.len(), 1);
    assert_ne!(first.keys().next(), second.keys().next());
}
