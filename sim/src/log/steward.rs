//! The coordinator of production among the others, in some runs: it does what a shard needs while there are faults, and after them nobody
//! else does.

use std::collections::BTreeMap;

use shardwright_failover::replication::{
    Action, Command, Condition, CopyReport, Event, Health, Input, Move, Purpose, Registered, Stage,
};
use shardwright_registry::Stored;
use shardwright_testkit::sim::{Pid, Sim, Write};
use shardwright_topology::{Incarnation, NodeId, ReplicaId, ShardId, ShardRecord, Timestamp};

use super::{CLIENTS_STOP, Content, Logs, NODES, Node, TIMEOUT, node_id, pid, situations, zones};
use crate::caretaker::{self, Caretaker, Patience};

/// The coordinator, and what it has been told.
#[derive(Debug)]
pub(super) struct Steward {
    caretaker: Caretaker,
    registered: BTreeMap<Pid, ReplicaId>,
    /// How often an operator has asked for something.
    commands: u64,
}

impl Steward {
    pub(super) fn new(seed: u64) -> Self {
        let patience = Patience {
            timeout: TIMEOUT,
            grace: TIMEOUT * 4,
            shrink_after: TIMEOUT,
        };
        let keyspace = "main".parse().expect("a name");
        let caretaker = Caretaker::new(patience, keyspace, seed);
        Self {
            caretaker: caretaker.expect("settings that fit"),
            registered: BTreeMap::new(),
            commands: 0,
        }
    }

    /// Checks that it has brought the shard back to what it should be.
    pub(super) fn is_content(&self) -> Result<(), String> {
        match self.caretaker.condition(&shard()) {
            Some(Condition::Whole) => Ok(()),
            other => Err(format!("the coordinator of production leaves it {other:?}")),
        }
    }
}

impl<C: Content> Logs<C> {
    /// Lets the machine do what the shard needs. `false` if there is none, or if somebody else comes first.
    pub(super) fn attend(&mut self, sim: &mut Sim<Self>, stored: &Stored<ShardRecord>) -> bool {
        if self.steward.is_none() || sim.is_faulty() && sim.dice().chance(50) {
            return false;
        }
        let Some(mut steward) = self.steward.take() else {
            return false;
        };
        let now = Timestamp(sim.true_time());
        let mut inputs = self.registrations(&mut steward);
        inputs.push(Input::Shard(stored.clone()));
        for at in (0..NODES).map(Pid) {
            if sim.is_up(at) && !sim.is_paused(at) {
                let process = (node_id(at), Incarnation(sim.life(at).into()));
                let copies = report(&self.nodes[&at]).map(|report| (shard(), report));
                let copies = copies.into_iter().collect();
                steward.caretaker.hear(now, process, copies, &mut inputs);
            }
        }
        steward.caretaker.tick(now, &mut inputs);
        inputs.extend(Self::moving(sim, &stored.value, &steward));
        inputs.extend(self.command(sim, &stored.value, &mut steward));
        self.feed_steward(sim, now, &mut steward, inputs);
        self.steward = Some(steward);
        true
    }

    /// The copies that were registered since the machine was last told.
    fn registrations(&self, steward: &mut Steward) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (at, member) in &self.registered {
            let before = steward.registered.insert(*at, member.replica_id);
            if before.is_none() {
                let mut record = caretaker::node(member.node.clone());
                record.location.zone = zones().remove(&member.node);
                inputs.push(Input::Node(record));
            }
            if before != Some(member.replica_id) {
                inputs.push(Input::Registered(Registered {
                    node: member.node.clone(),
                    opened: Incarnation(0),
                    copies: BTreeMap::from([(shard(), member.replica_id)]),
                }));
            }
        }
        inputs
    }

    /// Which member is to give its place to a copy on which node, while people ask for such things: first it is filled, then it takes the place,
    /// and it is taken back at any time.
    fn moving(sim: &mut Sim<Self>, record: &ShardRecord, steward: &Steward) -> Option<Input> {
        let wanted = steward.caretaker.moving(&shard());
        let quiet = sim.quiet_for();
        let is_early = quiet.is_none_or(|quiet| quiet < CLIENTS_STOP / 2);
        let moving = match (wanted, record.active.as_ref()) {
            (Some(_), _) if !is_early => None,
            (Some(moving), _) if sim.dice().chance(10) => {
                let stage = *sim.dice().pick(&[Stage::Swap, Stage::Swap, Stage::Undo]);
                Some(Move {
                    stage,
                    ..moving.clone()
                })
            }
            (Some(_), _) if sim.dice().chance(4) => None,
            (None, Some(active)) if is_early && sim.dice().chance(10) => {
                let members: Vec<_> = active.members.iter().map(|each| &each.node).collect();
                let all: Vec<_> = (0..NODES).map(|node| node_id(Pid(node))).collect();
                Some(Move {
                    from: (*sim.dice().pick(&members)).clone(),
                    to: sim.dice().pick(&all).clone(),
                    stage: Stage::Fill,
                })
            }
            _ => return None,
        };
        let shard = shard();
        Some(Input::Move { shard, moving })
    }

    /// What an operator asks for, while all is well: another primary.
    fn command(
        &mut self,
        sim: &mut Sim<Self>,
        record: &ShardRecord,
        steward: &mut Steward,
    ) -> Option<Input> {
        let quiet = sim.quiet_for();
        let is_early = quiet.is_some_and(|quiet| quiet < CLIENTS_STOP / 2);
        let active = record.active.as_ref().filter(|_| is_early)?;
        let others: Vec<_> = active.replicas().map(|member| pid(&member.node)).collect();
        if others.is_empty() || record.pending.is_some() || !sim.dice().chance(15) {
            return None;
        }
        steward.commands += 1;
        Some(Input::Command {
            ticket: steward.commands,
            command: Command::HandOver {
                shard: shard(),
                to: node_id(*sim.dice().pick(&others)),
            },
        })
    }

    fn feed_steward(
        &mut self,
        sim: &mut Sim<Self>,
        now: Timestamp,
        steward: &mut Steward,
        inputs: Vec<Input>,
    ) {
        steward.caretaker.feed(now, inputs, |caretaker, action| {
            sim.trace(|| format!("steward -> {action:?}"));
            match action {
                Action::Write {
                    key,
                    expected,
                    record,
                } => {
                    let shard = record.id.clone();
                    let write = Write {
                        key,
                        expected: Some(expected),
                        value: Some(*record),
                    };
                    let written = caretaker::write(sim, write);
                    return Some(Input::Written { shard, written });
                }
                Action::Read { .. } => {
                    return sim.store().get(&self.key).cloned().map(Input::Shard);
                }
                Action::Instruct { node, instruction } => {
                    if !sim.is_faulty() || !sim.dice().chance(10) {
                        self.instruct(sim, pid(&node), instruction);
                    }
                }
                Action::Emit(event) => self.happened(sim, &event, caretaker.moving(&shard())),
                Action::Answer { .. } => {}
            }
            None
        });
    }

    fn happened(&mut self, sim: &mut Sim<Self>, event: &Event, moving: Option<&Move>) {
        match event {
            Event::Attempt {
                epoch,
                purpose: Purpose::HandOver,
                ..
            } => self.hand_over = Some((*epoch, sim.true_time())),
            Event::Activated { members, .. } => {
                C::mark(sim, situations::LOOKED_AFTER);
                let has = |node: &NodeId| members.iter().any(|member| member.node == *node);
                let swaps = moving.filter(|moving| moving.stage == Stage::Swap);
                if swaps.is_some_and(|moving| has(&moving.to) && !has(&moving.from)) {
                    C::mark(sim, situations::MOVED);
                }
            }
            _ => {}
        }
    }
}

fn shard() -> ShardId {
    ShardId::numbered(0)
}

/// What a node says of its copy; nothing while there is no room for it to be open.
fn report(node: &Node) -> Option<CopyReport> {
    let machine = node.machine.as_ref().filter(|_| !node.is_refused)?;
    let health = if !node.is_whole() {
        Health::Faulty
    } else if machine.saw_registry_go_back() {
        Health::RegistryWentBack
    } else {
        Health::Whole
    };
    let incarnation = Incarnation(node.life.into());
    Some(caretaker::report(machine, incarnation, health))
}
