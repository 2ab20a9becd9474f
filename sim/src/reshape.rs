//! Splits and merges of replicated shards: SQLite files under logs that commit on three nodes, whose ranges are divided and joined while clients
//! read and write.
//!
//! Of production are: the workflow with its journal in the registry, the store through which it asks the nodes, what nodes answer and do with
//! their copies (`server::reshaping`), the logs, the files with their parts, and who looks after the copies. What runs all of that is simulated:
//! the asynchronous functions of production are tasks here, which wait for a simulated store, network, disk and clock, and end with their process.
//!
//! What must hold: at each moment each position has one owner; a write that was acknowledged is where its key is, once; reads see what was
//! acknowledged before, sealed shards or not; the copies of a shard are equal. After the faults each operation is done or aborted, and nothing is
//! left of shards that own nothing: no copy, no part that was kept aside, no hold.

mod carry;
mod clients;
mod coordinator;
mod executor;
mod gaps;
mod handling;
mod history;
mod missing;
mod node;
mod rules;
mod setup;
mod situations;
mod steward;
mod tasks;
mod token;
mod waiting;
mod ways;

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use shardwright_elastic::{Settings, Work, workflow::Event};
use shardwright_registry::{Key, Prefix, Registry, decode, encode};
use shardwright_sql::Placement;
use shardwright_store::{Config, Mover};
use shardwright_testkit::sim::{
    Change, FaultKind, Faults, Input, InputOf, Pid, Scenario, Sim, Write, marks,
};
use shardwright_topology::{
    Epoch, KeyRange, KeyspaceName, NodeId, Operation, OperationId, Phase, ShardId, ShardMap,
    ShardRecord,
};
use tempfile::TempDir;

pub(crate) use self::missing::Missing;
use self::{
    clients::Clients,
    coordinator::Coordinator,
    gaps::Gaps,
    node::Node,
    setup::{elastic_settings, keyspace_record, settings},
    situations::Party,
    steward::Steward,
    tasks::{Tasks, Text},
    token::{Message, Token},
};
use crate::log::in_memory;

/// The state of all processes.
pub(crate) struct Reshape {
    missing: Option<Missing>,
    settings: Settings,
    directory: TempDir,
    config: Config,
    keyspace: KeyspaceName,
    placement: Placement,
    shards: Prefix,
    operations: Prefix,
    registered: Prefix,
    /// What operations are to do.
    journaled: Prefix,
    tasks: Tasks,
    gaps: Gaps,
    nodes: BTreeMap<Pid, Node>,
    coordinators: BTreeMap<Pid, Coordinator>,
    steward: Option<Steward>,
    clients: Clients,
    /// How seldom people meddle with operations.
    calm: usize,
    /// Whether the tables are there.
    has_tables: bool,
    /// The requests that were not answered yet, with who waits for each.
    calls: BTreeMap<u64, u64>,
    /// Who has led which shard.
    leaders: BTreeMap<(ShardId, Epoch), Pid>,
    /// How far each operation is.
    phases: BTreeMap<OperationId, Phase>,
    /// The operations that have entered a phase since the last event.
    entered: Vec<(OperationId, Phase)>,
    /// Whether the record of an operation was removed since.
    is_forgotten: bool,
    /// What each operation is to do, and which one has committed last.
    works: BTreeMap<OperationId, Work>,
    last_committed: Option<Work>,
    /// Counts whatever needs a name of its own.
    names: u64,
    /// The first rule that was broken.
    broken: Option<String>,
}

const NODES: usize = 3;
const COORDINATORS: usize = 2;
const TIMEOUT: Duration = Duration::from_millis(800);
const TICK: Duration = Duration::from_millis(60);
/// How long a sync takes.
const SYNC: RangeInclusive<Duration> = Duration::from_micros(200)..=Duration::from_millis(8);
/// How long a part takes to be made.
const MAKING: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(120);
/// How long after the faults clients go on.
const CLIENTS_STOP: Duration = Duration::from_secs(4);
/// How long what goes on then may take.
const RECOVERY: Duration = Duration::from_secs(24);

/// The sharded table.
const TABLE: &str = "entries";
const SCHEMA: [&str; 3] = [
    "CREATE TABLE entries (k INTEGER NOT NULL, n INTEGER NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (k, n))",
    "CREATE TABLE whole (name TEXT PRIMARY KEY)",
    "INSERT INTO whole (name) VALUES ('one')",
];

fn node_id(at: Pid) -> NodeId {
    NodeId::new(at.to_string()).expect("a process has a name like p3")
}

/// The operations, as they truly are.
fn operations(sim: &Sim<Reshape>, scenario: &Reshape) -> Vec<Operation> {
    let entries = sim.store().entries();
    let entries = entries.filter(|stored| scenario.operations.holds(&stored.key));
    entries
        .filter_map(|stored| decode(&stored.value.0).ok())
        .collect()
}

impl Reshape {
    fn breaks(&mut self, rule: impl FnOnce() -> String) {
        self.broken.get_or_insert_with(rule);
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn shard_key(&self, shard: &ShardId) -> Key {
        self.shards
            .key(shard)
            .expect("the name of a shard is one of a key")
    }

    /// The map, as it truly is.
    fn map(&self, sim: &Sim<Self>) -> Result<ShardMap, String> {
        let shards = self.records(sim);
        let map = ShardMap::new(self.keyspace.clone(), 0, shards, operations(sim, self));
        map.map_err(|error| error.to_string())
    }

    /// The records of shards, as they truly are.
    fn records(&self, sim: &Sim<Self>) -> Vec<ShardRecord> {
        let entries = sim.store().entries();
        let entries = entries.filter(|stored| self.shards.holds(&stored.key));
        entries
            .filter_map(|stored| decode(&stored.value.0).ok())
            .collect()
    }

    /// Writes down the keyspace and its only shard.
    fn bootstrap(&self, sim: &mut Sim<Self>, registry: &Registry) {
        let record = keyspace_record(&self.keyspace);
        let shard = ShardRecord::new(
            self.keyspace.clone(),
            ShardId::numbered(0),
            Some(KeyRange::ALL),
        );
        let key = registry.keyspaces().prefix().key(&self.keyspace);
        let values = [
            (key.expect("a key"), encode(&record)),
            (
                self.shard_key(&ShardId::numbered(0)),
                encode(&shard.replicated()),
            ),
        ];
        for (key, value) in values {
            let value = Some(Text(value.expect("a record that fits")));
            let expected = None;
            sim.put(Write {
                key,
                expected,
                value,
            });
        }
    }

    /// Somebody asks for something.
    fn disturb(&mut self, sim: &mut Sim<Self>) {
        sim.plan(TIMEOUT / 3, Token::Disturb);
        if !sim.is_faulty() {
            // Nobody waits for ever.
            return self.steer(sim, &Event::Resume);
        }
        if self.has_tables && sim.dice().chance(40) {
            self.begin_operation(sim);
        }
        match sim.dice().index(self.calm) {
            0 | 1 => self.cancel(sim),
            2 | 3 => {
                sim.mark(situations::PAUSED);
                self.steer(sim, &Event::Pause);
            }
            4..=15 => self.steer(sim, &Event::Resume),
            _ => {}
        }
    }

    fn cancel(&mut self, sim: &mut Sim<Self>) {
        sim.mark(situations::CANCELLED);
        let reason = "not wanted".to_owned();
        self.steer(sim, &Event::Cancel { reason });
    }
}

impl Scenario for Reshape {
    type Message = Message;
    type Token = Token;
    type Value = Text;
    type Mutation = Missing;

    const NAME: &'static str = "reshape";
    const MARKS: &'static [&'static [&'static str]] = &[
        marks::STORE,
        marks::MESSAGES,
        situations::ALL,
        situations::CRASHES,
        situations::COORDINATORS_GAPS,
        situations::NODES_GAPS,
    ];
    const MUTATIONS: &'static [Missing] = Missing::ALL;

    fn faults(_: Option<Missing>) -> Faults {
        let kinds = vec![
            (4, FaultKind::Pause),
            (3, FaultKind::Crash),
            (3, FaultKind::Cut),
            (2, FaultKind::CutOneWay),
            (2, FaultKind::Isolate),
            (1, FaultKind::Outage),
        ];
        Faults {
            delay: TIMEOUT / 1_000..=TIMEOUT / 80,
            kinds,
            every: TIMEOUT * 6,
            lasting: TIMEOUT / 10..=TIMEOUT * 2,
            // Late copies of requests are what nodes have to refuse.
            duplicate: 300,
            events: 6_000,
            ..Faults::around(TIMEOUT)
        }
    }

    fn new(sim: &mut Sim<Self>, missing: Option<Missing>) -> Self {
        let directory = tempfile::tempdir_in(in_memory()).expect("there is room for a directory");
        let keyspace = KeyspaceName::main();
        let mut tasks = Tasks::default();
        let store = Arc::new(ways::SimStore(tasks.port(Pid(0))));
        let registry = Registry::seeded(store, keyspace.clone(), 0);
        let journaled = registry.journals::<Operation>("elastic").expect("a name");
        let placement = Placement::of(&keyspace_record(&keyspace)).expect("a schema that fits");
        let config = Config {
            readers: 4,
            checkpoint_pages: *sim.dice().pick(&[4, 20, 1000]),
            mover: Mover::Commit,
            statement_cache: 16,
            ..Config::default()
        };
        let is_compared_twice = missing.is_none() && sim.dice().chance(50);
        let mut scenario = Self {
            missing,
            settings: elastic_settings(is_compared_twice, missing),
            config,
            placement,
            shards: registry.shards().prefix().clone(),
            operations: registry.operations().prefix().clone(),
            registered: registry.copies().prefix().clone(),
            journaled: journaled.prefix().clone(),
            keyspace,
            tasks: std::mem::take(&mut tasks),
            gaps: Gaps::default(),
            nodes: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            steward: None,
            clients: Clients::new(),
            calm: *sim.dice().pick(&[60, 400, 400]),
            has_tables: false,
            calls: BTreeMap::new(),
            leaders: BTreeMap::new(),
            phases: BTreeMap::new(),
            entered: Vec::new(),
            is_forgotten: false,
            works: BTreeMap::new(),
            last_committed: None,
            names: 0,
            broken: None,
            directory,
        };
        for place in 0..NODES + COORDINATORS {
            let at = sim.spawn();
            if place < NODES {
                let home = scenario.directory.path().join(at.to_string());
                let node = Node {
                    home,
                    copies: BTreeMap::new(),
                    records: BTreeMap::new(),
                    local: None,
                    handle: None,
                };
                scenario.nodes.insert(at, node);
            }
        }
        scenario.bootstrap(sim, &registry);
        sim.plan(TIMEOUT / 4, Token::Client);
        sim.plan(TIMEOUT / 4, Token::Attend);
        sim.plan(TIMEOUT, Token::Disturb);
        scenario
    }

    fn handle(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
        match input {
            Input::Start => self.start(sim, at),
            Input::Message { from, message } => self.message(sim, at, from, message),
            Input::Timer(token) => self.timer(sim, at, token),
            Input::Changed { change, .. } => {
                if let Some(stored) = change.into_stored() {
                    self.see(sim, at, &stored);
                }
            }
            Input::Ended { .. } => sim.list(at, Token::Follow, self.shards.clone()),
            Input::Written { ref token, .. }
            | Input::Got { ref token, .. }
            | Input::Listed { ref token, .. } => {
                let token = token.clone();
                self.got(sim, at, token, input);
            }
        }
        self.run_tasks(sim);
        self.strikes(sim);
    }

    fn planned(&mut self, sim: &mut Sim<Self>, token: Token) {
        match token {
            Token::Client => self.client(sim),
            Token::Attend => self.attend(sim),
            Token::Disturb => self.disturb(sim),
            Token::Strike(operation, party) => {
                self.strike(sim, &operation, Party::ALL[party % Party::ALL.len()]);
            }
            Token::Restart(at) => sim.restart(at),
            _ => {}
        }
        self.run_tasks(sim);
    }

    fn committed(&mut self, sim: &Sim<Self>, change: &Change<Text>) -> Result<(), String> {
        self.changed(sim, change)
    }

    fn check(&mut self, _: &Sim<Self>) -> Result<(), String> {
        self.broken.take().map_or(Ok(()), Err)
    }

    fn recovered(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        self.has_recovered(sim)
    }

    fn recovery_time(&self) -> Duration {
        RECOVERY
    }
}
