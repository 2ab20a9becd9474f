//! The coordinator of production among the others, in some runs: it does what a shard needs while there are faults, and after them nobody
//! else does.

use std::collections::{BTreeMap, VecDeque};

use shardwright_failover::{
    Config, Detector, Observation, Written,
    replication::{
        Action, Command, Condition, CopyReport, Event, Health, Input, Lead, Move, Purpose,
        Registered, Replication, Settings, Stage,
    },
};
use shardwright_registry::Stored;
use shardwright_testkit::sim::{Pid, Sim, Write};
use shardwright_topology::{
    Incarnation, Lsn, NodeId, NodeRecord, NodeState, ReplicaId, ShardId, ShardRecord, Timestamp,
};

use super::{CLIENTS_STOP, Content, Logs, NODES, Node, TIMEOUT, node_id, pid, situations, zones};

/// The machine, and what it has been told.
#[derive(Debug)]
pub(super) struct Steward {
    machine: Replication,
    detector: Detector,
    registered: BTreeMap<Pid, ReplicaId>,
    /// How often an operator has asked for something.
    commands: u64,
}

impl Steward {
    pub(super) fn new(seed: u64) -> Self {
        let settings = Settings {
            patience: TIMEOUT * 2,
            patience_max: TIMEOUT * 3,
            grace: TIMEOUT * 4,
            shrink_after: TIMEOUT,
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
        let keyspace = "main".parse().expect("a name");
        Self {
            machine: Replication::new(settings, keyspace, seed).expect("settings that fit"),
            detector: Detector::new(&detection),
            registered: BTreeMap::new(),
            commands: 0,
        }
    }

    /// Checks that it has brought the shard back to what it should be.
    pub(super) fn is_content(&self) -> Result<(), String> {
        match self.machine.condition(&shard()) {
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
                self.hear(sim, at, now, &mut steward.detector, &mut inputs);
            }
        }
        let mut verdicts = Vec::new();
        let tick = Observation::Tick;
        steward.detector.handle(now, tick, &mut verdicts);
        inputs.extend(verdicts.into_iter().map(Input::Verdict));
        inputs.extend([Input::Leading(true), Input::Tick]);
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
                let mut record = NodeRecord::new(member.node.clone(), "http://127.0.0.1:1");
                record.state = NodeState::Up;
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

    /// A node is there, and says how its copy is.
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
        let report = report(&self.nodes[&at]);
        inputs.push(Input::Copies {
            node,
            incarnation,
            copies: report.map(|report| (shard(), report)).into_iter().collect(),
        });
    }

    /// Which member is to give its place to a copy on which node, while people ask for such things: first it is filled, then it takes the place,
    /// and it is taken back at any time.
    fn moving(sim: &mut Sim<Self>, record: &ShardRecord, steward: &Steward) -> Option<Input> {
        let wanted = steward.machine.moving(&shard());
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
        let mut inputs = VecDeque::from(inputs);
        while let Some(input) = inputs.pop_front() {
            let mut actions = Vec::new();
            steward.machine.handle(now, input, &mut actions);
            for action in actions {
                sim.trace(|| format!("steward -> {action:?}"));
                match action {
                    Action::Write {
                        key,
                        expected,
                        record,
                    } => {
                        let shard = record.id.clone();
                        let written = self.written(
                            sim,
                            Write {
                                key,
                                expected: Some(expected),
                                value: Some(*record),
                            },
                        );
                        inputs.push_front(Input::Written { shard, written });
                    }
                    Action::Read { .. } => {
                        let stored = sim.store().get(&self.key).cloned();
                        inputs.extend(stored.map(Input::Shard));
                    }
                    Action::Instruct { node, instruction } => {
                        if !sim.is_faulty() || !sim.dice().chance(10) {
                            self.instruct(sim, pid(&node), instruction);
                        }
                    }
                    Action::Emit(event) => {
                        let moving = steward.machine.moving(&shard());
                        self.happened(sim, &event, moving);
                    }
                    Action::Answer { .. } => {}
                }
            }
        }
    }

    /// Writes what the machine decided. It is not always told what became of that.
    fn written(&self, sim: &mut Sim<Self>, write: Write<ShardRecord>) -> Written {
        let is_heard = !sim.is_faulty() || !sim.dice().chance(10);
        let is_done = sim.put(write);
        let revision = sim.store().get(&self.key).map(|stored| stored.revision);
        match revision.filter(|_| is_done) {
            _ if !is_heard => Written::Unknown,
            Some(revision) => Written::Done(revision),
            None => Written::Refused,
        }
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
    let health = if !node.is_whole() {
        Health::Faulty
    } else if machine.saw_registry_go_back() {
        Health::RegistryWentBack
    } else {
        Health::Whole
    };
    Some(CopyReport {
        replica_id: replica.replica_id(),
        incarnation: Incarnation(node.life.into()),
        epoch: durable.epoch,
        durable: durable.lsn,
        health,
        installs: replica.installs(),
        lead,
    })
}
