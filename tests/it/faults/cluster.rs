//! Coordinators, three nodes and their clients, and the judgement of what the clients were answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::MutexGuard,
    time::Duration,
};

use serde_json::{Value, json};
use shardwright_testkit::{
    nats::{NatsCluster, current},
    until,
};
use tempfile::TempDir;

use super::{
    access::{Access, Heard, Port},
    gaps::Gaps,
    links::Links,
    nodes::Node,
    reshaping::has_copy,
    traffic::{Traffic, WRITERS},
    writers::{key, rows, steps},
};
use crate::{
    control::{binary::shardwright, lag::Lag},
    processes::{clock, process::Process, turn},
};

/// How many copies each shard has, and as many nodes there usually are.
pub(super) const NODES: usize = 3;

/// Goals are for a machine that does nothing else. This one may take so many times the goal, the longest delay of a thread, and the gap
/// that was there without a fault.
const GENEROSITY: u32 = 5;

const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS written (name TEXT PRIMARY KEY, writer INTEGER, number INTEGER)",
    "CREATE TABLE IF NOT EXISTS counters (writer TEXT PRIMARY KEY, steps INTEGER)",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY) /* shardwright: global */",
];

/// A running cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) links: Links,
    pub(super) coordinators: Vec<(Process, String)>,
    /// How many of them have been started.
    started: usize,
    traffic: Traffic,
    gaps: Gaps,
    /// The longest gap without a fault.
    usual: Duration,
    lag: Lag,
    access: Access,
    registry: String,
    /// The server that has the registry, if one has.
    nats: Option<NatsCluster>,
    directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// A cluster on an SQLite registry, under load.
    pub(super) fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let registry = format!("sqlite:{}", directory.path().join("registry.db").display());
        Self::on(registry, None, directory, NODES)
    }

    /// A cluster on an SQLite registry with a node more than there are copies of a shard, under load.
    pub(super) fn with_room() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let registry = format!("sqlite:{}", directory.path().join("registry.db").display());
        Self::on(registry, None, directory, NODES + 1)
    }

    /// A cluster whose registry is in a nats-server, under load. `None` where there is no such program.
    pub(super) fn on_nats() -> Option<Self> {
        let nats = NatsCluster::start(&current()?, 1);
        let directory = tempfile::tempdir().expect("a temporary directory");
        Some(Self::on(nats.url(), Some(nats), directory, NODES))
    }

    /// A cluster on this registry, under load.
    fn on(registry: String, nats: Option<NatsCluster>, directory: TempDir, count: usize) -> Self {
        let turn = turn();
        let mut coordinators = Vec::new();
        for number in 1..=2 {
            coordinators.push(start_coordinator(number, &registry, &directory, &[]));
        }
        let links = Links::default();
        let start = |index| Node::start(index, directory.path(), &registry, &links);
        let nodes: Vec<Node> = (0..count).map(start).collect();
        let access = Access::new();
        set_up(&access, &nodes[0]);
        let ports = nodes.iter().map(Node::port).collect();
        let mut cluster = Self {
            traffic: Traffic::start(ports),
            nodes,
            links,
            started: coordinators.len(),
            coordinators,
            gaps: Gaps::default(),
            usual: Duration::ZERO,
            lag: Lag::watch(),
            access,
            registry,
            nats,
            directory,
            _turn: turn,
        };
        cluster.wait_until_whole();
        let since = clock::now();
        cluster.during("nothing", None, |cluster| {
            cluster.traffic.wait_for_progress();
        });
        cluster.usual = cluster.traffic.longest_gap(since, clock::now());
        cluster
    }

    /// Does something to the cluster, and measures the longest gap in the writes of a client from then until all clients are served.
    #[track_caller]
    pub(super) fn during(
        &mut self,
        fault: &str,
        goal: Option<Duration>,
        hurt: impl FnOnce(&mut Self),
    ) {
        let since = clock::now();
        hurt(self);
        self.traffic.wait_for_progress();
        let longest = self.traffic.longest_gap(since, clock::now());
        let delay = self.lag.longest_since(since);
        self.gaps.add(fault, longest, goal);
        if let Some(goal) = goal {
            let allowed = GENEROSITY * (goal + delay + self.usual);
            assert!(
                longest <= allowed,
                "{fault}: a client waited {longest:?} of {allowed:?}\n{}",
                self.gaps
            );
        }
    }

    /// The node that has the most primaries.
    #[track_caller]
    pub(super) fn busiest(&self) -> usize {
        let counts = self.primaries();
        let nodes = 0..self.nodes.len();
        nodes.max_by_key(|node| counts[*node]).expect("a node")
    }

    /// The node that has the fewest primaries.
    #[track_caller]
    pub(super) fn idlest(&self) -> usize {
        let counts = self.primaries();
        let nodes = 0..self.nodes.len();
        nodes.min_by_key(|node| counts[*node]).expect("a node")
    }

    /// The node that has the catalog's primary.
    #[track_caller]
    pub(super) fn node_of_catalog(&self) -> usize {
        until("the catalog has a primary", || {
            let shards = self.shards()?;
            let catalog = shards.iter().find(|shard| shard["id"] == "catalog")?;
            let mut nodes = self.nodes.iter();
            nodes.position(|node| catalog["primary"] == node.name())
        })
    }

    /// Where each node is asked.
    pub(super) fn ports(&self) -> Vec<Port> {
        self.nodes.iter().map(Node::port).collect()
    }

    /// How many primaries each node has.
    #[track_caller]
    fn primaries(&self) -> Vec<usize> {
        let shards = until("a coordinator leads", || self.shards());
        let count = |node: &Node| {
            let own = shards
                .iter()
                .filter(|shard| shard["primary"] == node.name());
            own.count()
        };
        self.nodes.iter().map(count).collect()
    }

    /// Waits until no primary is on a node.
    #[track_caller]
    pub(super) fn wait_until_elsewhere(&self, node: usize) {
        let name = self.nodes[node].name();
        until("all primaries are elsewhere", || {
            let shards = self.shards()?;
            let is_elsewhere =
                |shard: &Value| shard["state"] == "serving" && shard["primary"] != name;
            shards.iter().all(is_elsewhere).then_some(())
        });
    }

    /// Waits until every shard has a primary and all its copies.
    #[track_caller]
    pub(super) fn wait_until_whole(&self) {
        until("every shard is whole", || {
            let shards = self.shards()?;
            let is_whole = |shard: &Value| {
                let others = shard["replicas"].as_array();
                shard["condition"] == "whole"
                    && others.is_some_and(|others| others.len() == NODES - 1)
            };
            (!shards.is_empty() && shards.iter().all(is_whole)).then_some(())
        });
        self.traffic.assert_nothing_wrong();
    }

    /// Waits until a copy on a node takes no part.
    #[track_caller]
    pub(super) fn wait_until_not_whole(&self) {
        until("a shard is not whole", || {
            let shards = self.shards()?;
            let is_hurt = |shard: &Value| shard["condition"] != "whole";
            shards.iter().any(is_hurt).then_some(())
        });
    }

    /// Waits until all clients are served.
    #[track_caller]
    pub(super) fn wait_for_progress(&self) {
        self.traffic.wait_for_progress();
    }

    /// The server that has the registry.
    #[track_caller]
    pub(super) fn nats(&mut self) -> &mut NatsCluster {
        let nats = self.nats.as_mut();
        nats.expect("the registry is in a nats-server")
    }

    /// Ends the leading coordinator as a power failure would, and starts another one.
    #[track_caller]
    pub(super) fn kill_leading_coordinator(&mut self) {
        let leader = until("a running coordinator leads", || self.leading_coordinator());
        self.replace_coordinator(leader, &[]);
    }

    /// The coordinator that leads, of those that run.
    pub(super) fn leading_coordinator(&self) -> Option<usize> {
        let leader = self.ask_coordinators("/api/v1/status")?["leader"].clone();
        let mut running = self.coordinators.iter();
        running.position(|(process, _)| leader == process.name())
    }

    /// Ends a coordinator as a power failure would, and starts another one, with more on its command line.
    pub(super) fn replace_coordinator(&mut self, index: usize, more: &[&str]) {
        let (mut process, _) = self.coordinators.remove(index);
        process.kill();
        self.started += 1;
        let (number, registry) = (self.started, &self.registry);
        let coordinator = start_coordinator(number, registry, &self.directory, more);
        self.coordinators.push(coordinator);
    }

    /// The shards as the leader knows them; `None` while there is none.
    pub(super) fn shards(&self) -> Option<Vec<Value>> {
        let shards = self.ask_coordinators("/api/v1/shards?leader=true")?;
        shards.as_array().cloned()
    }

    pub(super) fn ask_coordinators(&self, path: &str) -> Option<Value> {
        let mut coordinators = self.coordinators.iter();
        coordinators.find_map(|(_, url)| self.access.get(url, path))
    }

    /// Tells a coordinator something; `None` if none has done it.
    pub(super) fn tell_coordinators(&self, path: &str, body: &Value) -> Option<Value> {
        let mut coordinators = self.coordinators.iter();
        coordinators.find_map(|(_, url)| self.access.post(url, path, body))
    }

    /// Waits until all is whole, and judges what the clients were answered. Ends everything.
    #[track_caller]
    #[expect(
        clippy::print_stdout,
        reason = "the figures belong to the test's output"
    )]
    pub(super) fn finish(mut self) {
        self.wait_until_whole();
        self.traffic.wait_for_progress();
        let writes = self.traffic.stop();
        println!("{}", self.gaps);
        self.assert_rows(&writes);
        self.wait_until_copies_are_level();
        let shards = until("a coordinator leads", || self.shards());
        for node in &mut self.nodes {
            node.kill();
        }
        let contents: BTreeMap<_, _> = self
            .nodes
            .iter()
            .map(|node| (node.name(), node.contents()))
            .collect();
        for shard in &shards {
            let id = shard["id"].as_str().expect("a name");
            let members = contents.iter().filter(|(node, _)| has_copy(shard, node));
            let copies: Vec<_> = members.map(|(node, has)| (node, has.get(id))).collect();
            assert_eq!(copies.len(), NODES, "copies of {id}");
            for (node, content) in &copies {
                let (other, same) = copies[0];
                assert!(content.is_some(), "{node} has {id}");
                assert_eq!(*content, same, "{id} on {node} and on {other}");
            }
        }
        println!(
            "{} writes, every one there once",
            writes.iter().sum::<u64>()
        );
    }

    /// Fails unless what was written is there, and nothing else.
    #[track_caller]
    fn assert_rows(&self, writes: &[u64]) {
        let expected: BTreeSet<String> = (0..WRITERS)
            .flat_map(|writer| (1..=rows(writes[writer])).map(move |row| key(writer, row)))
            .collect();
        let names = self.answer("SELECT name FROM written", "leased");
        let names = names["rows"].as_array().expect("rows").iter();
        let names: Vec<&str> = names.map(|row| row[0].as_str().expect("a name")).collect();
        let found: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(found.len(), names.len(), "a row is there twice");
        let lost: Vec<_> = expected.difference(&found).collect();
        let unknown: Vec<_> = found.difference(&expected).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        assert!(unknown.is_empty(), "never written: {unknown:?}");

        let counters = self.answer(
            "SELECT writer, steps FROM counters ORDER BY writer",
            "leased",
        );
        let expected: Vec<Value> = writes
            .iter()
            .enumerate()
            .map(|(writer, writes)| json!([writer.to_string(), steps(*writes)]))
            .collect();
        assert_eq!(counters["rows"], Value::from(expected), "each step once");
    }

    /// Waits until every node's own copies are at the same place, those of the catalog too.
    #[track_caller]
    fn wait_until_copies_are_level(&self) {
        let read = |node: &Node, sql: &str| {
            let request = json!({"sql": sql, "read": "any"});
            match self.access.sql(&node.port(), request) {
                Heard::Answer(answer) => Some(answer["token"].clone()),
                _ => None,
            }
        };
        until("the copies are at the same place", || {
            let places = |node: &Node| {
                let shards = read(node, "SELECT count(*) FROM written")?;
                Some((shards, read(node, "SELECT count(*) FROM facts")?))
            };
            let places: Vec<_> = self.nodes.iter().map(places).collect::<Option<_>>()?;
            places.iter().all(|other| *other == places[0]).then_some(())
        });
    }

    /// Returns what a node answers to a statement.
    #[track_caller]
    pub(super) fn answer(&self, sql: &str, read: &str) -> Value {
        self.answer_to(&json!({"sql": sql, "read": read}))
    }

    /// Returns what a node answers to a request.
    #[track_caller]
    pub(super) fn answer_to(&self, request: &Value) -> Value {
        until(&request.to_string(), || {
            match self.access.sql(&self.nodes[0].port(), request.clone()) {
                Heard::Answer(answer) => Some(answer),
                refused => {
                    assert!(refused.may_be_retried(), "{request}: {refused:?}");
                    None
                }
            }
        })
    }
}

fn start_coordinator(
    number: usize,
    registry: &str,
    directory: &TempDir,
    more: &[&str],
) -> (Process, String) {
    let name = format!("c{number}");
    let usual = [
        "coordinator",
        "--id",
        &name,
        "--registry",
        registry,
        "--listen",
        "127.0.0.1:0",
        "--check-interval",
        "200ms",
        "--heartbeat-timeout",
        "1s",
        "--allow-short-leases",
        "--shards",
        "3",
        "--log",
        "info",
    ];
    let arguments = [&usual, more].concat();
    let mut process = Process::start(&name, directory.path(), shardwright(), &arguments);
    let url = process.says("listening on ");
    (process, url)
}

/// Makes the tables, and a counter for each writer.
#[track_caller]
fn set_up(access: &Access, node: &Node) {
    let schema = SCHEMA.map(|sql| json!({"sql": sql}));
    let counters = (0..WRITERS).map(|writer| {
        let sql = "INSERT INTO counters VALUES (?1, 0)";
        json!({"sql": sql, "args": [writer.to_string()], "client": "set up", "seq": writer + 1})
    });
    for request in schema.into_iter().chain(counters) {
        until("the keyspace takes a statement", || {
            match access.sql(&node.port(), request.clone()) {
                Heard::Answer(_) => Some(()),
                refused => {
                    assert!(refused.may_be_retried(), "{request}: {refused:?}");
                    None
                }
            }
        });
    }
}
