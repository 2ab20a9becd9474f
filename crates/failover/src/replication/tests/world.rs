//! Nodes with copies of one shard, whose logs do what logs do, a registry, and coordinators.

mod log;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardwright_registry::{Key, Revision, Stored};
use shardwright_topology::{
    Config, Epoch, Incarnation, KeyspaceName, Member, NodeId, NodeRecord, NodeState, ReplicaId,
    ShardId, ShardRecord, Timestamp,
};

use crate::{Detector, Observation, Written, replication::*};

pub(super) const STEP: Duration = Duration::from_millis(100);

/// One copy. What it holds is one number, and the epoch of the last record.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) replica_id: ReplicaId,
    pub(super) place: (Epoch, u64),
    pub(super) health: Health,
    /// Whether its data is still being made.
    pub(super) installs: bool,
    leads: Option<Epoch>,
    learners: BTreeSet<Member>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) record: NodeRecord,
    pub(super) is_up: bool,
    /// Whether it says that it is there, and begins nothing.
    pub(super) is_stalled: bool,
    pub(super) copy: Option<Copy>,
    /// How often its process has opened its copy again.
    reopened: u64,
}

impl Node {
    /// The number of the present opening of its copy.
    fn opening(&self) -> Incarnation {
        Incarnation(100 + self.record.incarnation.0 + self.reopened)
    }
}

#[derive(Debug)]
struct Coordinator {
    machine: Replication,
    detector: Detector,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) stored: Stored<ShardRecord>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) events: Vec<Event>,
    pub(super) answers: BTreeMap<u64, Result<Epoch, Refused>>,
    /// How often a record was written by a coordinator.
    pub(super) writes: usize,
    /// What was acknowledged, and the data-loss generation of then.
    committed: ((Epoch, u64), u64),
    coordinators: Vec<Coordinator>,
    /// Of a hundred instructions and writes, how many get lost, or whose answers do.
    pub(super) lost_percent: u32,
    /// How many coordinators take themselves for the leader.
    pub(super) leaders: usize,
    names: u128,
    rng: StdRng,
}

pub(super) fn settings() -> Settings {
    let ms = Duration::from_millis;
    Settings {
        patience: ms(1_000),
        patience_max: ms(4_000),
        grace: ms(10_000),
        shrink_after: ms(2_000),
        bootstrap_wait: ms(3_000),
        lag_max: 10,
        steady: ms(500),
        resend: ms(500),
        keep: ms(10_000),
        ..Settings::default()
    }
}

pub(super) fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("a valid name")
}

pub(super) fn shard() -> ShardId {
    ShardId::numbered(0)
}

impl World {
    /// Nodes `n1` and on, in as many zones as named, one after the other.
    pub(super) fn new(nodes: usize, zones: usize, settings: &Settings, coordinators: u64) -> Self {
        let key = Key::new("shard/main/shard-0").expect("a key");
        let value = ShardRecord::new(KeyspaceName::main(), shard(), None);
        let detector = crate::Config {
            check_interval: STEP,
            heartbeat_timeout: Duration::from_secs(1),
            ..crate::Config::default()
        };
        let coordinator = |seed| Coordinator {
            machine: Replication::new(settings.clone(), KeyspaceName::main(), seed)
                .expect("settings that fit"),
            detector: Detector::new(&detector),
        };
        let mut world = Self {
            now: Timestamp::default(),
            stored: Stored {
                key,
                value,
                revision: Revision(1),
            },
            nodes: BTreeMap::new(),
            events: Vec::new(),
            answers: BTreeMap::new(),
            writes: 0,
            committed: Default::default(),
            coordinators: (0..coordinators).map(coordinator).collect(),
            lost_percent: 0,
            leaders: usize::MAX,
            names: 0,
            rng: StdRng::seed_from_u64(7),
        };
        for number in 0..nodes {
            world.add_node(&format!("n{}", number + 1), number % zones);
        }
        let stored = world.stored.clone();
        world.tell(|| Input::Shard(stored.clone()));
        world
    }

    pub(super) fn seeded(mut self, seed: u64) -> Self {
        self.rng = StdRng::seed_from_u64(seed);
        self
    }

    pub(super) fn add_node(&mut self, name: &str, zone: usize) {
        let mut record = NodeRecord::new(id(name), "http://127.0.0.1:1");
        record.state = NodeState::Up;
        record.location.zone = Some(format!("z{zone}"));
        let node = Node {
            record: record.clone(),
            is_up: true,
            is_stalled: false,
            copy: None,
            reopened: 0,
        };
        self.nodes.insert(id(name), node);
        self.tell(|| Input::Node(record.clone()));
    }

    pub(super) fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(&id(name)).expect("a node of this world")
    }

    pub(super) fn crash(&mut self, name: &str) {
        let node = self.node(name);
        node.is_up = false;
        if let Some(copy) = &mut node.copy {
            (copy.leads, copy.learners) = (None, BTreeSet::new());
        }
    }

    pub(super) fn restart(&mut self, name: &str) {
        let node = self.node(name);
        node.is_up = true;
        node.is_stalled = false;
        node.record.incarnation = node.record.incarnation.next();
        if let Some(copy) = &mut node.copy {
            (copy.leads, copy.learners) = (None, BTreeSet::new());
        }
        let record = node.record.clone();
        self.tell(|| Input::Node(record.clone()));
    }

    /// The process of a node closes its copy, and opens it again: after a failure of its disk.
    pub(super) fn reopen(&mut self, name: &str) {
        let node = self.node(name);
        node.reopened += 1;
        if let Some(copy) = &mut node.copy {
            (copy.leads, copy.learners) = (None, BTreeSet::new());
        }
    }

    /// The copy of a node is lost, and begins anew under another id.
    pub(super) fn wipe(&mut self, name: &str) {
        let replica_id = self.name();
        let node = self.node(name);
        if let Some(copy) = &mut node.copy {
            *copy = fresh(replica_id);
            self.register(name);
        }
    }

    pub(super) fn drain(&mut self, name: &str) {
        let node = self.node(name);
        node.record.state = NodeState::Draining;
        let record = node.record.clone();
        self.tell(|| Input::Node(record.clone()));
    }

    /// Names the node that takes the place of another one.
    pub(super) fn replace(&mut self, name: &str, heir: &str) {
        self.tell(|| Input::Heir {
            node: id(name),
            heir: id(heir),
        });
    }

    /// Removes the record of a node.
    pub(super) fn remove(&mut self, name: &str) {
        self.tell(|| Input::NodeGone(id(name)));
    }

    fn register(&mut self, name: &str) {
        let copy = self.node(name).copy.as_ref();
        let copies = copy.map(|copy| (shard(), copy.replica_id));
        let copies: BTreeMap<_, _> = copies.into_iter().collect();
        self.tell(|| {
            Input::Registered(Registered {
                node: id(name),
                opened: Incarnation(0),
                copies: copies.clone(),
            })
        });
    }

    fn name(&mut self) -> ReplicaId {
        self.names += 1;
        ReplicaId::from_bits(self.names)
    }

    pub(super) fn command(&mut self, ticket: u64, command: Command) {
        self.feed(0, Input::Command { ticket, command });
    }

    pub(super) fn hand_over(&mut self, to: &str) -> Result<Epoch, Refused> {
        let (shard, to) = (shard(), id(to));
        self.ask(Command::HandOver { shard, to })
    }

    pub(super) fn force(&mut self, to: &str, accepted: ShardId) -> Result<Epoch, Refused> {
        self.ask(Command::Force {
            shard: shard(),
            to: id(to),
            accepting_loss_of: accepted,
            by: "an operator".to_owned(),
        })
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, command: Command) -> Result<Epoch, Refused> {
        let ticket = u64::try_from(self.answers.len()).unwrap_or_default();
        self.command(ticket, command);
        self.until("an answer", |world| world.answers.contains_key(&ticket));
        self.answers[&ticket].clone()
    }

    /// What the first coordinator knows.
    pub(super) fn machine(&self) -> &Replication {
        &self.coordinators[0].machine
    }

    /// Gives every coordinator the same input.
    pub(super) fn tell(&mut self, input: impl Fn() -> Input) {
        for which in 0..self.coordinators.len() {
            self.feed(which, input());
        }
    }

    fn feed(&mut self, which: usize, input: Input) {
        let mut actions = Vec::new();
        let machine = &mut self.coordinators[which].machine;
        machine.handle(self.now, input, &mut actions);
        for action in actions {
            self.carry_out(which, action);
        }
    }

    fn is_lost(&mut self) -> bool {
        self.rng.random_range(0..100) < self.lost_percent
    }

    fn carry_out(&mut self, which: usize, action: Action) {
        match action {
            Action::Write {
                expected, record, ..
            } => self.write(which, expected, *record),
            Action::Read { .. } => {
                let stored = self.stored.clone();
                self.feed(which, Input::Shard(stored));
            }
            Action::Instruct { node, instruction } => {
                if !self.is_lost() && self.nodes[&node].is_up {
                    self.obey(&node, instruction);
                }
            }
            Action::Emit(event) if which == 0 => self.events.push(event),
            Action::Emit(_) => {}
            Action::Answer { ticket, answer } => drop(self.answers.insert(ticket, answer)),
        }
    }

    fn write(&mut self, which: usize, expected: Revision, record: ShardRecord) {
        assert_eq!(record.check_invariants(), Ok(()));
        let shard = record.id.clone();
        let is_lost = self.is_lost();
        let reaches = !is_lost || self.rng.random_bool(0.5);
        let mut written = Written::Refused;
        if reaches && expected == self.stored.revision {
            assert!(record.epoch > self.stored.value.epoch, "epochs grow (I1)");
            self.writes += 1;
            self.put(record);
            written = Written::Done(self.stored.revision);
        }
        if is_lost {
            written = Written::Unknown;
        }
        self.feed(which, Input::Written { shard, written });
    }

    fn put(&mut self, record: ShardRecord) {
        self.stored.value = record;
        self.stored.revision = Revision(self.stored.revision.0 + 1);
    }

    fn obey(&mut self, at: &NodeId, instruction: Instruction) {
        let record = &self.stored.value;
        let configs: Vec<&Config> = record.active.iter().chain(&record.pending).collect();
        let node = self.nodes.get_mut(at).expect("a node of this world");
        match instruction {
            Instruction::Create { replica_id, .. } => {
                if node.copy.is_none() {
                    node.copy = Some(fresh(replica_id));
                    self.register(at.as_str());
                }
            }
            Instruction::Follow {
                epoch, learners, ..
            } => {
                let copy = node.copy.as_mut().filter(|copy| copy.leads == Some(epoch));
                if let Some(copy) = copy {
                    copy.learners = learners;
                }
            }
            Instruction::Drop {
                replica_id,
                revision,
                ..
            } => {
                let is_member = configs
                    .iter()
                    .flat_map(|config| &config.members)
                    .any(|member| member.replica_id == replica_id);
                let is_current = revision == self.stored.revision;
                assert!(!(is_current && is_member), "a member is dropped (I15)");
                let copy = node.copy.as_ref();
                let may = copy.is_some_and(|copy| {
                    instruction
                        .may_delete(copy.replica_id, copy.place.0, &self.stored)
                        .is_ok()
                });
                if may {
                    node.copy = None;
                    self.register(at.as_str());
                }
            }
        }
    }

    pub(super) fn step(&mut self) {
        self.now = self.now + STEP;
        self.logs();
        let stored = self.stored.clone();
        self.tell(|| Input::Shard(stored.clone()));
        let up = self.nodes.iter().filter(|(_, node)| node.is_up);
        let reports: Vec<_> = up
            .map(|(id, node)| (id.clone(), node.record.incarnation, self.report(node)))
            .collect();
        for (node, incarnation, copies) in reports {
            self.heard(&node, incarnation);
            self.tell(|| Input::Copies {
                node: node.clone(),
                incarnation,
                copies: copies.clone(),
            });
        }
        for which in 0..self.coordinators.len() {
            self.observe(which, Observation::Tick);
        }
        // They lead once they have heard of everybody.
        let leaders = self.leaders;
        for which in 0..self.coordinators.len() {
            self.feed(which, Input::Leading(which < leaders));
        }
        self.tell(|| Input::Tick);
    }

    fn heard(&mut self, node: &NodeId, incarnation: Incarnation) {
        for which in 0..self.coordinators.len() {
            let node = node.clone();
            self.observe(which, Observation::Heard { node, incarnation });
        }
    }

    fn observe(&mut self, which: usize, observation: Observation) {
        let mut verdicts = Vec::new();
        let detector = &mut self.coordinators[which].detector;
        detector.handle(self.now, observation, &mut verdicts);
        for verdict in verdicts {
            self.feed(which, Input::Verdict(verdict));
        }
    }

    pub(super) fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.step();
        }
    }

    #[track_caller]
    pub(super) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..1_200 {
            if is_so(self) {
                return;
            }
            self.step();
        }
        panic!("no {what} in two minutes: {:?}", self.stored.value);
    }

    pub(super) fn condition(&self) -> Condition {
        let condition = self.machine().condition(&shard());
        condition.unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn until_whole(&mut self) {
        self.until("whole shard", |world| {
            world.condition() == Condition::Whole && world.stored.value.pending.is_none()
        });
    }

    pub(super) fn active(&self) -> &Config {
        self.stored.value.active.as_ref().expect("a configuration")
    }

    pub(super) fn primary(&self) -> String {
        self.active().primary.node.to_string()
    }

    /// The nodes of the members, such as `n1 n2 n3`.
    pub(super) fn members(&self) -> String {
        let members = self.active().members.iter();
        let nodes: Vec<_> = members.map(|member| member.node.as_str()).collect();
        nodes.join(" ")
    }
}

fn fresh(replica_id: ReplicaId) -> Copy {
    Copy {
        replica_id,
        place: (Epoch::UNASSIGNED, 0),
        health: Health::Whole,
        installs: false,
        leads: None,
        learners: BTreeSet::new(),
    }
}
