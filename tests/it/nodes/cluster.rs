//! Coordinators and nodes on one registry, each a process of the built binary, with a token.

use std::{
    collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Output,
    sync::MutexGuard,
};

use serde_json::Value;
use shardwright_testkit::until;
use tempfile::TempDir;

use crate::{
    control::binary::shardwright,
    processes::{
        process::{Process, command},
        turn,
    },
};

/// What every request has to carry.
const TOKEN: &str = "a-token-of-some-length";

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    coordinators: Vec<Process>,
    pub(crate) nodes: BTreeMap<String, Process>,
    /// Where the coordinators that run listen, and the nodes.
    coordinator_urls: Vec<String>,
    node_urls: BTreeMap<String, String>,
    token: String,
    directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// A coordinator and three nodes, which have all copies of two shards and of the catalog.
    pub(crate) fn of_three() -> Self {
        let turn = turn();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let token = directory.path().join("token");
        fs::write(&token, TOKEN).expect("a file");
        let only_mine = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&token, only_mine).expect("a mode");
        let mut cluster = Self {
            coordinators: Vec::new(),
            nodes: BTreeMap::new(),
            coordinator_urls: Vec::new(),
            node_urls: BTreeMap::new(),
            token: token.display().to_string(),
            directory,
            _turn: turn,
        };
        // The nodes find the coordinator by the registry, also one that comes later than they.
        cluster.start_node("n1");
        cluster.start_coordinator();
        cluster.start_node("n2");
        cluster.start_node("n3");
        cluster.until_whole();
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, command: &str, name: &str, more: &[&str]) -> (Process, String) {
        let registry = format!("sqlite:{}", self.path("registry.db").display());
        let arguments = [
            command,
            "--id",
            name,
            "--registry",
            &registry,
            "--listen",
            "127.0.0.1:0",
            "--heartbeat-timeout",
            "1s",
            "--token-file",
            &self.token,
            "--log",
            "info",
        ];
        let arguments = [&arguments, more].concat();
        let mut process = Process::start(name, self.directory.path(), shardwright(), &arguments);
        let url = process.says("listening on ");
        (process, url)
    }

    /// Starts another coordinator.
    pub(crate) fn start_coordinator(&mut self) {
        let name = format!("c{}", self.coordinators.len() + 1);
        let more = [
            "--check-interval",
            "200ms",
            "--shards",
            "2",
            "--bootstrap-wait",
            "60s",
        ];
        let (process, url) = self.start("coordinator", &name, &more);
        self.coordinators.push(process);
        self.coordinator_urls.push(url);
    }

    /// Kills the first of the coordinators.
    pub(crate) fn kill_coordinator(&mut self) {
        self.coordinators[0].kill();
        self.coordinator_urls.remove(0);
    }

    /// Starts a node; one that ran before goes on in its directory.
    pub(crate) fn start_node(&mut self, name: &str) {
        let data = self.path(&format!("data-{name}")).display().to_string();
        let (process, url) = self.start("node", name, &["--data", &data]);
        self.nodes.insert(name.to_owned(), process);
        self.node_urls.insert(name.to_owned(), url);
    }

    /// What requests have to carry.
    pub(crate) fn token(&self) -> &'static str {
        TOKEN
    }

    /// Where a node answers.
    pub(crate) fn url_of(&self, name: &str) -> &str {
        &self.node_urls[name]
    }

    /// The process of a node.
    pub(crate) fn node(&mut self, name: &str) -> &mut Process {
        self.nodes.get_mut(name).expect("a node")
    }

    /// Runs a command that asks the coordinators, however it ends.
    pub(crate) fn try_command(&self, arguments: &[&str]) -> Output {
        self.ask(&self.coordinator_urls.join(","), arguments)
    }

    /// Runs a command that asks a node what is for coordinators, and returns what it prints.
    #[track_caller]
    pub(crate) fn through(&self, node: &str, arguments: &[&str]) -> String {
        let output = self.ask(&self.node_urls[node], arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn ask(&self, coordinators: &str, arguments: &[&str]) -> Output {
        command(shardwright())
            .args(arguments)
            .args(["--coordinator", coordinators])
            .args(["--token-file", &self.token])
            .output()
            .expect("run shardwright")
    }

    /// Runs a command that asks the coordinators, and returns what it prints.
    #[track_caller]
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let output = self.try_command(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What `status` prints as JSON, if a coordinator answers.
    fn status(&self) -> Option<Value> {
        let output = self.try_command(&["status", "-o", "json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until all copies of all shards are there and up to date.
    #[track_caller]
    pub(crate) fn until_whole(&self) {
        until("every shard has all its copies", || {
            let status = self.status()?;
            let shards = status["replicated"].as_array()?;
            let is_whole = |shard: &&Value| shard["condition"] == "whole";
            (shards.len() == 3 && shards.iter().all(|shard| is_whole(&shard))).then_some(())
        });
    }

    /// The state of a node, and of how many shards it has copies.
    pub(crate) fn state_of(&self, name: &str) -> Option<(String, u64)> {
        let listed = self.command(&["node", "list", "-o", "json"]);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let nodes = listed.as_array().expect("a list");
        let node = nodes.iter().find(|node| node["id"] == name)?;
        Some((node["state"].as_str()?.to_owned(), node["shards"].as_u64()?))
    }

    /// Waits until a node is in a state.
    #[track_caller]
    pub(crate) fn until_state(&self, name: &str, state: &str) {
        until(&format!("{name} is {state}"), || {
            (self.state_of(name)?.0 == state).then_some(())
        });
    }

    /// Runs a statement on a node, and returns what it prints.
    #[track_caller]
    pub(crate) fn sql(&self, node: &str, sql: &str) -> String {
        let output = command(shardwright())
            .args(["sql", "--node", &self.node_urls[node], "-o", "json"])
            .args(["--token-file", &self.token, "-e", sql])
            .output()
            .expect("run shardwright");
        assert!(output.status.success(), "{sql}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Makes a table with so many rows.
    pub(crate) fn fill(&self, rows: usize) {
        let first = self.nodes.keys().next().expect("a node");
        self.sql(first, "CREATE TABLE kept(id INTEGER PRIMARY KEY)");
        for id in 0..rows {
            self.sql(first, &format!("INSERT INTO kept VALUES ({id})"));
        }
    }

    /// Checks that a node answers with all of so many rows.
    #[track_caller]
    pub(crate) fn assert_kept(&self, node: &str, rows: usize) {
        let counted = self.sql(node, "SELECT count(*) FROM kept");
        assert!(counted.contains(&format!("[[{rows}]]")), "{counted}");
    }
}
