//! Shards that are made beside another one, which an operation fills them from.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_registry::{Key, Revision, Stored};
use shardwright_topology::{
    Config, ConfigId, Epoch, Incarnation, KeyRange, KeyspaceName, Lsn, Member, NodeId, NodeRecord,
    NodeState, OperationId, Primary, ReplicaId, ShardId, ShardRecord, Timestamp,
};

use super::world::{id, settings};
use crate::{Verdict, replication::*};

pub(super) const OPENING: Incarnation = Incarnation(9);

/// Five nodes. `shard-0` has members on n2, n3 and n5, of which n3 is the primary.
struct Scene {
    machine: Replication,
    now: Timestamp,
    states: BTreeMap<NodeId, NodeState>,
    /// The copies of the new shard.
    copies: BTreeMap<NodeId, ReplicaId>,
    neighbour: Stored<ShardRecord>,
    target: Stored<ShardRecord>,
    actions: Vec<Action>,
}

pub(super) fn stored(value: ShardRecord) -> Stored<ShardRecord> {
    let key = Key::new(format!("shard/main/{}", value.id)).expect("a key");
    let revision = Revision(1);
    Stored {
        key,
        value,
        revision,
    }
}

fn neighbour() -> ShardRecord {
    let member = |number: u128| Member {
        node: id(&format!("n{number}")),
        replica_id: ReplicaId::from_bits(number),
    };
    let config = Config {
        epoch: Epoch(4),
        config_id: ConfigId::from_bits(4),
        primary: Primary {
            node: id("n3"),
            incarnation: OPENING,
        },
        members: [2, 3, 5].map(member).into(),
        w: 2,
        zones: 1,
    };
    let range = Some(KeyRange::ALL);
    let record = ShardRecord::new(KeyspaceName::main(), ShardId::numbered(0), range);
    ShardRecord {
        epoch: Epoch(4),
        active: Some(config),
        ..record.replicated()
    }
}

fn target(beside: ShardId) -> ShardRecord {
    let (operation, id) = (OperationId::new("op-1"), ShardId::new("op-1.0"));
    let (operation, id) = (operation.expect("a name"), id.expect("a name"));
    let record = ShardRecord::target_of(operation, KeyspaceName::main(), id, KeyRange::ALL);
    record.replicated().beside(beside)
}

impl Scene {
    fn new(beside: ShardId) -> Self {
        let machine = Replication::new(settings(), KeyspaceName::main(), 7);
        let mut scene = Self {
            machine: machine.expect("settings that fit"),
            now: Timestamp::default(),
            states: (1..6)
                .map(|number| (id(&format!("n{number}")), NodeState::Up))
                .collect(),
            copies: BTreeMap::new(),
            neighbour: stored(neighbour()),
            target: stored(target(beside)),
            actions: Vec::new(),
        };
        let (neighbour, target) = (scene.neighbour.clone(), scene.target.clone());
        scene.tell(Input::Shard(target));
        scene.tell(Input::Shard(neighbour));
        scene
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(self.now, input, &mut self.actions);
    }

    /// Lets every node say what it is and has, and some time pass. Copies that were ordered are there the next time.
    fn step(&mut self) {
        let neighbour = self.neighbour.value.active.clone().expect("it is served");
        for (node, state) in self.states.clone() {
            let mut record = NodeRecord::new(node.clone(), "http://127.0.0.1:1");
            (record.state, record.incarnation) = (state, Incarnation(1));
            self.tell(Input::Node(record));
            let incarnation = Incarnation(1);
            let up = node.clone();
            self.tell(Input::Verdict(Verdict::Up {
                node: up,
                incarnation,
            }));
            let old = neighbour.member(&node).map(|member| member.replica_id);
            let old = old.map(|copy| (self.neighbour.value.id.clone(), copy));
            let new = self.copies.get(&node);
            let new = new.map(|copy| (self.target.value.id.clone(), *copy));
            let copies: BTreeMap<_, _> = old.into_iter().chain(new).collect();
            let report = |(shard, copy): (&ShardId, &ReplicaId)| {
                let leads = *shard == self.neighbour.value.id && node == neighbour.primary.node;
                (shard.clone(), report(*copy, leads.then_some(&neighbour)))
            };
            let reports = copies.iter().map(report).collect();
            self.tell(Input::Registered(Registered {
                node: node.clone(),
                opened: Incarnation(0),
                copies,
            }));
            self.tell(Input::Copies {
                node,
                incarnation,
                copies: reports,
            });
        }
        self.tell(Input::Leading(true));
        self.now = self.now + settings().resend / 2;
        self.tell(Input::Tick);
        for action in &self.actions {
            if let Action::Instruct {
                node,
                instruction: Instruction::Create { shard, replica_id },
            } = action
                && *shard == self.target.value.id
            {
                self.copies.insert(node.clone(), *replica_id);
            }
        }
    }

    /// Returns the first configuration that the new shard is to have: its primary, and its members.
    fn first(&mut self) -> (NodeId, BTreeSet<NodeId>) {
        for _ in 0..100 {
            self.step();
            let written = self.actions.iter().find_map(|action| match action {
                Action::Write { record, .. } if record.id == self.target.value.id => {
                    record.pending.clone()
                }
                _ => None,
            });
            if let Some(config) = written {
                let members = config.members.iter().map(|member| member.node.clone());
                return (config.primary.node, members.collect());
            }
        }
        panic!("no configuration: {:?}", self.actions);
    }
}

/// A whole copy, which leads in the configuration named.
pub(super) fn report(replica_id: ReplicaId, leads: Option<&Config>) -> CopyReport {
    let lead = leads.map(|config| Lead {
        epoch: config.epoch,
        last: Lsn(7),
        commit: Some(Lsn(7)),
        followers: config
            .replicas()
            .map(|member| (member.replica_id, Lsn(7)))
            .collect(),
    });
    CopyReport {
        replica_id,
        incarnation: OPENING,
        epoch: leads.map_or(Epoch::UNASSIGNED, |config| config.epoch),
        durable: Lsn(if leads.is_some() { 7 } else { 0 }),
        health: Health::Whole,
        installs: false,
        lead,
    }
}

fn nodes<const N: usize>(names: [&str; N]) -> BTreeSet<NodeId> {
    names.map(id).into()
}

#[test]
fn the_first_copies_are_made_beside_those_of_the_shard_named() {
    let mut scene = Scene::new(ShardId::numbered(0));
    assert_eq!(scene.first(), (id("n3"), nodes(["n2", "n3", "n5"])));
    assert_eq!(scene.copies.len(), 3, "and nowhere else");
}

#[test]
fn as_many_copies_are_made_as_the_shard_named_has() {
    let mut scene = Scene::new(ShardId::numbered(0));
    let config = scene.neighbour.value.active.as_mut().expect("it is served");
    config.members.retain(|member| member.node != id("n5"));
    scene.neighbour.revision = Revision(2);
    let neighbour = scene.neighbour.clone();
    scene.tell(Input::Shard(neighbour));
    assert_eq!(scene.first(), (id("n3"), nodes(["n2", "n3"])));
}

#[test]
fn a_node_that_leaves_gets_none_and_another_one_is_primary() {
    let mut scene = Scene::new(ShardId::numbered(0));
    scene.states.insert(id("n3"), NodeState::Draining);
    let (primary, members) = scene.first();
    assert_eq!(members, nodes(["n2", "n5"]));
    assert!(members.contains(&primary), "{primary}");
}

#[test]
fn beside_a_shard_that_nobody_knows_they_are_anywhere() {
    let mut scene = Scene::new(ShardId::numbered(8));
    let (_, members) = scene.first();
    assert_eq!(members.len(), 3);
    assert_ne!(members, nodes(["n2", "n3", "n5"]), "those are the fullest");
}
