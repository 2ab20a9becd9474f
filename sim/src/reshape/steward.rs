//! Who looks after the copies: `failover::replication`, as the coordinators of production run it. It is replaced by a fresh one now and then.

use std::collections::{BTreeMap, VecDeque};

use shardwright_failover::{
    Config, Detector, Observation, Written,
    replication::{Action, CopyReport, Health, Input, Instruction, Lead, Replication, Settings},
};
use shardwright_registry::{Key, Revision, Stored, decode};
use shardwright_testkit::sim::{Pid, Sim, Write};
use shardwright_topology::{
    Incarnation, Lsn, NodeRecord, NodeState, RegisteredCopies, ShardId, ShardRecord, Timestamp,
};

use super::{
    NODES, Reshape, TIMEOUT, Token,
    node::Copy,
    node_id,
    tasks::{Done, Got, Text, Want},
};

/// The machine, and what it has been shown.
pub(super) struct Steward {
    machine: Replication,
    detector: Detector,
    shown: BTreeMap<Key, Revision>,
}

impl Steward {
    pub(super) fn new(keyspace: shardwright_topology::KeyspaceName, seed: u64) -> Option<Self> {
        let settings = Settings {
            patience: TIMEOUT * 2,
            patience_max: TIMEOUT * 3,
            grace: TIMEOUT * 6,
            shrink_after: TIMEOUT * 2,
            bootstrap_wait: TIMEOUT,
            lag_max: 20,
            steady: TIMEOUT / 3,
            resend: TIMEOUT / 2,
            keep: TIMEOUT * 4,
            ..Settings::default()
        };
        let detection = Config {
            check_interval: TIMEOUT / 2,
            heartbeat_timeout: TIMEOUT * 2,
            ..Config::default()
        };
        Some(Self {
            machine: Replication::new(settings, keyspace, seed).ok()?,
            detector: Detector::new(&detection),
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
                self.hear(sim, at, now, &mut steward.detector, &mut inputs);
            }
        }
        let mut verdicts = Vec::new();
        steward
            .detector
            .handle(now, Observation::Tick, &mut verdicts);
        inputs.extend(verdicts.into_iter().map(Input::Verdict));
        inputs.extend([Input::Leading(true), Input::Tick]);
        self.feed_steward(sim, now, &mut steward, inputs);
        self.steward = Some(steward);
    }

    /// What has changed in the registry since the machine was last told.
    fn news(&self, sim: &Sim<Self>, steward: &mut Steward) -> Vec<Input> {
        let mut inputs = Vec::new();
        if steward.shown.is_empty() {
            for at in (0..NODES).map(Pid) {
                let mut record = NodeRecord::new(node_id(at), "http://127.0.0.1:1");
                record.state = NodeState::Up;
                inputs.push(Input::Node(record));
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

    /// A node is there, and says how its copies are.
    fn hear(
        &self,
        sim: &Sim<Self>,
        at: Pid,
        now: Timestamp,
        detector: &mut Detector,
        inputs: &mut Vec<Input>,
    ) {
        let (node, incarnation) = (node_id(at), Incarnation(sim.life(at).into()));
        let mut verdicts = Vec::new();
        let heard = Observation::Heard {
            node: node.clone(),
            incarnation,
        };
        detector.handle(now, heard, &mut verdicts);
        inputs.extend(verdicts.into_iter().map(Input::Verdict));
        let copies = self.nodes[&at].copies.iter();
        let reports = copies.filter_map(|(shard, copy)| Some((shard.clone(), report(copy)?)));
        inputs.push(Input::Copies {
            node,
            incarnation,
            copies: reports.collect(),
        });
    }

    fn feed_steward(
        &mut self,
        sim: &mut Sim<Self>,
        now: Timestamp,
        steward: &mut Steward,
        inputs: Vec<Input>,
    ) {
        let mut inputs = VecDeque::from(inputs);
        while let Some(input) = inputs.pop_front() {
            let mut actions = Vec::new();
            steward.machine.handle(now, input, &mut actions);
            for action in actions {
                match action {
                    Action::Write {
                        key,
                        expected,
                        record,
                    } => {
                        let shard = record.id.clone();
                        let written = Self::written(sim, key, expected, &record);
                        inputs.push_front(Input::Written { shard, written });
                    }
                    Action::Read { shard } => {
                        let stored = sim.store().get(&self.shard_key(&shard));
                        inputs.extend(stored.and_then(shard_of).map(Input::Shard));
                    }
                    Action::Instruct { node, instruction } => {
                        let at = Self::pid(&node).filter(|at| sim.is_up(*at));
                        if let Some(at) = at.filter(|_| !sim.is_faulty() || !sim.dice().chance(10))
                        {
                            let late =
                                sim.now(at) + sim.dice().time(&(Default::default()..=TIMEOUT / 4));
                            sim.wake(at, late, Token::Told(Box::new(instruction)));
                        }
                    }
                    Action::Emit(event) => sim.trace(|| format!("steward: {event:?}")),
                    Action::Answer { .. } => {}
                }
            }
        }
    }

    /// Writes what the machine decided. It is not always told what became of that.
    fn written(sim: &mut Sim<Self>, key: Key, expected: Revision, record: &ShardRecord) -> Written {
        let is_heard = !sim.is_faulty() || !sim.dice().chance(10);
        let is_done = sim.put(Write {
            key: key.clone(),
            expected: Some(expected),
            value: shardwright_registry::encode(record).ok().map(Text),
        });
        let revision = sim.store().get(&key).map(|stored| stored.revision);
        match revision.filter(|_| is_done) {
            _ if !is_heard => Written::Unknown,
            Some(revision) => Written::Done(revision),
            None => Written::Refused,
        }
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
    let (replica, log) = (machine.replica(), machine.replica().log());
    let durable = log.point(replica.durable_lsn()).unwrap_or(log.base());
    let commit = log.point(replica.known_commit());
    let followers = machine.followers();
    let followers = followers.filter(|follower| follower.matched > Lsn(0));
    let lead = machine.leads().map(|config| Lead {
        epoch: config.epoch,
        last: log.last().lsn,
        commit: commit
            .filter(|commit| commit.epoch == config.epoch)
            .map(|commit| commit.lsn),
        followers: followers
            .map(|follower| (follower.replica_id, follower.matched))
            .collect(),
    });
    let health = if copy.is_whole() {
        Health::Whole
    } else {
        Health::Faulty
    };
    Some(CopyReport {
        replica_id: replica.replica_id(),
        incarnation: copy.incarnation,
        epoch: durable.epoch,
        durable: durable.lsn,
        health,
        installs: replica.installs(),
        lead,
    })
}
