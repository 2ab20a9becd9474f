//! Who looks after the copies: `failover::replication`, as the coordinators of production run it. It is replaced by a fresh one now and then.

use std::collections::BTreeMap;

use shardwright_failover::{
    Written,
    replication::{Action, CopyReport, Health, Input, Instruction},
};
use shardwright_registry::{Key, Revision, Stored, decode, encode};
use shardwright_testkit::sim::{Pid, Sim, Write};
use shardwright_topology::{
    Incarnation, KeyspaceName, RegisteredCopies, ShardId, ShardRecord, Timestamp,
};

use super::{
    NODES, Reshape, TIMEOUT, Token,
    node::Copy,
    node_id,
    tasks::{Done, Got, Text, Want},
};
use crate::caretaker::{self, Caretaker, Patience};

/// The coordinator, and what it has been shown.
pub(super) struct Steward {
    caretaker: Caretaker,
    shown: BTreeMap<Key, Revision>,
}

impl Steward {
    pub(super) fn new(keyspace: KeyspaceName, seed: u64) -> Option<Self> {
        let patience = Patience {
            timeout: TIMEOUT,
            grace: TIMEOUT * 6,
            shrink_after: TIMEOUT * 2,
        };
        Some(Self {
            caretaker: Caretaker::new(patience, keyspace, seed)?,
            shown: BTreeMap::new(),
        })
    }
}

impl Reshape {
    /// Lets the machine see what there is, and does what it wants.
    pub(super) fn attend(&mut self, sim: &mut Sim<Self>) {
        sim.plan(TIMEOUT / 5, Token::Attend);
        if sim.is_store_away() {
            return;
        }
        if self.steward.is_none() || sim.is_faulty() && sim.dice().chance(1) {
            self.steward = Steward::new(self.keyspace.clone(), sim.dice().bits());
        }
        let Some(mut steward) = self.steward.take() else {
            return;
        };
        let now = Timestamp(sim.true_time());
        let mut inputs = self.news(sim, &mut steward);
        for at in (0..NODES).map(Pid) {
            if sim.is_up(at) && !sim.is_paused(at) {
                let process = (node_id(at), Incarnation(sim.life(at).into()));
                let copies = self.nodes[&at].copies.iter();
                let reports =
                    copies.filter_map(|(shard, copy)| Some((shard.clone(), report(copy)?)));
                let reports = reports.collect();
                steward.caretaker.hear(now, process, reports, &mut inputs);
            }
        }
        steward.caretaker.tick(now, &mut inputs);
        self.feed_steward(sim, now, &mut steward, inputs);
        self.steward = Some(steward);
    }

    /// What has changed in the registry since the machine was last told.
    fn news(&self, sim: &Sim<Self>, steward: &mut Steward) -> Vec<Input> {
        let mut inputs = Vec::new();
        if steward.shown.is_empty() {
            for at in (0..NODES).map(Pid) {
                inputs.push(Input::Node(caretaker::node(node_id(at))));
            }
        }
        let mut there = BTreeMap::new();
        for stored in sim.store().entries() {
            there.insert(stored.key.clone(), stored.revision);
            if steward.shown.get(&stored.key) == Some(&stored.revision) {
                continue;
            }
            if self.shards.holds(&stored.key) {
                inputs.extend(shard_of(stored).map(Input::Shard));
            } else if self.registered.holds(&stored.key) {
                let copies = decode::<RegisteredCopies>(&stored.value.0);
                inputs.extend(copies.ok().map(Input::Registered));
            }
        }
        let gone = steward.shown.keys().filter(|key| !there.contains_key(*key));
        let gone = gone.filter_map(|key| key.as_str().rsplit('/').next());
        inputs.extend(
            gone.filter_map(|name| name.parse().ok())
                .map(Input::ShardGone),
        );
        steward.shown = there;
        inputs
    }

    fn feed_steward(
        &mut self,
        sim: &mut Sim<Self>,
        now: Timestamp,
        steward: &mut Steward,
        inputs: Vec<Input>,
    ) {
        steward
            .caretaker
            .feed(now, inputs, |_, action| match action {
                Action::Write {
                    key,
                    expected,
                    record,
                } => {
                    let shard = record.id.clone();
                    let written = Self::written(sim, key, expected, &record);
                    Some(Input::Written { shard, written })
                }
                Action::Read { shard } => {
                    let stored = sim.store().get(&self.shard_key(&shard));
                    stored.and_then(shard_of).map(Input::Shard)
                }
                Action::Instruct { node, instruction } => {
                    let at = Self::pid(&node).filter(|at| sim.is_up(*at));
                    if let Some(at) = at.filter(|_| !sim.is_faulty() || !sim.dice().chance(10)) {
                        let late =
                            sim.now(at) + sim.dice().time(&(Default::default()..=TIMEOUT / 4));
                        sim.wake(at, late, Token::Told(Box::new(instruction)));
                    }
                    None
                }
                Action::Emit(event) => {
                    sim.trace(|| format!("steward: {event:?}"));
                    None
                }
                Action::Answer { .. } => None,
            });
    }

    fn written(sim: &mut Sim<Self>, key: Key, expected: Revision, record: &ShardRecord) -> Written {
        let write = Write {
            key,
            expected: Some(expected),
            value: encode(record).ok().map(Text),
        };
        caretaker::write(sim, write)
    }

    /// A node does what it is told.
    pub(super) fn instructed(&mut self, sim: &mut Sim<Self>, at: Pid, instruction: Instruction) {
        match &instruction {
            Instruction::Create { shard, .. } => self.create_copy(sim, at, shard),
            Instruction::Follow {
                shard,
                epoch,
                learners,
            } => {
                let machine = self.copy(at, shard).and_then(|copy| copy.machine.as_ref());
                let leads = machine.and_then(|machine| machine.leads());
                if leads.is_some_and(|config| config.epoch == *epoch) {
                    let event = shardwright_quorum::log::Event::Learners(learners.clone());
                    self.feed(sim, at, shard, event);
                }
            }
            Instruction::Drop {
                shard, replica_id, ..
            } => {
                let copy = self
                    .copy(at, shard)
                    .filter(|copy| copy.replica_id == *replica_id);
                if copy.is_some() {
                    self.delete(at, shard.clone(), instruction);
                }
            }
        }
    }

    /// Deletes a copy, unless its shard may need it.
    fn delete(&mut self, at: Pid, shard: ShardId, instruction: Instruction) {
        let promised = self.copy(at, &shard).and_then(|copy| copy.machine.as_ref());
        let promised = promised.and_then(|machine| machine.replica().promised());
        let promised = promised.map(|ballot| ballot.epoch).unwrap_or_default();
        let Some(handle) = self.nodes.get(&at).and_then(|node| node.handle.clone()) else {
            return;
        };
        self.tasks.spawn(at, async move {
            let stopped = handle.port.ask(Want::Stop(shard.clone())).await;
            let Got::Stopped(Some(held)) = stopped else {
                return Done::Nothing;
            };
            let found = handle.registry.shards().get(&shard).await;
            let may = found
                .ok()
                .flatten()
                .is_some_and(|stored| instruction.may_delete(held, promised, &stored).is_ok());
            if !may || handle.erase(&shard, Some(held)).await.is_err() {
                handle.port.tell(Want::Start(shard));
            }
            Done::Nothing
        });
    }
}

/// Reads the record of a shard.
pub(super) fn shard_of(stored: &Stored<Text>) -> Option<Stored<ShardRecord>> {
    Some(Stored {
        key: stored.key.clone(),
        value: decode(&stored.value.0).ok()?,
        revision: stored.revision,
    })
}

/// What a node says of its copy.
fn report(copy: &Copy) -> Option<CopyReport> {
    let machine = copy.machine.as_ref()?;
    let health = if copy.is_whole() {
        Health::Whole
    } else {
        Health::Faulty
    };
    Some(caretaker::report(machine, copy.incarnation, health))
}
