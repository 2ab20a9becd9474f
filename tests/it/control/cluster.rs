//! Coordinators and workers on one registry, each a process of the built binary, with an audit log for each worker.

use std::{
    collections::BTreeSet, fs, net::SocketAddr, path::PathBuf, process::Output, sync::MutexGuard,
    time::Duration,
};

use serde_json::Value;
use shardwright_testkit::until;
use tempfile::TempDir;

use super::{
    binary::shardwright,
    history::{self, History},
    lag::Lag,
};
use crate::processes::{
    clock::{self, Moment},
    process::{Process, command},
    proxy::{Network, Proxy},
    turn,
};

/// How fast a cluster notices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) check_interval: Duration,
    pub(crate) heartbeat_timeout: Duration,
}

/// Fast enough for a test to wait, slow enough for a machine that does a lot else.
pub(crate) const TIMING: Timing = Timing {
    check_interval: Duration::from_millis(200),
    heartbeat_timeout: Duration::from_millis(1_000),
};

impl Timing {
    /// Within which every partition is served again after a death.
    pub(crate) fn bound(&self) -> Duration {
        self.heartbeat_timeout + 2 * self.check_interval
    }
}

/// What the machine may add to the bound, beside five times the longest delay that this process saw since the death: starting callbacks,
/// writing the records of the registry to disk, one request to each worker.
const ALLOWANCE: Duration = Duration::from_millis(500);

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) coordinators: Vec<Process>,
    pub(crate) workers: Vec<Process>,
    urls: Vec<String>,
    registry: String,
    timing: Timing,
    /// How many workers serve each partition.
    replicas: usize,
    /// Of every worker that ever ran, by its process's name.
    audits: Vec<(String, PathBuf)>,
    partitions: BTreeSet<String>,
    lag: Lag,
    directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// A cluster on an SQLite registry, with nothing in it.
    pub(crate) fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let registry = format!("sqlite:{}", directory.path().join("registry.db").display());
        Self::on(registry, directory)
    }

    /// A cluster on this registry, with nothing in it.
    pub(crate) fn on(registry: String, directory: TempDir) -> Self {
        Self {
            coordinators: Vec::new(),
            workers: Vec::new(),
            urls: Vec::new(),
            registry,
            timing: TIMING,
            replicas: 1,
            audits: Vec::new(),
            partitions: BTreeSet::new(),
            lag: Lag::watch(),
            directory,
            _turn: turn(),
        }
    }

    /// The same with this many copies of each partition.
    pub(crate) fn with_replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }

    /// Three coordinators, five workers and twenty partitions, all served, some by each worker.
    pub(crate) fn of_five(mut self) -> Self {
        for _ in 0..3 {
            self.start_coordinator();
        }
        for _ in 0..5 {
            self.start_worker();
        }
        self.add_partitions(20);
        // A coordinator that has heard of one worker only gives it everything, and evens that out once it hears of the others.
        for worker in &self.workers {
            self.wait_until_serving(worker.name(), 0);
        }
        self.wait_until_served();
        self
    }

    /// Starts another coordinator.
    pub(crate) fn start_coordinator(&mut self) {
        let name = format!("c{}", self.coordinators.len() + 1);
        let millis = |duration: Duration| format!("{}ms", duration.as_millis());
        let arguments = [
            "coordinator",
            "--id",
            &name,
            "--registry",
            &self.registry,
            "--listen",
            "127.0.0.1:0",
            "--check-interval",
            &millis(self.timing.check_interval),
            "--heartbeat-timeout",
            &millis(self.timing.heartbeat_timeout),
            "--allow-short-leases",
            "--replicas",
            &self.replicas.to_string(),
            // Only the partitions are watched; ranges would take up some of each worker's share.
            "--shards",
            "0",
            "--log",
            "info",
        ];
        let mut process = self.start(&name, &arguments);
        self.urls.push(process.says("listening on "));
        self.coordinators.push(process);
    }

    /// Starts another worker, which knows every coordinator.
    pub(crate) fn start_worker(&mut self) {
        let urls = self.urls.join(",");
        let id = format!("w{}", self.workers.len() + 1);
        let worker = self.start_worker_as(&id, &urls, &[]);
        self.workers.push(worker);
    }

    /// Starts a worker process of the node `id`.
    pub(crate) fn start_worker_as(
        &mut self,
        id: &str,
        coordinators: &str,
        more: &[&str],
    ) -> Process {
        let name = format!("{id}-{}", self.audits.len());
        let audit = self.directory.path().join(format!("{name}.audit"));
        let path = audit.display().to_string();
        let arguments = [
            "worker",
            "--id",
            id,
            "--coordinator",
            coordinators,
            "--listen",
            "127.0.0.1:0",
            "--record",
            &path,
            "--log",
            "info",
        ];
        let process = self.start(&name, &[&arguments, more].concat());
        self.audits.push((name, audit));
        process
    }

    /// Starts a worker that reaches the coordinators, and is reached by them, over a network of its own.
    pub(crate) fn start_worker_behind(&mut self, network: &Network) {
        let inbound = Proxy::open(network);
        let outbound = self.urls.iter().map(|url| {
            let proxy = Proxy::open(network);
            proxy.lead_to(address(url));
            proxy.url()
        });
        let coordinators = outbound.collect::<Vec<String>>().join(",");
        let id = format!("w{}", self.workers.len() + 1);
        let advertise = ["--advertise", &inbound.url()];
        let mut worker = self.start_worker_as(&id, &coordinators, &advertise);
        inbound.lead_to(address(&worker.says("listening on ")));
        self.workers.push(worker);
    }

    /// Starts another process of a node that has run before.
    pub(crate) fn restart_worker(&mut self, id: &str) -> Process {
        let urls = self.urls.join(",");
        self.start_worker_as(id, &urls, &[])
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Process {
        Process::start(name, self.directory.path(), shardwright(), arguments)
    }

    /// Names partitions for the workers to serve.
    pub(crate) fn add_partitions(&mut self, number: usize) {
        let first = self.partitions.len();
        let names: Vec<String> = (first..first + number).map(|n| format!("p{n}")).collect();
        let mut arguments = vec!["partition", "add"];
        arguments.extend(names.iter().map(String::as_str));
        self.command(&arguments);
        self.partitions.extend(names);
    }

    /// Runs a command that asks the coordinators, and returns what it prints as JSON.
    #[track_caller]
    pub(crate) fn command(&self, arguments: &[&str]) -> Value {
        let output = self.try_command(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("a command prints JSON")
    }

    /// Runs a command that asks the coordinators, however it ends.
    pub(crate) fn try_command(&self, arguments: &[&str]) -> Output {
        ask(&self.urls.join(","), arguments)
    }

    /// The coordinator that leads, as an index; never one that has ended.
    #[track_caller]
    pub(crate) fn leader(&mut self) -> usize {
        until("a running coordinator leads", || {
            let leader = leader_for(&self.urls.join(","))?;
            self.coordinators
                .iter_mut()
                .position(|process| process.name() == leader && process.status().is_none())
        })
    }

    /// Whom each coordinator takes for the leader.
    pub(crate) fn leaders(&self) -> Vec<String> {
        self.urls.iter().filter_map(|url| leader_for(url)).collect()
    }

    /// What the workers have recorded.
    pub(crate) fn history(&self) -> History {
        let logs: Vec<_> = self
            .audits
            .iter()
            .map(|(name, path)| {
                let text = fs::read_to_string(path).unwrap_or_default();
                (name.as_str(), history::parse(&text))
            })
            .collect();
        History::new(logs.iter().map(|(name, lines)| (*name, lines.as_slice())))
    }

    /// Waits until a process that is not in `without` serves each partition.
    #[track_caller]
    pub(crate) fn wait_until_served_without(&self, without: &[&str]) {
        until("every partition is served", || {
            self.is_served(&self.history(), clock::now(), without)
                .then_some(())
        });
    }

    /// Waits until each partition is served.
    #[track_caller]
    pub(crate) fn wait_until_served(&self) {
        self.wait_until_served_without(&[]);
    }

    /// Waits until `process` serves something that it began to serve after `since`.
    #[track_caller]
    pub(crate) fn wait_until_serving(&self, process: &str, since: Moment) {
        until(&format!("{process} serves"), || {
            let history = self.history();
            let serving = history.serving(clock::now());
            let mut spans = serving.values();
            spans
                .any(|span| span.process == process && span.from > since)
                .then_some(())
        });
    }

    fn is_served(&self, history: &History, now: Moment, without: &[&str]) -> bool {
        let serving = history.serving(now);
        self.partitions.iter().all(|partition| {
            let span = serving.get(partition.as_str());
            span.is_some_and(|span| !without.contains(&span.process.as_str()))
        })
    }

    /// Waits until others than `without` serve every partition after what happened at `since`, and returns how long the last of
    /// them was without an owner since then.
    #[track_caller]
    pub(crate) fn time_to_recover(&self, since: Moment, without: &[&str]) -> Duration {
        // What a death interrupts, it interrupts within the bound.
        let bound = nanoseconds(self.timing.bound());
        let restored = until("every partition is served again", || {
            let now = clock::now();
            if now <= since + bound {
                return None;
            }
            // One look at one moment tells both: by the next, a shard may be on its way again.
            let history = self.history();
            let restored = history.restored(&self.partitions, since, now)?;
            self.is_served(&history, now, without).then_some(restored)
        });
        Duration::from_nanos(restored - since)
    }

    /// Fails unless every partition was served again within the bound of a death at `since`.
    #[track_caller]
    #[expect(
        clippy::print_stdout,
        reason = "the figure belongs to the test's output"
    )]
    pub(crate) fn assert_recovers(&self, since: Moment, without: &[&str]) {
        let took = self.time_to_recover(since, without);
        let delay = self.lag.longest_since(since);
        let allowed = self.timing.bound() + ALLOWANCE + 5 * delay;
        println!("served again after {took:?} of {allowed:?}, with delays up to {delay:?}");
        assert!(
            took <= allowed,
            "served again after {took:?}, allowed are {allowed:?}"
        );
    }

    /// Fails unless each partition had one owner at a time throughout, at epochs that grew.
    #[track_caller]
    pub(crate) fn assert_one_owner_at_a_time(&self) {
        let violations = self.history().violations();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }
}

/// Runs a command that asks these coordinators, however it ends.
fn ask(coordinators: &str, arguments: &[&str]) -> Output {
    command(shardwright())
        .args(arguments)
        .args(["--coordinator", coordinators, "-o", "json"])
        .output()
        .expect("run shardwright")
}

/// The leader that the first of these coordinators to answer knows.
fn leader_for(coordinators: &str) -> Option<String> {
    let output = ask(coordinators, &["status"]);
    let status: Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(status["leader"].as_str()?.to_owned())
}

/// The address in a URL that a process prints.
fn address(url: &str) -> SocketAddr {
    let address = url.strip_prefix("http://").unwrap_or(url);
    address.trim_end_matches('/').parse().expect("an address")
}

fn nanoseconds(duration: Duration) -> Moment {
    Moment::try_from(duration.as_nanos()).expect("a short time")
}
