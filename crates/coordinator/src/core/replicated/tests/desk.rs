//! A coordinator's machine, a registry, and nodes whose logs do what logs do.

mod copies;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};
use shardwright_failover::replication::{self, Instruction};
use shardwright_rebalancer::{PartitionId, ReplicaPolicy};
use shardwright_registry::{Key, Revision, Seen, node_of_lease};
use shardwright_topology::{
    Epoch, Incarnation, KeyspaceName, Member, NodeId, NodeRecord, NodeState, Operation,
    OperationId, ReplicaId, ShardId, ShardRecord, Timestamp,
};

use super::disk::Disk;
use crate::{
    core::{
        Action, Change, Command, CommandId, Core, Done, Event, Notice, Refusal, Replication,
        Settings, Value, WriteId, WriteOutcome,
    },
    protocol::{CopyTrouble, Ping, Pong, Report, ReportedState, VERSION},
};

const STEP: Duration = Duration::from_millis(50);

pub(super) struct Desk {
    pub(super) core: Core,
    pub(super) now: Timestamp,
    store: BTreeMap<Key, (Revision, Seen)>,
    revision: u64,
    events: VecDeque<Event>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) notices: Vec<Notice>,
    pub(super) answers: BTreeMap<u64, Result<Done, Refusal>>,
    /// Whether the logs begin what the registry says.
    pub(super) do_logs_work: bool,
    /// What the registry is on; `None` if it takes no time to write.
    pub(super) disk: Option<Disk>,
    /// Whether the registry takes the leases of coordinators, and those of nodes.
    pub(super) takes_leases: bool,
    pub(super) takes_node_leases: bool,
    /// How many of the next writes of shards, of nodes, and of operations, are lost, and nobody knows it.
    pub(super) writes_lost: usize,
    pub(super) node_writes_lost: usize,
    pub(super) operation_writes_lost: usize,
    pub(super) reads: usize,
    /// The keyspaces that were to be created: how many shards, and whether they are replicated.
    pub(super) created: Vec<(u32, bool)>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) is_up: bool,
    /// Whether it is a worker that keeps copies.
    keeps_copies: bool,
    /// Whether it says that it leaves.
    pub(super) leaves: bool,
    session: Incarnation,
    copy: Option<Copy>,
    pub(super) last_ping: Option<Ping>,
    pub(super) instructions: Vec<Instruction>,
    /// Which of its copies do not work, by its own word.
    pub(super) troubles: Vec<CopyTrouble>,
    reports: Vec<Report>,
    number: u64,
    list: (u64, u64),
}

#[derive(Debug, Clone)]
struct Copy {
    /// Until when its data is made.
    installs_until: Timestamp,
    replica_id: ReplicaId,
    opening: Incarnation,
    leads: Option<Epoch>,
    learners: BTreeSet<Member>,
}

pub(super) fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(super) fn shard() -> PartitionId {
    PartitionId::from(ShardId::numbered(0))
}

pub(super) fn settings() -> Settings {
    let ms = Duration::from_millis;
    let replication = replication::Settings {
        patience: ms(1_000),
        patience_max: ms(2_000),
        grace: ms(2_000),
        steady: ms(200),
        resend: ms(200),
        bootstrap_wait: ms(60_000),
        down_percent_max: 67,
        ..replication::Settings::default()
    };
    Settings {
        check_interval: ms(200),
        timing: Settings::timing_of(ms(2_000)).unwrap(),
        replication: Replication::new(replication).unwrap(),
        ..Settings::new(id("c"), Incarnation(1))
    }
}

impl Desk {
    /// A shard of `main`, and these nodes.
    pub(super) fn new(settings: Settings, nodes: &[&str]) -> Self {
        let rng = Box::new(StdRng::seed_from_u64(1));
        let mut desk = Self {
            core: Core::new(settings, Box::new(ReplicaPolicy::default()), rng),
            now: Timestamp::default(),
            store: BTreeMap::new(),
            revision: 0,
            events: VecDeque::new(),
            nodes: BTreeMap::new(),
            notices: Vec::new(),
            answers: BTreeMap::new(),
            do_logs_work: true,
            disk: None,
            takes_leases: true,
            takes_node_leases: true,
            writes_lost: 0,
            node_writes_lost: 0,
            operation_writes_lost: 0,
            reads: 0,
            created: Vec::new(),
        };
        desk.events
            .push_back(Event::Seen(Seen::Listed(Revision(0))));
        desk.add_shard(&shard());
        for node in nodes {
            desk.add_node(node, true);
        }
        desk
    }

    /// Lets another process of the coordinator take the place of this one.
    pub(super) fn restart_with(&mut self, settings: Settings) {
        let rng = Box::new(StdRng::seed_from_u64(2));
        self.core = Core::new(settings, Box::new(ReplicaPolicy::default()), rng);
        self.events.clear();
        let records = self.store.values().map(|(_, seen)| seen.clone());
        let listed = Seen::Listed(Revision(self.revision));
        let seen = records.chain([listed]).map(Event::Seen);
        self.events.extend(seen);
    }

    pub(super) fn add_shard(&mut self, of: &PartitionId) {
        let record = ShardRecord {
            replicated: of.keyspace == KeyspaceName::main(),
            ..ShardRecord::new(of.keyspace.clone(), of.shard.clone(), None)
        };
        let key = format!("shard/{}/{}", of.keyspace, of.shard);
        self.put(&key, Value::Shard(record));
    }

    pub(super) fn add_node(&mut self, name: &str, keeps_copies: bool) {
        let mut record = NodeRecord::new(id(name), format!("http://{name}"));
        record.state = NodeState::Up;
        let node = Node {
            is_up: true,
            keeps_copies,
            leaves: false,
            session: record.incarnation,
            copy: None,
            last_ping: None,
            instructions: Vec::new(),
            troubles: Vec::new(),
            reports: Vec::new(),
            number: 0,
            list: (0, 0),
        };
        self.nodes.insert(id(name), node);
        self.put(&format!("node/{name}"), Value::Node(record));
    }

    /// Registers a node once more, as a worker does whose registration was not answered.
    pub(super) fn begin_session(&mut self, name: &str) {
        let node = self.nodes.get_mut(&id(name)).unwrap();
        node.session = node.session.next();
        let mut record = NodeRecord::new(id(name), format!("http://{name}"));
        (record.state, record.incarnation) = (NodeState::Up, node.session);
        self.put(&format!("node/{name}"), Value::Node(record));
    }

    pub(super) fn kill(&mut self, name: &str) {
        self.nodes.get_mut(&id(name)).unwrap().is_up = false;
    }

    pub(super) fn put(&mut self, key: &str, value: Value) -> Revision {
        let key = Key::new(key).unwrap();
        self.show(key.clone(), |revision| value.seen(key, revision))
    }

    fn show(&mut self, key: Key, seen: impl FnOnce(Revision) -> Seen) -> Revision {
        self.revision += 1;
        let revision = Revision(self.revision);
        let seen = seen(revision);
        self.events.push_back(Event::Seen(seen.clone()));
        self.store.insert(key, (revision, seen));
        revision
    }

    pub(super) fn record(&self, of: &PartitionId) -> ShardRecord {
        let key = format!("shard/{}/{}", of.keyspace, of.shard);
        match &self.store[&Key::new(key).unwrap()].1 {
            Seen::Shard(stored) => stored.value.clone(),
            other => panic!("no shard: {other:?}"),
        }
    }

    /// Changes the record of the shard, as somebody else does.
    pub(super) fn change(&mut self, change: impl FnOnce(ShardRecord) -> ShardRecord) {
        let record = change(self.record(&shard()));
        self.put("shard/main/shard-0", Value::Shard(record));
    }

    /// What is written down of an operation.
    pub(super) fn operation(&self, id: &OperationId) -> Operation {
        match &self.store[&Key::new(format!("op/{id}")).unwrap()].1 {
            Seen::Operation(stored) => stored.value.clone(),
            other => panic!("no operation: {other:?}"),
        }
    }

    pub(super) fn has_copy(&self, name: &str) -> bool {
        self.nodes[&id(name)].copy.is_some()
    }

    pub(super) fn primary(&self) -> String {
        let record = self.record(&shard());
        record.primary().map_or_else(String::new, NodeId::to_string)
    }

    pub(super) fn members(&self) -> String {
        let record = self.record(&shard());
        let members = record.active.iter().flat_map(|active| &active.members);
        let nodes: Vec<_> = members.map(|member| member.node.as_str()).collect();
        nodes.join(" ")
    }

    pub(super) fn condition(&self) -> &'static str {
        let view = self.core.view(self.now);
        let shown = view.replicated.get(&shard());
        shown.map_or("none", |shown| shown.condition.kind())
    }

    pub(super) fn step(&mut self) {
        self.now = self.now + STEP;
        if self.do_logs_work {
            self.begin_what_is_pending();
        }
        let flushed = self.disk.as_mut().map(Disk::step).unwrap_or_default();
        for (write, change) in flushed {
            self.written(write, change);
        }
        self.events.push_back(Event::Tick);
        while let Some(event) = self.events.pop_front() {
            let mut actions = Vec::new();
            self.core.handle(self.now, event, &mut actions);
            for action in actions {
                self.act(action);
            }
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
        panic!("no {what} in a minute: {:?}", self.record(&shard()));
    }

    #[track_caller]
    pub(super) fn until_whole(&mut self) {
        self.until("whole shard", |desk| {
            desk.condition() == "whole" && desk.record(&shard()).pending.is_none()
        });
    }

    /// Gives a command, and waits for its answer.
    #[track_caller]
    pub(super) fn command(&mut self, command: Command) -> Result<Done, Refusal> {
        let number = self.give(command);
        self.until("answer", |desk| desk.answers.contains_key(&number));
        self.answers[&number].clone()
    }

    pub(super) fn give(&mut self, command: Command) -> u64 {
        let number = self.answers.len() as u64;
        let id = CommandId(number);
        self.events.push_back(Event::Command { id, command });
        self.step();
        number
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Write { write, change } => match &mut self.disk {
                Some(disk) => disk.write(write, change),
                None => self.written(write, change),
            },
            Action::Read { key } => {
                self.reads += 1;
                let found = self.store[&key].1.clone();
                self.events.push_back(Event::Found(found));
            }
            Action::Ping { ping, .. } => self.ping(ping),
            Action::Notify(notice) => self.notices.push(notice),
            Action::Bootstrap { shards, replicated } => self.created.push((shards, replicated)),
            Action::Answer { id, result } => drop(self.answers.insert(id.0, result)),
        }
    }

    fn written(&mut self, write: WriteId, change: Change) {
        let outcome = self.write(change);
        self.events.push_back(Event::Wrote { write, outcome });
    }

    fn write(&mut self, change: Change) -> WriteOutcome {
        let found = self.store.get(&change.key).map(|(revision, _)| *revision);
        let Some(value) = change.value else {
            return self.delete(change.key, change.expected);
        };
        if matches!(&value, Value::Lease(_)) {
            let takes = match node_of_lease(&change.key) {
                Some(_) => self.takes_node_leases,
                None => self.takes_leases,
            };
            if !takes {
                return WriteOutcome::Unknown;
            }
        }
        if matches!(&value, Value::Shard(_)) && self.writes_lost > 0 {
            self.writes_lost -= 1;
            return WriteOutcome::Unknown;
        }
        if matches!(&value, Value::Node(_)) && self.node_writes_lost > 0 {
            self.node_writes_lost -= 1;
            return WriteOutcome::Unknown;
        }
        if matches!(&value, Value::Operation(_)) && self.operation_writes_lost > 0 {
            self.operation_writes_lost -= 1;
            return WriteOutcome::Unknown;
        }
        if found != change.expected {
            return WriteOutcome::Conflict;
        }
        WriteOutcome::Done(self.put(change.key.as_str(), value))
    }

    fn delete(&mut self, key: Key, expected: Option<Revision>) -> WriteOutcome {
        let found = self.store.get(&key).map(|(revision, _)| *revision);
        if found != expected {
            return WriteOutcome::Conflict;
        }
        self.store.remove(&key);
        self.revision += 1;
        let revision = Revision(self.revision);
        let deleted = Seen::Deleted { key, revision };
        self.events.push_back(Event::Seen(deleted));
        WriteOutcome::Done(revision)
    }

    fn ping(&mut self, ping: Ping) {
        let (id, incarnation) = (ping.node.clone(), ping.incarnation);
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.is_up || ping.expired || node.session != incarnation {
            let silence = Event::Silence {
                node: id,
                incarnation,
            };
            return self.events.push_back(silence);
        }
        node.number += 1;
        node.last_ping = Some(ping.clone());
        if let Some(lists) = &ping.assignments {
            node.list = (ping.term, ping.list);
            let serves = lists.serve.iter().map(|each| {
                let serving = ReportedState::Serving;
                Report::new(each.partition.clone(), each.epoch, serving)
            });
            let releases = lists.release.iter().map(|each| {
                let released = ReportedState::Released;
                Report::new(each.partition.clone(), each.epoch, released)
            });
            node.reports = serves.chain(releases).collect();
        }
        for each in ping.instructions {
            self.obey(&id, each.instruction);
        }
        let copies = self.states(&id);
        let node = &self.nodes[&id];
        let pong = Pong {
            version: VERSION,
            node: id,
            incarnation,
            left: None,
            leaves: node.leaves,
            number: node.number,
            term: node.list.0,
            list: node.list.1,
            shards: node.reports.clone(),
            copies,
            troubles: node.troubles.clone(),
        };
        self.events.push_back(Event::Pong(pong));
    }
}
