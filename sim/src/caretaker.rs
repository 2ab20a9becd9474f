//! Who looks after copies of logs, in whatever scenario has some: the coordinator of production's `failover::replication`, with what it hears of nodes
//! and what becomes of its writes.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use shardwright_failover::{
    Config, Detector, Observation, Written,
    replication::{
        Action, Condition, CopyReport, Health, Input, Lead, Move, Replication, Settings,
    },
};
use shardwright_quorum::log::Participant;
use shardwright_testkit::sim::{Scenario, Sim, Write};
use shardwright_topology::{
    Incarnation, KeyspaceName, Lsn, NodeId, NodeRecord, NodeState, ShardId, Timestamp,
};

/// How patient one is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// After how long whoever says nothing is asked again.
    pub(crate) timeout: Duration,
    /// How long a member may be away.
    pub(crate) grace: Duration,
    /// How long a shard that cannot commit waits for its members.
    pub(crate) shrink_after: Duration,
}

/// The machine of a coordinator, and what it knows of nodes.
#[derive(Debug)]
pub(crate) struct Caretaker {
    machine: Replication,
    detector: Detector,
}

impl Caretaker {
    /// Returns one that knows nothing yet; `None` if the settings do not fit.
    pub(crate) fn new(patience: Patience, keyspace: KeyspaceName, seed: u64) -> Option<Self> {
        let Patience {
            timeout,
            grace,
            shrink_after,
        } = patience;
        let settings = Settings {
            patience: timeout * 2,
            patience_max: timeout * 3,
            grace,
            shrink_after,
            bootstrap_wait: timeout,
            lag_max: 20,
            steady: timeout / 3,
            resend: timeout / 2,
            keep: timeout * 4,
            ..Settings::default()
        };
        let detection = Config {
            check_interval: timeout / 2,
            heartbeat_timeout: timeout * 2,
            ..Config::default()
        };
        Some(Self {
            machine: Replication::new(settings, keyspace, seed).ok()?,
            detector: Detector::new(&detection),
        })
    }

    /// Returns how a shard is, as far as it knows.
    pub(crate) fn condition(&self, shard: &ShardId) -> Option<Condition> {
        self.machine.condition(shard)
    }

    /// Returns which member of a shard is to give its place to a copy elsewhere.
    pub(crate) fn moving(&self, shard: &ShardId) -> Option<&Move> {
        self.machine.moving(shard)
    }

    /// A node is there, and says how its copies are.
    pub(crate) fn hear(
        &mut self,
        now: Timestamp,
        (node, incarnation): (NodeId, Incarnation),
        copies: BTreeMap<ShardId, CopyReport>,
        inputs: &mut Vec<Input>,
    ) {
        let heard = Observation::Heard {
            node: node.clone(),
            incarnation,
        };
        self.observe(now, heard, inputs);
        inputs.push(Input::Copies {
            node,
            incarnation,
            copies,
        });
    }

    /// Time has passed, and it leads.
    pub(crate) fn tick(&mut self, now: Timestamp, inputs: &mut Vec<Input>) {
        self.observe(now, Observation::Tick, inputs);
        inputs.extend([Input::Leading(true), Input::Tick]);
    }

    fn observe(&mut self, now: Timestamp, observation: Observation, inputs: &mut Vec<Input>) {
        let mut verdicts = Vec::new();
        self.detector.handle(now, observation, &mut verdicts);
        inputs.extend(verdicts.into_iter().map(Input::Verdict));
    }

    /// Tells it what there is, and has what it wants carried out, which may lead to more that it has to be told.
    pub(crate) fn feed(
        &mut self,
        now: Timestamp,
        inputs: Vec<Input>,
        mut carry_out: impl FnMut(&Self, Action) -> Option<Input>,
    ) {
        let mut inputs = VecDeque::from(inputs);
        while let Some(input) = inputs.pop_front() {
            let mut actions = Vec::new();
            self.machine.handle(now, input, &mut actions);
            for action in actions {
                match carry_out(self, action) {
                    // What became of a write comes before all else.
                    Some(written @ Input::Written { .. }) => inputs.push_front(written),
                    more => inputs.extend(more),
                }
            }
        }
    }
}

/// Returns the record of a node that serves.
pub(crate) fn node(node: NodeId) -> NodeRecord {
    let mut record = NodeRecord::new(node, "http://127.0.0.1:1");
    record.state = NodeState::Up;
    record
}

/// Writes what the machine decided. It is not always told what became of that.
pub(crate) fn write<S: Scenario>(sim: &mut Sim<S>, write: Write<S::Value>) -> Written {
    let is_heard = !sim.is_faulty() || !sim.dice().chance(10);
    let key = write.key.clone();
    let is_done = sim.put(write);
    let revision = sim.store().get(&key).map(|stored| stored.revision);
    match revision.filter(|_| is_done) {
        _ if !is_heard => Written::Unknown,
        Some(revision) => Written::Done(revision),
        None => Written::Refused,
    }
}

/// Returns what a node says of a copy that is open.
pub(crate) fn report(
    machine: &Participant,
    incarnation: Incarnation,
    health: Health,
) -> CopyReport {
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
    CopyReport {
        replica_id: replica.replica_id(),
        incarnation,
        epoch: durable.epoch,
        durable: durable.lsn,
        health,
        installs: replica.installs(),
        lead,
    }
}
