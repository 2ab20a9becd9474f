//! Elastic operations: two coordinators without any lease run splits, merges and moves over two nodes, while clients write.
//!
//! What must hold: a key is writable in one shard at a time, the one that the journal names; that shard has every write that was accepted; a decision is never
//! taken back; a pause changes as somebody wants. After the faults the operation has ended, its shards serve, and nothing else is left.

mod carry;
mod client;
mod missing;
mod node;
mod pause;

use std::{collections::BTreeMap, time::Duration};

use shardwright_elastic::{
    Batch, Extent, Layout, MemoryNode, Part, Record, Reply, Request, Settings, StoreError, Work,
    workflow::{CallId, Event},
};
use shardwright_registry::{Key, Prefix};
use shardwright_testkit::sim::{
    Change, FaultKind, Faults, Input, InputOf, Pid, Scenario, Sim, Write, marks,
};
use shardwright_topology::{
    KeyRange, KeyspaceName, NodeId, OperationId, OperationKind, Phase, ShardId, Timestamp,
};

pub(crate) use self::missing::Missing;
use self::{carry::Running, client::Client, pause::Pauses};

/// The state of all processes.
pub(crate) struct Elastic {
    missing: Option<Missing>,
    settings: Settings,
    coordinators: BTreeMap<Pid, Running>,
    /// What nodes have on their disks.
    nodes: BTreeMap<Pid, MemoryNode>,
    clients: BTreeMap<Pid, Client>,
    /// Who owns what, by the journal.
    layout: Layout,
    /// The phase of each operation.
    phases: BTreeMap<Key, Phase>,
    pauses: Pauses,
    /// Whether rows or their owners may have changed since the last check.
    is_changed: bool,
    /// Situations that are yet to be noted.
    reached: Vec<&'static str>,
    /// The highest number that a node accepted for each key.
    accepted: BTreeMap<Vec<u8>, u64>,
    /// Counts workflows, so that an answer finds the one that asked.
    sessions: u64,
    /// Counts what clients write.
    numbers: u64,
}

/// What processes say to each other.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Call {
        session: u64,
        id: CallId,
        operation: OperationId,
        request: Box<Request>,
    },
    Reply {
        session: u64,
        id: CallId,
        outcome: Result<Reply, StoreError>,
    },
    Write {
        shard: ShardId,
        key: Vec<u8>,
        number: u64,
    },
}

/// What comes back to a process, or is planned.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    Follow,
    Wake(u64, Timestamp),
    Write(u64, CallId),
    Read(u64),
    /// A client writes.
    Client,
    /// Somebody wants an operation, or wants it to wait or to end.
    Disturb,
}

const COORDINATORS: usize = 2;
const NODES: usize = 2;
const CLIENTS: usize = 2;
const KEYS: usize = 12;
const TIMEOUT: Duration = Duration::from_millis(400);
const SHARDS_MAX: usize = 4;

/// Situations that only this scenario knows.
mod situations {
    pub(super) const COMMITTED: &str = "an operation that committed";
    pub(super) const ABORTED: &str = "an operation that was aborted";
    pub(super) const MERGED: &str = "a merge that committed";
    pub(super) const ENDED: &str = "a late call of an operation that has let go";
    pub(super) const LATE_COPY: &str = "a late copy to an open target";
    pub(super) const CANCELLED: &str = "a cancellation";
    pub(super) const PAUSED: &str = "a pause";
    pub(super) const DAMAGED: &str = "a page that was stored wrongly";
    pub(super) const DIFFERS: &str = "a target that differs";
    pub(super) const SEALED_TOO_LONG: &str = "a seal that was given up";
    pub(super) const TAKEN_OVER: &str = "an operation that was seen first in its middle";
    pub(super) const PAUSE_WON: &str = "a change of the phase that lost against a pause";
    pub(super) const PAUSE_LOST: &str = "a pause that lost against a change of the phase";

    pub(super) const ALL: &[&str] = &[
        COMMITTED,
        ABORTED,
        MERGED,
        ENDED,
        LATE_COPY,
        CANCELLED,
        PAUSED,
        DAMAGED,
        DIFFERS,
        SEALED_TOO_LONG,
        TAKEN_OVER,
        PAUSE_WON,
        PAUSE_LOST,
    ];
}

fn node_id(at: Pid) -> NodeId {
    NodeId::new(at.to_string()).expect("a process has a name like p3")
}

fn node_pid(node: &NodeId) -> Pid {
    let number = node.as_str().strip_prefix('p');
    let number = number.and_then(|number| number.parse().ok());
    Pid(number.expect("a node of this scenario"))
}

fn operation_key(number: usize) -> Key {
    Key::new(format!("op/{number:06}")).expect("a key")
}

fn first_shard() -> Part {
    Part {
        shard: ShardId::numbered(0),
        node: node_id(Pid(COORDINATORS)),
        extent: Extent::range(KeyRange::ALL),
    }
}

/// Who owns what after an operation.
fn after(layout: &Layout, record: &Record) -> Layout {
    let next = layout.replaced(&record.work.sources, &record.work.targets);
    next.expect("targets own what sources owned")
}

impl Elastic {
    fn truth(sim: &Sim<Self>) -> Vec<&Record> {
        sim.store().entries().map(|stored| &*stored.value).collect()
    }

    /// Writes a new operation down, if none is under way.
    fn begin(&self, sim: &mut Sim<Self>) {
        let records = Self::truth(sim);
        if records.last().is_some_and(|last| !last.phase().is_final()) {
            return;
        }
        let number = records.len();
        let parts: Vec<Part> = self.layout.parts().cloned().collect();
        let Some(work) = Self::draw(sim, &parts, number) else {
            return;
        };
        let id = OperationId::new(format!("op-{number}")).expect("a name");
        let record = Record::planned(id, KeyspaceName::main(), work).expect("it fits");
        sim.trace(|| format!("begins {:?}", record.work));
        sim.put(Write {
            key: operation_key(number),
            expected: None,
            value: Some(Box::new(record)),
        });
    }

    fn draw(sim: &mut Sim<Self>, parts: &[Part], number: usize) -> Option<Work> {
        let at = Pid(COORDINATORS + sim.dice().index(NODES));
        let source = sim.dice().pick(parts).clone();
        let name = |place: usize| ShardId::new(format!("op-{number}.{place}")).expect("a name");
        let target = |place: usize, extent: Extent| Part {
            shard: name(place),
            node: node_id(at),
            extent,
        };
        let neighbour = parts
            .iter()
            .find(|part| part.extent.adjoins(&source.extent));
        let splits = parts.len() < SHARDS_MAX && sim.dice().chance(40);
        let (kind, sources, targets) = if splits {
            let cut = source.extent.middle()?;
            let (low, high) = source.extent.split_at(&cut)?;
            let targets = vec![target(0, low), target(1, high)];
            (OperationKind::Split, vec![source], targets)
        } else if let Some(other) = neighbour.filter(|_| sim.dice().chance(60)) {
            let whole = Extent::join([&source.extent, &other.extent])?;
            let sources = vec![source, other.clone()];
            (OperationKind::Merge, sources, vec![target(0, whole)])
        } else {
            let extent = source.extent.clone();
            (
                OperationKind::Migrate,
                vec![source],
                vec![target(0, extent)],
            )
        };
        Some(Work {
            kind,
            sources,
            targets,
            reason: "a simulation".to_owned(),
        })
    }

    /// Somebody asks a coordinator for something.
    fn disturb(&mut self, sim: &mut Sim<Self>) {
        match sim.dice().index(6) {
            0 => self.cancel(sim),
            1 => {
                sim.mark(situations::PAUSED);
                self.ask(sim, Event::Pause);
            }
            _ => self.ask(sim, Event::Resume),
        }
    }

    fn cancel(&mut self, sim: &mut Sim<Self>) {
        sim.mark(situations::CANCELLED);
        let reason = "not wanted".to_owned();
        self.ask(sim, Event::Cancel { reason });
    }

    fn ask(&mut self, sim: &mut Sim<Self>, event: Event) {
        let at = Pid(sim.dice().index(COORDINATORS));
        if sim.is_up(at) && !sim.is_paused(at) {
            self.drive(sim, at, event);
        }
    }

    fn follow(sim: &mut Sim<Self>, at: Pid) {
        sim.list(at, Token::Follow, Prefix::all());
    }

    fn see(&mut self, sim: &mut Sim<Self>, at: Pid, key: &Key, entry: (&Record, u64)) {
        if at.0 < COORDINATORS {
            self.coordinator_sees(sim, at, key, entry);
        } else if let Some(client) = self.clients.get_mut(&at) {
            client.see(key, entry.0);
        }
    }
}

impl Scenario for Elastic {
    type Message = Message;
    type Token = Token;
    type Value = Box<Record>;
    type Mutation = Missing;

    const NAME: &'static str = "elastic";
    const MARKS: &'static [&'static [&'static str]] =
        &[marks::STORE, marks::MESSAGES, situations::ALL];
    const MUTATIONS: &'static [Missing] = Missing::ALL;

    fn faults(_: Option<Missing>) -> Faults {
        let kinds = vec![
            (4, FaultKind::Pause),
            (4, FaultKind::Crash),
            (3, FaultKind::Cut),
            (2, FaultKind::CutOneWay),
            (2, FaultKind::Isolate),
            (1, FaultKind::Outage),
        ];
        Faults {
            delay: TIMEOUT / 2_000..=TIMEOUT / 200,
            kinds,
            every: TIMEOUT,
            lasting: TIMEOUT / 10..=TIMEOUT,
            // Late copies of calls are what stores have to refuse.
            duplicate: 500,
            events: 3_500,
            ..Faults::around(TIMEOUT)
        }
    }

    fn new(sim: &mut Sim<Self>, missing: Option<Missing>) -> Self {
        let is_compared_twice = sim.dice().chance(50);
        let settings = Settings {
            batch: Batch {
                rows: 4,
                bytes: 1 << 20,
            },
            calm: TIMEOUT / 100,
            poll: TIMEOUT / 50,
            retry: TIMEOUT / 20,
            call_timeout: TIMEOUT / 8,
            seal_max: TIMEOUT / 4,
            patience: TIMEOUT / 2,
            lag_max: 4,
            grace: TIMEOUT / 10,
            verify_sealed_rows: if is_compared_twice { 1_000 } else { 0 },
            ..Settings::default()
        };
        let mut scenario = Self {
            missing,
            settings,
            coordinators: BTreeMap::new(),
            nodes: BTreeMap::new(),
            layout: Layout::new([first_shard()]).expect("one shard owns everything"),
            phases: BTreeMap::new(),
            pauses: Pauses::default(),
            is_changed: false,
            reached: Vec::new(),
            clients: BTreeMap::new(),
            accepted: BTreeMap::new(),
            sessions: 0,
            numbers: 0,
        };
        for place in 0..COORDINATORS + NODES + CLIENTS {
            let at = sim.spawn();
            if (COORDINATORS..COORDINATORS + NODES).contains(&place) {
                scenario.nodes.insert(at, MemoryNode::new());
            }
        }
        let first = first_shard();
        let node = scenario.nodes.get_mut(&node_pid(&first.node));
        node.expect("it is a node").add_parts([&first]);
        sim.plan(TIMEOUT / 10, Token::Disturb);
        scenario
    }

    fn handle(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
        for mark in std::mem::take(&mut self.reached) {
            sim.mark(mark);
        }
        match input {
            Input::Start => self.start(sim, at),
            Input::Timer(Token::Follow) | Input::Ended { .. } => Self::follow(sim, at),
            Input::Timer(Token::Client) => self.client_writes(sim, at),
            Input::Timer(Token::Wake(session, moment)) => self.woken(sim, at, session, moment),
            Input::Timer(_) => {}
            Input::Listed { found, .. } => match found {
                Ok((entries, revision)) => {
                    for stored in entries {
                        let entry = (&*stored.value, stored.revision.0);
                        self.see(sim, at, &stored.key, entry);
                    }
                    sim.watch(at, Token::Follow, Prefix::all(), revision);
                }
                Err(_) => {
                    let next = sim.now(at) + TIMEOUT / 20;
                    sim.wake(at, next, Token::Follow);
                }
            },
            Input::Changed { change, .. } => {
                if let Some(stored) = change.into_stored() {
                    let entry = (&*stored.value, stored.revision.0);
                    self.see(sim, at, &stored.key, entry);
                }
            }
            Input::Written {
                token: Token::Write(session, call),
                outcome,
            } => self.wrote(sim, at, (session, call), outcome),
            Input::Got {
                token: Token::Read(session),
                found,
            } => self.got(sim, at, session, found.ok()),
            Input::Written { .. } | Input::Got { .. } => {}
            Input::Message { from, message } => self.message(sim, at, from, message),
        }
    }

    fn planned(&mut self, sim: &mut Sim<Self>, _: Token) {
        if sim.is_faulty() {
            self.begin(sim);
            if sim.dice().chance(10) {
                self.disturb(sim);
            }
            sim.plan(TIMEOUT / 10, Token::Disturb);
        } else {
            // Nobody waits for ever.
            for at in (0..COORDINATORS)
                .map(Pid)
                .filter(|at| sim.is_up(*at))
                .collect::<Vec<_>>()
            {
                self.drive(sim, at, Event::Resume);
            }
            sim.plan(TIMEOUT, Token::Disturb);
        }
        self.collect(sim);
    }

    fn committed(&mut self, _: &Sim<Self>, change: &Change<Box<Record>>) -> Result<(), String> {
        let Some(record) = &change.value else {
            return Ok(());
        };
        record.check().map_err(|broken| broken.to_string())?;
        self.pauses.changed(&change.key, change.revision, record)?;
        self.journal_changes(change.author, &change.key, record)
    }

    fn check(&mut self, _: &Sim<Self>) -> Result<(), String> {
        if std::mem::take(&mut self.is_changed) {
            self.check_owners()
        } else {
            Ok(())
        }
    }

    fn recovered(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        self.check_rest(sim)
    }

    fn recovery_time(&self) -> Duration {
        TIMEOUT * 7
    }
}
